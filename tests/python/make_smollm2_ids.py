#!/usr/bin/env python3
"""Reference token ids for SmolLM2, by transformers' tokenizer classes.

    make_smollm2_ids.py MODEL.gguf OUT TEXT...

Writes OUT/hf/ (tokenizer.json and tokenizer_config.json, nothing else) and OUT/ids.json:
{"texts": [{"path": ..., "bytes": N, "ids": [...]}]}, where N is the length of the prefix that was
tokenised (the first 100 kB, cut at a character).

The tokenizer is built here with the `tokenizers` library, from the vocabulary and merges in the GGUF
file and the pre-tokenizer that SmolLM2's own tokenizer.json documents: single digits, then GPT-2's
byte-level words; no normaliser. transformers can also load a tokenizer from a GGUF file
(`from_pretrained(..., gguf_file=)`), but that reader imports torch, which is too large a dependency
for this.
"""
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CONTROL = 3
PREFIX_BYTES = 100_000


def build(reader: gguf.GGUFReader) -> PreTrainedTokenizerFast:
    def field(name):
        return reader.fields[f"tokenizer.ggml.{name}"].contents()

    assert field("model") == "gpt2" and field("pre") == "smollm", "not SmolLM2's tokenizer"
    tokens, types = field("tokens"), field("token_type")
    merges = [tuple(merge.split(" ")) for merge in field("merges")]
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([
        AddedToken(token, special=True, normalized=False)
        for token, kind in zip(tokens, types) if kind == CONTROL
    ])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[field("bos_token_id")],
        eos_token=tokens[field("eos_token_id")],
        unk_token=tokens[field("unknown_token_id")],
        pad_token=tokens[field("padding_token_id")],
        clean_up_tokenization_spaces=False,
    )


def prefix(path: Path) -> bytes:
    data = path.read_bytes()[:PREFIX_BYTES]
    while data:
        try:
            data.decode("utf-8")
            return data
        except UnicodeDecodeError as error:
            data = data[:error.start]
    return data


def main() -> None:
    model, out, *texts = map(Path, sys.argv[1:])
    folder = out / "hf"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build(gguf.GGUFReader(model))
    tokenizer.save_pretrained(folder)
    for extra in folder.iterdir():
        if extra.name not in ("tokenizer.json", "tokenizer_config.json"):
            extra.unlink()
    entries = []
    for path in texts:
        data = prefix(path)
        ids = tokenizer(data.decode("utf-8"), add_special_tokens=False)["input_ids"]
        entries.append({"path": str(path), "bytes": len(data), "ids": ids})
    (out / "ids.json").write_text(json.dumps({"texts": entries}))


if __name__ == "__main__":
    main()
