from typing import Any, Callable, Dict, List, Optional

import numpy as np
import numpy.typing as npt

version: str

class MethodOptions:
    method: str
    bits: int
    group: int
    effort: int
    init: str
    refit: int
    outliers: float
    outlier_mode: str
    grid: str
    clip: str
    scale_type: str
    symmetric: bool
    def __init__(self) -> None: ...

class QuantizeOptions:
    method: MethodOptions
    preset: str
    recipe: str
    calibration: str
    samples: int
    seqlen: int
    seed: Optional[int]
    imatrix: str
    dense_type: str
    split_bytes: int
    shard_bytes: int
    max_ram: int
    work_dir: str
    format: str
    quantize_head: bool
    target: str
    tensor_parallel: int
    propagate: bool
    shrinkage: Optional[float]
    tokenizer_pre: str
    type: str
    pure: bool
    tensor_types: List[str]
    output_tensor_type: str
    token_embedding_type: str
    allow_fallback: bool
    threads: int
    def __init__(self) -> None: ...

class EvaluateOptions:
    text: str
    protocol: str
    windows: int
    reference: str
    tokenizer_pre: str
    threads: int
    def __init__(self) -> None: ...

def solve(
    w: npt.NDArray[np.float32], h: npt.NDArray[np.float32], options: MethodOptions, threads: int
) -> Dict[str, Any]: ...
def quantize(
    model: str,
    out: str,
    options: QuantizeOptions,
    progress: Optional[Callable[[int, int, str, float], Any]],
) -> str: ...
def evaluate(model: str, options: EvaluateOptions) -> str: ...
