"""From JSON that a stranger may have written to typed dataclasses, or one kind of error."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from faceproof.errors import FaceproofError
from faceproof.settings import SettingError, join

MAX_DEPTH = 20
ADDED = {"added": True}  # the metadata of a field that files of earlier versions lack
MAX_INTEGER = 2**63
MAX_FLOAT = sys.float_info.max

SCALARS: Mapping[type, tuple[Callable[[Any], bool], str]] = {
    str: (lambda value: isinstance(value, str), "a text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: type(value) is int and abs(value) < MAX_INTEGER, "a whole number"),
    float: (
        lambda value: type(value) in (int, float) and -MAX_FLOAT <= value <= MAX_FLOAT,
        "a finite number",
    ),
}


def parse(kind: Any, value: Any, where: str = "") -> Any:
    """Return a plain value as what an annotation says it is.

    That is a dataclass, a scalar type, a Literal of texts, `dict[str, X]`, `tuple[X, ...]`,
    `tuple[X, Y]`, a NamedTuple (of a list), `X | None`, or Any for plain values of bounded depth. A
    dataclass takes exactly its fields, of which those that are `ADDED` may be missing; one with a
    method `from_json` is made by that, once its fields have the right types.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return _bounded(value, where)
    if origin is Literal:
        _expect(value in inner, value, where, f"one of {', '.join(inner)}")
        return value
    if origin in (Union, UnionType):
        (other,) = (one for one in inner if one is not NoneType)
        return None if value is None else parse(other, value, where)
    if origin is dict:
        _expect(isinstance(value, dict), value, where, "a mapping")
        return {key: parse(inner[1], one, join(where, key)) for key, one in value.items()}
    if origin is tuple:
        _expect(isinstance(value, list), value, where, "a list")
        kinds = inner[:1] * len(value) if inner[1:] == (Ellipsis,) else inner
        _expect(len(value) == len(kinds), value, where, f"a list of {len(kinds)}")
        return tuple(
            parse(one, part, join(where, str(number)))
            for number, (one, part) in enumerate(zip(kinds, value, strict=True))
        )
    if is_dataclass(kind):
        return _parse_dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, tuple):  # with named fields
        hints = get_type_hints(kind)
        return kind(*parse(tuple[tuple(hints.values())], value, where))  # type: ignore[misc]
    fits, meaning = SCALARS[kind]
    _expect(fits(value), value, where, meaning)
    return kind(value)


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), value, where, "a mapping")
    read = getattr(kind, "from_json", None)
    given = {key: one for key, one in value.items() if read is None or key != "format"}
    names = {field.name for field in fields(kind) if field.name in given or not _is_added(field)}
    if odd := sorted(names ^ set(given)):
        raise FaceproofError(f"{where or 'it'} lacks or should not have {', '.join(odd)}")
    hints = get_type_hints(kind)
    parsed = {name: parse(hints[name], given[name], join(where, name)) for name in names}
    try:
        return kind(**parsed) if read is None else read(value)
    except SettingError as error:
        raise error.within(where) from error


def _is_added(field: Field[Any]) -> bool:
    """Say whether files of earlier versions lack a field."""
    return bool(field.metadata.get("added"))


def _bounded(value: Any, where: str, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise FaceproofError(f"{where} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {key: _bounded(one, join(where, key), depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_bounded(one, where, depth + 1) for one in value]
    return value if value is None else parse(type(value), value, where)


def _expect(fits: bool, value: Any, where: str, meaning: str) -> None:
    if not fits:
        raise FaceproofError(f"{where or 'it'} = {str(value)[:100]!r} must be {meaning}")
