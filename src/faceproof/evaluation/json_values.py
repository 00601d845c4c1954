"""Plain, printable values of dataclasses, for JSON files and pages."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from faceproof.io import plain_files

Value = TypeVar("Value")


def plain(value: Any) -> Any:
    """Return dataclasses as dictionaries and tuples as lists, and so all that they hold."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def printable(value: Value) -> Value:
    """Return a value made fit for strict JSON and for a page, whatever names it holds.

    A number that is not finite becomes None. A character that would not print is written as its
    escape: file names may hold broken bytes, line feeds, or marks that reverse what follows.
    """
    made: Any = value
    if is_dataclass(value) and not isinstance(value, type):
        made = replace(
            value, **{item.name: printable(getattr(value, item.name)) for item in fields(value)}
        )
    elif isinstance(value, Mapping):
        made = {printable(key): printable(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        made = type(value)(printable(item) for item in value)
    elif isinstance(value, float) and not math.isfinite(value):
        made = None
    elif isinstance(value, str):
        made = plain_files.printable(value)
    return made  # type: ignore[no-any-return]
