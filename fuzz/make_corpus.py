#!/usr/bin/env python3
"""Writes a few small valid inputs per fuzz target, for the fuzzers to start from.

usage: make_corpus.py FOLDER   (writes FOLDER/<target>/*; standard library only)
"""

import json
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
SCALARS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q",
           I64: "q", F64: "d"}


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    if kind == STRING:
        return text(value)
    if kind == ARRAY:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(
            gguf_value(element, item) for item in items)
    return struct.pack("<" + SCALARS[kind], value)


def gguf(metadata, tensors, version=3, alignment=32):
    """metadata: [(key, kind, value)]; tensors: [(name, ne, ggml type, data)]."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, kind, value in metadata:
        out += text(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    offset, data = 0, b""
    for name, ne, kind, raw in tensors:
        out += text(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}q", *ne)
        out += struct.pack("<iQ", kind, offset)
        padded = raw + b"\0" * (-len(raw) % alignment)
        data += padded
        offset += len(padded)
    return out + b"\0" * (-len(out) % alignment) + data


def safetensors(tensors, metadata=None):
    """tensors: [(name, dtype, shape, data)]."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, dtype, shape, raw in tensors:
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def gguf_seeds():
    vocabulary = ["a", "b", "ab", "<|end|>"]
    model = [
        ("general.architecture", STRING, "llama"), ("llama.block_count", U32, 1),
        ("llama.context_length", U32, 32), ("llama.embedding_length", U32, 32),
        ("llama.feed_forward_length", U32, 32), ("llama.attention.head_count", U32, 2),
        ("llama.attention.head_count_kv", U32, 1),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        ("llama.rope.freq_base", F32, 1e4), ("llama.rope.dimension_count", U32, 16),
        ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, vocabulary)),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [1, 1, 1, 3])),
        ("tokenizer.ggml.merges", ARRAY, (STRING, ["a b"])),
        ("tokenizer.ggml.eos_token_id", U32, 3), ("tokenizer.ggml.add_bos_token", BOOL, 0),
    ]
    every_kind = [(f"k{kind}", kind, 1) for kind in SCALARS] + [
        (f"a{kind}", ARRAY, (kind, [1, 0])) for kind in SCALARS]
    yield "model", gguf(model, [("token_embd.weight", [32, 4], 2, b"q" * 72),
                                ("output_norm.weight", [32], 0, b"\0" * 128)])
    yield "kinds", gguf(every_kind, [], version=2)
    yield "aligned", gguf([("general.alignment", U32, 8)],
                          [("t", [2, 1, 1, 1], 1, b"abcd"), ("u", [], 0, b"abcd")], alignment=8)
    for kind, size, elements in [(3, 20, 32), (6, 22, 32), (8, 34, 32), (10, 84, 256),
                                 (12, 144, 256), (14, 210, 256), (18, 98, 256), (20, 18, 32),
                                 (30, 2, 1), (39, 17, 32)]:
        yield f"type{kind}", gguf([], [("t", [elements], kind, bytes(range(size)))
                                       if size < 256 else ("t", [elements], kind, b"\1" * size)])


def imatrix_seeds():
    def file(matrices, columns, counts):
        return gguf([("general.type", STRING, "imatrix"),
                     ("imatrix.datasets", ARRAY, (STRING, ["a"])),
                     ("imatrix.chunk_count", U32, 1), ("imatrix.chunk_size", U32, 8)],
                    [("x.in_sum2", [columns, matrices], 0,
                      struct.pack(f"<{matrices * columns}f", *range(matrices * columns))),
                     ("x.counts", [1, counts], 0, struct.pack(f"<{counts}f", *[8.0] * counts))])
    yield "dense", file(1, 4, 1)
    yield "experts", file(3, 2, 3)
    yield "broadcast", file(3, 2, 1)


def safetensors_seeds():
    yield "empty", safetensors([])
    yield "some", safetensors([("a", "F32", [1], b"abcd"), ("b", "BF16", [1, 2], b"abcd"),
                               ("c", "F16", [], b"ab"), ("d", "I64", [0, 3], b"")],
                              {"format": "pt"})


def config_seeds():
    base = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4,
            "num_key_value_heads": 2, "num_hidden_layers": 3, "vocab_size": 512,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "hidden_act": "silu"}
    yield "llama", {**base, "model_type": "llama", "tie_word_embeddings": True,
                    "rope_theta": 1e4, "torch_dtype": "bfloat16",
                    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                     "high_freq_factor": 4.0,
                                     "original_max_position_embeddings": 128}}
    yield "linear", {**base, "model_type": "llama", "attention_bias": True, "mlp_bias": True,
                     "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}}
    yield "mistral", {**base, "model_type": "mistral", "sliding_window": 64, "head_dim": 32}
    yield "qwen2", {**base, "model_type": "qwen2", "use_sliding_window": True,
                    "sliding_window": 64, "max_window_layers": 1}
    yield "qwen3", {**base, "model_type": "qwen3", "head_dim": 32,
                    "layer_types": ["full_attention"] * 3}
    yield "gemma3", {**base, "model_type": "gemma3_text", "head_dim": 32,
                     "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 32,
                     "sliding_window": 64, "layer_types": ["sliding_attention"] * 2 +
                     ["full_attention"],
                     "rope_parameters": {"full_attention": {"rope_type": "default",
                                                            "rope_theta": 1e6},
                                         "sliding_attention": {"rope_type": "default",
                                                               "rope_theta": 1e4}}}


    yield "inside", {"model_type": "llava", "tie_word_embeddings": False,
                     "text_config": {**base, "model_type": "llama"}, "vision_config": {}}
    yield "qwen2-vl", {**base, "model_type": "qwen2_vl",
                       "rope_scaling": {"type": "mrope", "mrope_section": [8, 4, 4]}}
    yield "dense-blocks", {**base, "model_type": "qwen3_moe", "num_experts": 4,
                           "num_experts_per_tok": 2, "moe_intermediate_size": 64,
                           "decoder_sparse_step": 2, "mlp_only_layers": [0]}


def unigram_seeds():
    mark = "\u2581"
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], [mark, -1], ["a", -2.5]]}
    split = {"type": "Metaspace", "replacement": mark, "prepend_scheme": "never", "split": True}
    yield "plain", {"model": model, "pre_tokenizer": split}
    yield "words", {"model": model, "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABhAA=="},
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": mark}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {**split, "prepend_scheme": "always"}]}}


def records_seeds():
    yield "text", b'{"text": "a"}\n\n{"text": "b", "id": 1}\r\n'
    yield "chat", b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}'
    yield "ids", b'{"tokens": [1, 2]}\n{"input_ids": []}'


def packed_seeds():
    words, ones = b"\x21\x43\x65\x87" * 8, b"\0\0\x80\x3f"
    yield "fp8", ({"quant_method": "fp8", "weight_block_size": [2, 4]},
                  [("x.weight", "F8_E4M3", [4, 8], words),
                   ("x.weight_scale_inv", "F32", [2, 2], ones * 4)])
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 8}
    yield "packed", ({"quant_method": "compressed-tensors",
                      "config_groups": {"g": {"weights": weights}}},
                     [("x.weight_packed", "I32", [4, 2], words),
                      ("x.weight_shape", "I64", [2], struct.pack("<2q", 4, 16)),
                      ("x.weight_scale", "F32", [4, 2], ones * 8),
                      ("x.weight_zero_point", "I32", [1, 2], words[:8]),
                      ("x.weight_g_idx", "I32", [16], struct.pack("<16i", *[0, 1] * 8))])
    yield "gptq", ({"quant_method": "gptq", "bits": 4, "group_size": 8},
                   [("x.qweight", "I32", [1, 8], words), ("x.qzeros", "I32", [1, 1], words[:4]),
                    ("x.scales", "F16", [1, 8], words[:16]),
                    ("x.g_idx", "I32", [8], b"\0" * 32)])


def recipe_seeds():
    yield "toml", (b'method = "gptq"\n[grid]\nbits = 3\n[roles.ffn_down]\nbits = 4\n[transform]\n'
                   b'steps = ["r1", "smooth:0.5"]\nactivations = { bits = 4, clip = "search" }\n')
    yield "json", b'{"recipe": {"types": {"mix": "Q4_K_M", "tensor_types": ["attn_v=q8_0"]}}}'


def journal_seeds():
    begun = b"\1" + text("{}")
    linear = b"\2" + text("x") + struct.pack("<i", -1)
    scales = b"\3" + struct.pack("<3i2q2f", 0, 0, 0, 1, 2, 0.5, 2.0)
    manifest = b"\4" + text("{}")
    yield "records", b"".join(struct.pack("<H", len(r)) + r for r in (begun, linear, scales, manifest))
    yield "empty", b"cpjrnl01"


def main():
    root = pathlib.Path(sys.argv[1])
    seeds = {"gguf_fuzz": gguf_seeds(), "imatrix_fuzz": imatrix_seeds(), "records_fuzz": records_seeds(),
             "safetensors_fuzz": safetensors_seeds(),
             "packed_fuzz": ((n, json.dumps(c).encode() + b"\n" + safetensors(t))
                             for n, (c, t) in packed_seeds()),
             "unigram_fuzz": ((n, json.dumps(c).encode()) for n, c in unigram_seeds()),
             "recipe_fuzz": recipe_seeds(), "journal_fuzz": journal_seeds(),
             "config_fuzz": ((n, json.dumps(c).encode()) for n, c in config_seeds())}
    for target, files in seeds.items():
        (root / target).mkdir(parents=True, exist_ok=True)
        for name, data in files:
            (root / target / name).write_bytes(data)


main()
