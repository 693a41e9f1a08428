"""auto-round, asymmetric, 50 iterations, in GPTQ's format.

    by_auto_round.py MODEL_FOLDER WINDOWS BITS GROUP OUT
"""
import json
import os
import sys

import torch
from auto_round import AutoRound
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, windows, bits, group, out = sys.argv[1:]
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
rows = [torch.tensor([json.loads(line)["input_ids"]]) for line in open(windows, encoding="utf-8")]
AutoRound(
    AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32),
    AutoTokenizer.from_pretrained(folder),
    scheme="W4A16", bits=int(bits), group_size=int(group), sym=False, iters=50,
    dataset=[{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in rows],
    nsamples=len(rows), seqlen=rows[0].shape[1], batch_size=min(8, len(rows)),
).quantize_and_save(out, format="auto_gptq")
