"""A row for each setting of a dataclass or function: type, default, and what its docstring says."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from faceproof.augment.transforms import Augment
from faceproof.models.build import ModelConfig
from faceproof.settings import join

REQUIRED = "required"
END_OF_YAML = "...\n"  # stands behind a plain value

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A row of the reference."""

    name: str
    type: str
    default: str
    meaning: str


def meanings(of: Any) -> dict[str, str]:
    """Return what a Google docstring says of each attribute or argument, parents first."""
    found: dict[str, str] = {}
    for one in reversed(of.__mro__ if isinstance(of, type) else [of]):
        doc = vars(one).get("__doc__") if isinstance(one, type) else one.__doc__
        text = inspect.cleandoc(doc or "")
        section = re.search(r"^(?:Attributes|Args):\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
        if section:
            entries = re.split(r"^    (\w+): ", section[1], flags=re.MULTILINE)[1:]
            pairs = zip(entries[::2], entries[1::2], strict=True)
            found |= {name: " ".join(meaning.split()) for name, meaning in pairs}
    return found


def type_words(hint: Any) -> str:
    """Return a type as a person who writes YAML calls it."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_words(one) for one in get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(hint))
    named = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if hint in named:
        return named[hint]
    if hint is NoneType:
        return "null"
    kind = get_origin(hint) or hint
    return "names and values" if is_mapping(kind) else "list" if is_list(kind) else "text"


def is_mapping(kind: Any) -> bool:
    """Say whether a type is one of a mapping."""
    return isinstance(kind, type) and issubclass(kind, Mapping | dict)


def is_list(kind: Any) -> bool:
    """Say whether a type is one of a list."""
    return isinstance(kind, type) and issubclass(kind, Iterable) and kind is not str


def value_words(value: Any) -> str:
    """Return a value as it stands in YAML."""
    if value == "???":
        return REQUIRED
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000, sort_keys=False)
    return f"`{text.removesuffix(END_OF_YAML).strip()}`"


def settings_of(
    kind: Callable[..., Any],
    where: str = "",
    values: Values | None = None,
    notes: Values | None = None,
    leave_out: Iterable[str] = (),
) -> list[Setting]:
    """Return a row for each setting of a dataclass, or of a function that takes settings by name.

    Args:
        kind: the dataclass or function.
        where: the place of its settings, such as `optimizer`.
        values: defaults of `conf/` by dotted names from there on; they stand over its own.
        notes: meanings of what its docstring does not speak of.
        leave_out: names that have rows of their own elsewhere.
    """
    given, said = {} if values is None else values, meanings(kind)
    # A dataclass's own hints; `TrainConfig` names two that it imports for type checkers alone.
    of = kind.__init__ if isinstance(kind, type) and not is_dataclass(kind) else kind
    hints = get_type_hints(of, localns={"ModelConfig": ModelConfig, "Augment": Augment})
    rows = []
    for name, parameter in inspect.signature(kind).parameters.items():
        hint = hints.get(name, str)
        if name in leave_out or is_dataclass(hint):
            continue
        default = parameter.default
        if name in given:
            default = given[name]
        elif default is parameter.empty:
            default = "???"
        elif not isinstance(default, str | int | float | tuple | NoneType):
            default = {}
        meaning = said.get(name) or (notes or {}).get(name, "")
        assert meaning, f"say in the docstring of {kind.__name__} what {name} means"
        if parameter.kind is parameter.VAR_KEYWORD:
            rows.append(Setting(f"{where}.*", "any", "", meaning))
            continue
        rows.append(Setting(join(where, name), type_words(hint), value_words(default), meaning))
    return rows


def table(rows: Iterable[Setting]) -> str:
    """Return rows as a table."""
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        meaning = re.sub(r"\bNone\b", "null", row.meaning).replace("|", "\\|").rstrip(".")
        lines.append(f"| `{row.name}` | {row.type} | {row.default} | {meaning} |")
    return "\n".join(['<div class="settings" markdown>', "", *lines, "", "</div>"])
