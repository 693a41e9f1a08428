"""auto-round: signed gradient descent on rounding and clipping, block by block; 50 steps as in its fast recipe.

    by_auto_round.py MODEL_FOLDER WINDOWS BITS GROUP OUT
"""
import json
import sys

import torch
from auto_round import AutoRound
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, windows, bits, group, out = sys.argv[1:]
rows = [json.loads(line) for line in open(windows, encoding="utf-8")]
model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
length = len(rows[0]["input_ids"])
batches = [torch.tensor([row["input_ids"]]) for row in rows]
rounder = AutoRound(model, AutoTokenizer.from_pretrained(folder), scheme="W4A16", bits=int(bits),
                    group_size=int(group), sym=False, iters=50, nsamples=len(rows), seqlen=length,
                    batch_size=8, dataset=batches, device_map="cpu", enable_torch_compile=False)
rounder.quantize_and_save(out, format="auto_gptq")
