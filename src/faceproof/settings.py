"""From plain values to the dataclass that holds them, for every setting of faceproof.

Each dataclass checks its own values in `__post_init__`, by the rules below; a name that it does not
know is refused with the names that are like it. Nothing here knows Hydra.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from faceproof.errors import FaceproofError

Made = TypeVar("Made")

DEVICES = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³"))
)


@dataclass(frozen=True)
class Rule:
    """A test of a value, and its meaning in words, to stand behind "must be"."""

    fits: Callable[[Any], bool]
    meaning: str


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number."""
    finite = isinstance(value, int | float) and -math.inf < value < math.inf
    return finite and not isinstance(value, bool)


def is_count(value: Any, lowest: int = 0) -> bool:
    """Say whether a value is a whole number from `lowest` on."""
    return type(value) is int and value >= lowest


def is_name(value: Any) -> bool:
    """Say whether a value can name a file or a folder, here and on other systems.

    Windows takes neither a dot or space at the end, nor the names of devices, whatever follows
    their first dot.
    """
    readable = isinstance(value, str) and value.isprintable() and not value.startswith((".", " "))
    if not readable or not 0 < len(value.encode()) <= 200 or set(value) & set("/\\"):
        return False
    return not value.endswith((".", " ")) and not is_device(value)


def is_device(name: str) -> bool:
    """Say whether Windows would take the name of a file or folder for a device."""
    return name.partition(".")[0].rstrip().upper() in DEVICES


def one_of(*choices: str) -> Rule:
    """Return the rule of a value that is one of these words."""
    return Rule(lambda value: value in choices, f"one of {', '.join(choices)}")


def optional(rule: Rule) -> Rule:
    """Return a rule that allows null too."""
    return Rule(lambda value: value is None or rule.fits(value), f"{rule.meaning}, or null")


def count_up_to(lowest: int, highest: int) -> Rule:
    """Return the rule of a whole number within these bounds."""
    return Rule(
        lambda value: is_count(value, lowest) and value <= highest,
        f"a count from {lowest} on, at most {highest}",
    )


SWITCH = Rule(lambda value: isinstance(value, bool), "true or false")
SEED = Rule(lambda value: is_count(value) and value < 2**32, "a whole number from 0 on")
INTEGER = Rule(lambda value: type(value) is int, "a whole number")
COUNT = Rule(lambda value: is_count(value, 1), "a count from 1 on")
AMOUNT = Rule(lambda value: is_number(value) and value >= 0, "a number from 0 on")
ABOVE_ZERO = Rule(lambda value: is_number(value) and value > 0, "a number above 0")
SHARE = Rule(lambda value: is_number(value) and 0 <= value <= 1, "a share, from 0 to 1")
RATE = Rule(lambda value: is_number(value) and 0 < value < 1, "a rate, above 0 and below 1")
TEXT = Rule(lambda value: isinstance(value, str), "a text")
PLACE = Rule(
    lambda value: isinstance(value, str) and bool(value.strip()),
    "a folder or file (. for the folder one is in)",
)
NAME = Rule(
    is_name,
    "a name: 200 letters at most, without slashes, line feeds and the like, no dot or space first "
    "or last, and none that Windows keeps for devices, such as con, nul and com1",
)


class SettingError(FaceproofError):
    """A setting that is misspelt, missing or of no meaning; `problem` stands behind its name."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting} {problem}".strip())
        self.setting, self.problem = setting, problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes the error again, in another process."""
        return type(self), (self.setting, self.problem)

    def within(self, where: str) -> "SettingError":
        """Return the same error for settings that stand at a place of larger ones."""
        return type(self)(join(where, self.setting), self.problem)


class UnknownSettingError(SettingError):
    """A name that nothing reads."""

    def __init__(self, setting: str, known: Iterable[str]) -> None:
        self.known = sorted(known)
        where, _, name = setting.rpartition(".")
        close = get_close_matches(name, self.known)
        hint = (
            f"did you mean {join(where, close[0])}?"
            if close
            else f"there are {', '.join(self.known)}"
        )
        FaceproofError.__init__(self, f"there is no setting {setting}; {hint}")
        self.setting = setting

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes the error again, in another process."""
        return type(self), (self.setting, self.known)

    def within(self, where: str) -> "UnknownSettingError":
        """Return the same error for settings that stand at a place of larger ones."""
        return UnknownSettingError(join(where, self.setting), self.known)


def check(settings: object, **rules: Rule) -> None:
    """Refuse a value that breaks the rule of its name.

    Raises:
        SettingError: it names setting, value and rule.
    """
    for name, rule in rules.items():
        value = getattr(settings, name)
        if not rule.fits(value):
            raise SettingError(name, f"= {value!r} must be {rule.meaning}")


def make(create: Callable[..., Made], values: Any, where: str = "") -> Made:
    """Make a dataclass of settings, and those inside it, from plain values.

    Lists become tuples. A mapping becomes the dataclass that its field is annotated with.

    Args:
        create: the dataclass, or a function that takes settings by name.
        values: names and plain values.
        where: their place in the configuration, for messages.

    Raises:
        SettingError: a name is not known or missing, or a value breaks its rule.
    """
    try:
        return _make(create, values)
    except SettingError as error:
        raise error.within(where) from error


def _make(create: Callable[..., Made], values: Any) -> Made:
    if not isinstance(values, Mapping):
        raise SettingError("", f"= {values!r} must be settings by name")
    parameters = inspect.signature(create).parameters
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = {name: one for name, one in parameters.items() if one.kind not in variable}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for name in values:
        if name not in named and not takes_any:
            raise UnknownSettingError(str(name), named)
    for name, one in named.items():
        if one.default is one.empty and name not in values:
            raise SettingError(name, "is missing, and has no default")
    nested = _nested(create) if isinstance(create, type) and is_dataclass(create) else {}
    return create(
        **{
            name: make(nested[name], value, name)
            if name in nested and isinstance(value, Mapping)
            else _frozen(value)
            for name, value in values.items()
        }
    )


def join(where: str, name: str) -> str:
    """Return the dotted name of a setting."""
    return ".".join(filter(None, (where, name)))


@lru_cache
def _nested(create: type) -> dict[str, type]:
    """Return the fields that are dataclasses themselves."""
    hints = get_type_hints(create)
    found: dict[str, type] = {}
    for field in fields(create):
        hint = hints[field.name]
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        classes = [one for one in options if isinstance(one, type) and is_dataclass(one)]
        if len(classes) == 1:
            found[field.name] = cast(type, classes[0])
    return found


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
