"""GPTQ by GPTQModel, on the CPU.

    by_gptqmodel.py MODEL_FOLDER WINDOWS BITS GROUP OUT
"""
import json
import os
import sys

# By itself it takes half of the machine's cores, and does not start on machines of two.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

from gptqmodel import GPTQModel, QuantizeConfig  # noqa: E402

folder, windows, bits, group, out = sys.argv[1:]
rows = [json.loads(line) for line in open(windows, encoding="utf-8")]
config = QuantizeConfig(bits=int(bits), group_size=int(group), device="cpu")
model = GPTQModel.load(folder, config)
model.quantize([{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows], batch_size=1)
model.save(out)
