"""One linear layer in numpy arrays."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from coldpress import _core
from coldpress._options import Group, method_options
from coldpress.errors import InvalidArgument


@dataclasses.dataclass(frozen=True)
class Solution:
    """What solve() found. Row i belongs to output i, and group g of a row to columns
    [g * group, (g + 1) * group); `weight` is scales * (codes - zeros), or scales *
    (levels[codes] - zeros) on a grid with levels. Methods with outliers then put fp16 numbers in
    the place of some weights, so that these are in `weight` alone.
    """

    codes: npt.NDArray[np.uint8]
    """(out, in): 0 .. 2**bits - 1."""
    scales: npt.NDArray[np.float32]
    """(out, in / group): numbers that the scale type holds."""
    zeros: npt.NDArray[np.float32]
    """(out, in / group): the code, seldom between two, that stands for 0."""
    weight: npt.NDArray[np.float32]
    """(out, in): the dequantised weight."""
    levels: Optional[npt.NDArray[np.float32]]
    """Of grids nf4 and fp4, ascending; None for affine ones."""
    group: int
    """Weights per scale; the whole row for group="channel"."""
    error: float
    """tr((W - Q) H (W - Q)^T) / tr(W H W^T): the squared error of the outputs, relative."""
    rtn_error: float
    """The same of rounding each weight to the nearest value of its range."""
    bound: float
    """The rate-distortion bound: no code of so many bits is expected to have a smaller error."""
    bits_per_weight: float
    """Scales, zeros and outliers counted."""
    damping: float
    """What was added to H to factorise it, in parts of mean(diag(H))."""
    rows_from_rtn: int
    """Rows where rounding was as good as the method."""
    fallback: str
    """What the method had to give up, in one sentence; mostly empty."""


def solve(
    W: npt.NDArray[Any],
    H: npt.NDArray[Any],
    *,
    bits: int = 4,
    group: Group = "channel",
    method: str = "admm-q",
    effort: int = 3,
    init: str = "",
    refit: int = 0,
    outliers: float = 0.0,
    outlier_mode: str = "unstructured",
    grid: str = "affine",
    clip: str = "hessian",
    scale_type: str = "f16",
    symmetric: bool = False,
    threads: int = 0,
) -> Solution:
    """Finds codes and scales for the weight W (out, in) of a linear layer y = W x.

    H (in, in) is the sum of x x^T over the layer's inputs x, in any unit: X.T @ X of inputs X
    (tokens, in). It must be symmetric; no damping needs to be added. Both arrays may be float16,
    float32 or float64, and are solved as float32; neither is changed.

    bits: 2 to 8. group: consecutive weights that share a scale, a divisor of `in`, or "channel" for
    a whole row. method: "rtn", "gptq", "quantease" or "admm-q", from quick to best;
    "gptq-outliers" and "quantease-outliers" keep the fraction `outliers` of the weights
    (outlier_mode "unstructured") or of the columns ("columns") in fp16 beside the grid. effort, 1 to
    5: how long admm-q may search. init: the method that quantease starts from. refit: most rounds
    of scale refit after rtn, gptq or quantease. grid: "affine", "nf4" or "fp4" (4 bits). clip:
    "hessian" shrinks ranges to what their inputs make best, "none" takes minimum to maximum.
    scale_type: "f16", "bf16" or "f32", what scales are rounded to. symmetric: zeros stay at the
    middle code. threads: 0 for all cores; the result does not depend on it.

    Raises InvalidArgument for values and shapes that have no answer, TypeError for others.
    """
    options = method_options(
        bits=bits, group=group, method=method, effort=effort, init=init, refit=refit,
        outliers=outliers, outlier_mode=outlier_mode, grid=grid, clip=clip, scale_type=scale_type,
        symmetric=symmetric,
    )
    w, h = _as_floats(W, "W"), _as_floats(H, "H")
    return Solution(**_core.solve(w, h, options, threads))


def _as_floats(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    """C-contiguous float32, without a copy where it is already. What float32 cannot hold becomes
    infinite, which the library refuses."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, not {type(array).__name__}")
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(f"{name} must be float16, float32 or float64, not {array.dtype}")
    if array.ndim != 2:
        raise InvalidArgument(f"{name} must have 2 dimensions, not {array.ndim}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)
