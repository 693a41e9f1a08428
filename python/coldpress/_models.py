"""Whole models, from file to file."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Union

from coldpress import _core
from coldpress._options import Group, fill, method_options
from coldpress.errors import InvalidArgument

Path = Union[str, "os.PathLike[str]"]
Progress = Callable[[int, int, str, float], Any]


def quantize(
    model: Path,
    out: Path,
    *,
    bits: Optional[int] = None,
    type: Optional[str] = None,
    preset: str = "",
    recipe: Optional[Path] = None,
    group: Group = "channel",
    method: str = "admm-q",
    calibration: Union[Path, Mapping[str, float], None] = None,
    imatrix: Optional[Path] = None,
    samples: int = 128,
    seqlen: int = 512,
    seed: Optional[int] = None,
    effort: int = 3,
    init: str = "",
    refit: int = 0,
    outliers: float = 0.0,
    outlier_mode: str = "unstructured",
    grid: str = "affine",
    clip: str = "hessian",
    scale_type: Optional[str] = None,
    symmetric: bool = False,
    propagate: bool = True,
    shrinkage: Optional[float] = None,
    dense_type: Optional[str] = None,
    format: str = "dense",
    quantize_head: bool = False,
    target: str = "",
    tp: int = 1,
    pure: bool = False,
    tensor_type: Sequence[str] = (),
    output_tensor_type: str = "",
    token_embedding_type: str = "",
    allow_fallback: bool = False,
    split_max_bytes: int = 0,
    shard_bytes: int = 0,
    max_ram: int = 0,
    work_dir: str = "",
    tokenizer_pre: str = "",
    threads: int = 0,
    progress: Optional[Progress] = None,
) -> Dict[str, Any]:
    """Presses a model and returns the manifest, as `coldpress quantize --json` prints it.

    model: a Hugging Face folder or a .gguf file. out: NAME.gguf, or the name of a folder; it must not
    exist yet. One of bits (2 to 8), with the values stored densely; type: one of llama.cpp's mixes,
    such as "Q4_K_M", for a GGUF file in its blocks; preset: a recipe by name, such as
    "w4a8-smoothquant"; recipe: a file with one, in TOML, or the manifest of a run to repeat. What a
    preset or a recipe says counts in place of other arguments, but for calibration. calibration: a
    text or JSONL file, or several as {file: weight}; imatrix: a file of Gram diagonals in its place. The
    other arguments are the options of the command line (README.md), those of method and grid as in
    solve().
    dense_type and scale_type are "f16", but for a `format` of codes the source's own, unless given.
    split_max_bytes: GGUF, bytes of tensors per file; 0 for one file. shard_bytes: the same of folders;
    0 for the source's shards. max_ram: a ceiling of anonymous memory in bytes; 0 for none. What does not
    fit is kept on disk, in work_dir or beside the output.

    progress(done, total, tensor, mean_error) is called after every linear. What it raises stops the
    run, as Ctrl-C does; nothing is then left under the name of `out`.

    Raises an exception of coldpress.errors, or TypeError for values of a wrong type.
    """
    if sum((bits is not None, type is not None, bool(preset), recipe is not None)) != 1:
        raise InvalidArgument("give one of bits, type, preset and recipe")
    if calibration is not None and imatrix is not None or (
        calibration is None and imatrix is None and recipe is None
    ):
        raise InvalidArgument("give either calibration or imatrix")
    options = fill(
        _core.QuantizeOptions(),
        method=method_options(
            bits=4 if bits is None else bits, group=group, method=method, effort=effort, init=init,
            refit=refit, outliers=outliers, outlier_mode=outlier_mode, grid=grid, clip=clip,
            scale_type=scale_type or "", symmetric=symmetric,
        ),
        preset=preset,
        recipe="" if recipe is None else os.fspath(recipe),
        calibration=_sources(calibration),
        imatrix="" if imatrix is None else os.fspath(imatrix),
        samples=samples,
        seqlen=seqlen,
        seed=seed,
        propagate=propagate,
        shrinkage=shrinkage,
        dense_type=dense_type or "",
        format=format,
        quantize_head=quantize_head,
        target=target,
        tensor_parallel=tp,
        split_bytes=split_max_bytes,
        shard_bytes=shard_bytes,
        max_ram=max_ram,
        work_dir=os.fspath(work_dir),
        tokenizer_pre=tokenizer_pre,
        type=type or "",
        pure=pure,
        tensor_types=list(tensor_type),
        output_tensor_type=output_tensor_type,
        token_embedding_type=token_embedding_type,
        allow_fallback=allow_fallback,
        threads=threads,
    )
    manifest: Dict[str, Any] = json.loads(
        _core.quantize(os.fspath(model), os.fspath(out), options, progress)
    )
    return manifest


def evaluate(
    model: Path,
    text: Path,
    *,
    protocol: str = "gptq-2048",
    windows: int = 0,
    reference: Optional[Path] = None,
    tokenizer_pre: str = "",
    threads: int = 0,
) -> Dict[str, Any]:
    """Measures the perplexity of a model on a text file, as `coldpress eval --json` prints it.

    protocol: "gptq-2048", as papers measure, or "llama.cpp-512", as llama-perplexity does; numbers
    of different protocols do not compare. windows: only the first so many; 0 for all. reference: a
    model to compare with: the result then also has "kl" (Kullback-Leibler divergence in both
    directions, in nats per token) and "top1_agreement".

    Raises an exception of coldpress.errors, or TypeError for values of a wrong type.
    """
    options = fill(
        _core.EvaluateOptions(),
        text=os.fspath(text),
        protocol=protocol,
        windows=windows,
        reference="" if reference is None else os.fspath(reference),
        tokenizer_pre=tokenizer_pre,
        threads=threads,
    )
    result: Dict[str, Any] = json.loads(_core.evaluate(os.fspath(model), options))
    return result


def _sources(calibration: Union[Path, Mapping[str, float], None]) -> str:
    if calibration is None:
        return ""
    if isinstance(calibration, Mapping):
        return ",".join(f"{os.fspath(file)}:{weight:g}" for file, weight in calibration.items())
    return os.fspath(calibration)
