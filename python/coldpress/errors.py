"""What coldpress raises. Every message is one sentence: what is wrong, where, and what would work."""

import re

__all__ = ["Corrupt", "Error", "InvalidArgument", "IoError", "NotFound", "Unsupported"]


class Error(Exception):
    """Base of all of them. The library's sentences name options as the command line does; here they
    carry the names of arguments."""

    def __init__(self, message: str) -> None:
        super().__init__(_as_arguments(message))


class InvalidArgument(Error, ValueError):
    """Something impossible was asked for."""


class NotFound(Error, FileNotFoundError):
    """A file, a tensor or a name does not exist."""


class Corrupt(Error, ValueError):
    """A file's bytes are not what its format promises."""


class Unsupported(Error, NotImplementedError):
    """Well formed, but not something that coldpress can do."""


class IoError(Error, OSError):
    """The operating system refused."""


def _as_arguments(message: str) -> str:
    """--outlier-mode of the command line is outlier_mode in Python."""
    return re.sub(r"(?<![^\s(])--([a-z][a-z-]*)", lambda m: m.group(1).replace("-", "_"), message)
