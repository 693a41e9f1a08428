"""Presses linear layers and language models to 2-8 bits per weight after training.

solve() takes one layer in numpy arrays, quantize() a whole model from file to file, evaluate()
measures one. All three release the GIL while they work, use as many threads as they are told to, and
give the same result for any number of them. Failures are exceptions of coldpress.errors.
"""

from coldpress._core import version as __version__
from coldpress._layer import Solution, solve
from coldpress._models import evaluate, quantize
from coldpress.errors import Corrupt, Error, InvalidArgument, IoError, NotFound, Unsupported

__all__ = [
    "Corrupt",
    "Error",
    "InvalidArgument",
    "IoError",
    "NotFound",
    "Solution",
    "Unsupported",
    "__version__",
    "evaluate",
    "quantize",
    "solve",
]
