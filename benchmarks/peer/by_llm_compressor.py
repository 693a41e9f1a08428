"""GPTQ by llm-compressor, asymmetric, with the observer that searches for the least squared error.

    by_llm_compressor.py MODEL_FOLDER WINDOWS BITS GROUP OUT
"""
import json
import sys

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier
from transformers import AutoModelForCausalLM

folder, windows, bits, group, out = sys.argv[1:]
rows = [json.loads(line) for line in open(windows, encoding="utf-8")]
model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
weights = QuantizationArgs(num_bits=int(bits), type="int", strategy="group", group_size=int(group),
                           symmetric=False, observer="mse")
oneshot(
    model=model,
    dataset=Dataset.from_list([{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows]),
    recipe=GPTQModifier(ignore=["lm_head"], config_groups={
        "group_0": QuantizationScheme(targets=["Linear"], weights=weights)}),
    max_seq_length=len(rows[0]["input_ids"]),
    num_calibration_samples=len(rows),
    shuffle_calibration_samples=False,
)
model.save_pretrained(out, save_compressed=True)
