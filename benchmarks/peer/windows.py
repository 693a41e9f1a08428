"""Token ids of the first windows of a text, as a JSONL file that every tool of benchmarks/peers reads.

    windows.py MODEL_FOLDER TEXT SAMPLES SEQLEN OUT
"""
import json
import sys

from transformers import AutoTokenizer

folder, text, samples, seqlen, out = sys.argv[1:]
samples, seqlen = int(samples), int(seqlen)
with open(text, encoding="utf-8") as file:
    # Some 12 characters for each token are more than enough.
    ids = AutoTokenizer.from_pretrained(folder)(file.read(12 * samples * seqlen), add_special_tokens=False)["input_ids"]
if len(ids) < samples * seqlen:
    sys.exit(f"{text} has fewer than {samples} x {seqlen} tokens")
with open(out, "w", encoding="utf-8") as file:
    for k in range(samples):
        file.write(json.dumps({"input_ids": ids[k * seqlen:(k + 1) * seqlen]}) + "\n")
