#!/usr/bin/env python3
"""Reference texts of chats, by transformers' own template renderer.

    make_chat_texts.py TEMPLATES OUT.json

Renders a few chats with every TEMPLATES/*.jinja and writes the ones that transformers accepts:
[{"template": file, "special_tokens": {...}, "chat": {...}, "text": ...}]. The date is coldpress's.
"""
import datetime
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from transformers.utils import chat_template_utils

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
CHATS = [
    {"messages": [{"role": "user", "content": "Hello there"}]},
    {"messages": [{"role": "user", "content": "  2 + 2?\n"},
                  {"role": "assistant", "content": "It's 4, \"four\" <b> \u00e9\u4f60\U0001f600."},
                  {"role": "user", "content": "Thanks\t!"},
                  {"role": "assistant", "content": "You're welcome.\n"}]},
    {"messages": [{"role": "system", "content": "Be brief."},
                  {"role": "user", "content": "Why?\n\nReally: {{ why }}"},
                  {"role": "assistant", "content": "Because."}]},
]


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 12)


def main() -> None:
    templates, out = Path(sys.argv[1]), Path(sys.argv[2])
    chat_template_utils.datetime = FixedDate
    entries = []
    for path in sorted(templates.glob("*.jinja")):
        for chat in CHATS:
            try:
                text, _ = chat_template_utils.render_jinja_template(
                    [chat["messages"]], chat_template=path.read_text(), **TOKENS)
            except Exception:  # a role or an order that this template refuses
                continue
            entries.append({"template": str(path), "special_tokens": TOKENS, "chat": chat,
                            "text": text[0]})
    out.write_text(json.dumps(entries))


if __name__ == "__main__":
    main()
