"""From keyword arguments to the option structs of coldpress._core."""

from __future__ import annotations

from typing import Any, TypeVar, Union

from coldpress._core import MethodOptions
from coldpress.errors import InvalidArgument

Group = Union[int, str]
Options = TypeVar("Options")


def fill(options: Options, **values: Any) -> Options:
    """Sets each attribute; a value of the wrong type is a TypeError that names the argument."""
    for name, value in values.items():
        if isinstance(value, bool) != isinstance(getattr(options, name), bool):
            raise _wrong_type(name, value)
        try:
            setattr(options, name, value)
        except TypeError:
            raise _wrong_type(name, value) from None
    return options


def method_options(*, group: Group, **values: Any) -> MethodOptions:
    if isinstance(group, str):
        if group != "channel":
            raise InvalidArgument(f"group {group!r} is neither a count nor 'channel'")
        group = 0
    return fill(MethodOptions(), group=group, **values)


def _wrong_type(name: str, value: Any) -> TypeError:
    return TypeError(f"{name} cannot be {value!r}")
