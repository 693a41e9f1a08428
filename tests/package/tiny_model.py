"""A Llama of one block with seeded random weights and a byte-level tokenizer, by numpy alone."""

import json
import pathlib

import numpy as np

HIDDEN, FFN, HEADS, KV_DIM = 64, 128, 2, 32


def _byte_tokens():
    """GPT-2's printable stand-ins for the 256 bytes."""
    following, tokens = 256, []
    for byte in range(256):
        printable = 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE
        tokens.append(chr(byte if printable else following))
        following += not printable
    return tokens


def _tokenizer():
    tokens = ["<s>", "</s>"] + _byte_tokens()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for i in range(2)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {token: i for i, token in enumerate(tokens)}, "merges": []},
    }


def _shapes(vocab):
    block = "model.layers.0."
    return {
        "model.embed_tokens": (vocab, HIDDEN),
        block + "input_layernorm": (HIDDEN,),
        block + "self_attn.q_proj": (HIDDEN, HIDDEN),
        block + "self_attn.k_proj": (KV_DIM, HIDDEN),
        block + "self_attn.v_proj": (KV_DIM, HIDDEN),
        block + "self_attn.o_proj": (HIDDEN, HIDDEN),
        block + "post_attention_layernorm": (HIDDEN,),
        block + "mlp.gate_proj": (FFN, HIDDEN),
        block + "mlp.up_proj": (FFN, HIDDEN),
        block + "mlp.down_proj": (HIDDEN, FFN),
        "model.norm": (HIDDEN,),
        "lm_head": (vocab, HIDDEN),
    }


def _write_safetensors(file, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        end = len(data) + values.nbytes
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), end]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_model(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    tokenizer = _tokenizer()
    vocab = len(tokenizer["model"]["vocab"])
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": FFN, "num_hidden_layers": 1, "num_attention_heads": HEADS,
        "num_key_value_heads": 1, "head_dim": HIDDEN // HEADS, "hidden_act": "silu",
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "float32",
        "vocab_size": vocab,
    }
    words = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": False}
    for name, value in (("config", config), ("tokenizer", tokenizer), ("tokenizer_config", words)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    rng = np.random.default_rng(7)
    tensors = {}
    for name, shape in _shapes(vocab).items():
        values = rng.normal(size=shape) * (0.1 if len(shape) == 1 else 0.2) + (len(shape) == 1)
        tensors[name + ".weight"] = values.astype(np.float32)
    _write_safetensors(folder / "model.safetensors", tensors)


def write_text(file):
    words = "the cold press makes oil from ripe fruit and a stone in rooms on hills with water".split()
    rng = np.random.default_rng(1)
    pathlib.Path(file).write_text(" ".join(rng.choice(words, 1200)) + ".\n")
