#!/usr/bin/env python3
"""Makes tests/golden/packed.safetensors: packed weights and what they hold, by other programs.

    make_packed.py OUT.safetensors

Needs the compressed-tensors package (written with 0.20.0), and with it torch, besides
tests/python/requirements.txt, so the file is kept in the repository. Each case is one weight of 96
outputs and 64 inputs: tensors CASE/PART as stored, CASE/values in fp32, and in the file's metadata
CASE: the quantization_config. compressed-tensors packs and unpacks its own; GPTQ's words are random
and unpacked here, bit by bit, with numpy.
"""
import json
import sys

import numpy
import torch
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.numpy import save_file

OUT, IN, GROUP = 96, 64, 32
rng = numpy.random.default_rng(3)
tensors, metadata = {}, {}


def add(case, settings, parts, values):
    for part, value in parts.items():
        tensors[f"{case}/{part}"] = numpy.ascontiguousarray(value)
    tensors[f"{case}/values"] = numpy.ascontiguousarray(values, dtype=numpy.float32)
    metadata[case] = json.dumps(settings)


def compressed(bits, symmetric, strategy):
    group = GROUP if strategy == "group" else None
    groups = IN // GROUP if strategy == "group" else 1
    arguments = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy=strategy,
                                 group_size=group)
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    codes = rng.integers(low, high + 1, (OUT, IN))
    zeros = rng.integers(low, high + 1, (OUT, groups)) * (0 if symmetric else 1)
    scales = rng.uniform(0.01, 0.1, (OUT, groups)).astype(numpy.float32)
    spread = lambda a: numpy.repeat(a, IN // groups, axis=1)
    values = (codes - spread(zeros)).astype(numpy.float32) * spread(scales)
    state = {"weight": torch.tensor(values), "weight_scale": torch.tensor(scales),
             "weight_zero_point": torch.tensor(zeros, dtype=torch.int8)}
    packed = PackedQuantizationCompressor.compress(state, scheme)
    back = PackedQuantizationCompressor.decompress(packed, scheme)["weight"].numpy()
    assert (back == values).all()
    parts = {name: value.numpy() for name, value in packed.items()}
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": strategy}
    if group:
        weights["group_size"] = group
    add(f"int{bits}-{strategy}-{'symmetric' if symmetric else 'zeros'}",
        {"quant_method": "compressed-tensors", "format": "pack-quantized",
         "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}, parts, back)


def unpacked(words, bits):
    """The codes in the columns of `words`, least significant bits first, without gaps."""
    rows = numpy.unpackbits(words.T.copy().view(numpy.uint8), axis=1, bitorder="little")
    codes = rows.reshape(rows.shape[0], -1, bits)
    return (codes.astype(numpy.int64) << numpy.arange(bits)).sum(axis=2).T


def gptq(bits, v2, reordered):
    words = lambda *shape: rng.integers(-2**31, 2**31, shape).astype(numpy.int32)
    qweight, qzeros = words(IN * bits // 32, OUT), words(IN // GROUP, OUT * bits // 32)
    scales = rng.uniform(0.01, 0.1, (IN // GROUP, OUT)).astype(numpy.float16)
    index = (rng.permutation(IN) if reordered else numpy.arange(IN)) // GROUP
    zeros = unpacked(qzeros.T, bits).T
    zeros = zeros if v2 else (zeros + 1) % (1 << bits)
    values = (unpacked(qweight, bits) - zeros[index]).astype(numpy.float32) * \
        scales.astype(numpy.float32)[index]
    parts = {"qweight": qweight, "qzeros": qzeros, "scales": scales}
    if reordered:
        parts["g_idx"] = index.astype(numpy.int32)
    settings = {"quant_method": "gptq", "bits": bits, "group_size": GROUP, "desc_act": reordered}
    if v2:
        settings["checkpoint_format"] = "gptq_v2"
    add(f"gptq{bits}-{'v2' if v2 else 'v1'}{'-reordered' if reordered else ''}", settings, parts,
        values.T)


for width in range(1, 9):
    compressed(width, True, "group")
    compressed(width, False, "group")
compressed(4, False, "channel")
for width in (2, 3, 4, 8):
    gptq(width, False, False)
    gptq(width, True, True)
save_file(tensors, sys.argv[1], metadata)
print(len(metadata), "cases")
