"""Quantises small models with coldpress and loads the folders with the programs they are for.

    compare.py COLDPRESS DUMP_MODEL FOLDER     FOLDER: from make_models.py

Each linear that the loader decodes must have coldpress's values bit for bit, and with the loader's weights
the logits in fp32 must agree: cosine of every position, and perplexity. GPTQ's folders are unpacked by numpy
too, from the format's definition.
"""
import json
import math
import pathlib
import subprocess
import sys

import numpy
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, CompressedTensorsConfig, GPTQConfig, logging

COLDPRESS, DUMP = sys.argv[1:3]
FOLDER = pathlib.Path(sys.argv[3])
COSINE, OWN_COSINE, PERPLEXITY = 0.9999, 0.999, 0.001
TOKENS = 256


def scheme(bits, group, *more):
    return ["--bits", str(bits), "--group", str(group), *more]


SYMMETRIC = "--symmetric"
HEAD = "--quantize-head"
# Format, model, options.
CASES = [
    *[("compressed-tensors", "llama", scheme(bits, 32, SYMMETRIC)) for bits in (2, 3, 4, 6, 8)],
    *[("compressed-tensors", "llama", scheme(bits, 64)) for bits in (2, 3, 4, 8)],
    ("compressed-tensors", "llama", scheme(4, "channel", SYMMETRIC)),
    ("compressed-tensors", "llama", scheme(4, "channel")),
    ("compressed-tensors", "llama", scheme(8, "channel", SYMMETRIC, HEAD)),
    ("compressed-tensors", "llama", scheme(4, 128, SYMMETRIC, "--shard-size", "200K")),
    ("compressed-tensors", "qwen3-tied", scheme(4, 32, SYMMETRIC)),
    ("compressed-tensors", "qwen3-tied", scheme(3, 64)),
    ("compressed-tensors", "phi3-f16", scheme(4, 32)),
    ("compressed-tensors", "qwen3-moe", scheme(4, 32, SYMMETRIC)),
    *[("gptq", "llama", scheme(bits, 32, SYMMETRIC)) for bits in (2, 3, 4, 8)],
    ("gptq", "llama", scheme(4, "channel", SYMMETRIC)),
    ("gptq", "qwen3-tied", scheme(4, 64, SYMMETRIC)),
    ("gptq", "phi3-f16", scheme(4, 32, SYMMETRIC)),
    *[("gptq-v2", "llama", scheme(bits, 32)) for bits in (2, 3, 4, 8)],
    ("gptq-v2", "qwen3-tied", scheme(4, "channel")),
    ("gptq-v2", "phi3-f16", scheme(4, 64, SYMMETRIC)),
    ("int-quantized", "llama", scheme(8, "channel", SYMMETRIC)),
    ("int-quantized", "llama", scheme(4, 32, SYMMETRIC)),
    ("int-quantized", "qwen3-tied", scheme(8, "channel", SYMMETRIC)),
]


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr}")


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].double().numpy()


def perplexity(logits, ids):
    shifted = logits[:-1] - logits[:-1].max(axis=1, keepdims=True)
    log_sum = numpy.log(numpy.exp(shifted).sum(axis=1))
    return math.exp((log_sum - shifted[numpy.arange(len(ids) - 1), ids[1:]]).mean())


def cosine(a, b):
    return ((a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)).min()


def settings_of(folder):
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def load_compressed(folder):
    """By transformers with compressed-tensors, which decompresses before the first forward pass.

    It cannot keep packed zero points; told to dequantise everything at once, it reads them.
    """
    weights = settings_of(folder)["config_groups"]["group_0"]["weights"]
    how = {} if weights["symmetric"] else {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **how)
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    for module in model.modules():
        module.quantization_enabled = False  # of activations, which coldpress's pass leaves as they are
    decoded = {}
    for name, tensor in model.state_dict().items():  # experts by one tensor each, as in the folder
        base, _, part = name.rpartition(".")
        if not base.endswith(".experts"):
            continue
        for expert, weight in enumerate(tensor):
            if part == "gate_up_proj":
                halves = zip(("gate_proj", "up_proj"), weight.chunk(2))
            else:
                halves = [(part, weight)]
            decoded.update({f"{base}.{expert}.{half}.weight": value for half, value in halves})
    return model, decoded


def load_gptq(folder):
    """By transformers with GPTQModel, whose kernel in torch runs anywhere."""
    bits = settings_of(folder)["bits"]
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", device_map="cpu", quantization_config=GPTQConfig(bits=bits, backend="torch"))
    decoded = {name + ".weight": module.dequantize_weight().T.detach().clone()
               for name, module in model.named_modules() if hasattr(module, "dequantize_weight")}
    return model, decoded


def codes_of(words, bits):
    """The codes down the columns of `words`, least significant bits first, without gaps."""
    rows = numpy.unpackbits(words.T.copy().view(numpy.uint8), axis=1, bitorder="little")
    codes = rows.reshape(rows.shape[0], -1, bits)
    return (codes.astype(numpy.int64) << numpy.arange(bits)).sum(axis=2).T


def unpack_gptq(folder):
    """The weights of a GPTQ folder by the format's definition."""
    settings = settings_of(folder)
    stored = {}
    for file in folder.glob("*.safetensors"):
        stored.update(load_torch_file(file))
    bits, weights = settings["bits"], {}
    for name in [name for name in stored if name.endswith(".qweight")]:
        base = name.removesuffix(".qweight")
        codes = codes_of(stored[name].numpy(), bits)
        zeros = codes_of(stored[base + ".qzeros"].numpy().T, bits).T
        zeros += settings["checkpoint_format"] == "gptq"
        group = codes.shape[0] if settings["group_size"] < 0 else settings["group_size"]
        spread = numpy.arange(codes.shape[0]) // group
        scales = stored[base + ".scales"]
        steps = torch.tensor(codes - zeros[spread]).to(scales.dtype)
        weights[base + ".weight"] = (scales[spread] * steps).T
    return weights


def check(what, folder, values, ids):
    """Loads a folder and compares it with coldpress's logits and weights."""
    is_gptq = what.startswith("gptq")
    loaded, decoded = load_gptq(folder) if is_gptq else load_compressed(folder)
    ours = values.pop("logits").astype(numpy.float64)
    weights = {**loaded.state_dict(), **decoded}
    for source in [weights] + ([unpack_gptq(folder)] if is_gptq else []):
        for name, expected in values.items():
            assert numpy.array_equal(source[name].float().numpy(), expected), f"{what}: {name} differs"
    # The loader's weights in a plain model that computes in fp32, as coldpress does.
    config = AutoConfig.from_pretrained(folder)
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict({name: weights[name].float() for name in plain.state_dict()})
    theirs = logits_of(plain.eval(), ids)
    angle, ratio = cosine(ours, theirs), perplexity(theirs, ids) / perplexity(ours, ids)
    # And its own pass, whose activations have 8 or 11 bits. With these, experts are other ones.
    own = cosine(ours, logits_of(loaded.eval(), ids))
    print(f"{what}: {len(values)} weights equal, cosine {angle:.7f} (own pass {own:.5f}), "
          f"perplexity {ratio:.6f}", flush=True)
    assert angle >= COSINE and abs(ratio - 1) <= PERPLEXITY, what
    assert own >= OWN_COSINE or "moe" in what, what


def main():
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    tokenizer = Tokenizer.from_file(str(FOLDER / "llama/tokenizer.json"))
    ids = tokenizer.encode((FOLDER / "text.txt").read_text()).ids[:TOKENS]
    (FOLDER / "ids.txt").write_text(" ".join(map(str, ids)))
    for number, (form, model, options) in enumerate(CASES):
        folder = FOLDER / f"case-{number}"
        run(COLDPRESS, "quantize", FOLDER / model, "--format", form, *options, "--method", "gptq",
            "--calibration", FOLDER / "text.txt", "--samples", "4", "--seqlen", "64", "-o", folder)
        run(DUMP, folder, FOLDER / "ids.txt", folder / "dump")
        values = load_file(folder / "dump")
        what = f"{form} {model} {' '.join(options)}"
        check(what, folder, values, ids)
    print(len(CASES), "folders agree")


if __name__ == "__main__":
    main()
