"""Settings that are refused before anything is looked at: misspelt, or of no meaning.

A setting on the command line that no file of conf/ has is refused by Hydra; one in a file of one's
own, or with a `+`, would be carried along unread. What is built out of settings refuses those that
it does not know; here are the names that nothing is built of, and the values that would be found
wrong only when images have been listed or drawn.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from faceproof.data.layout import layout_pattern
from faceproof.data.loader_config import MAX_WORKERS as MOST_WORKERS
from faceproof.data.splits import check_ratios
from faceproof.data.table import SPLITS
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import flatten
from faceproof.task import get_task

# What is read of the groups that are not built whole.
OF_GROUPS: dict[str, frozenset[str]] = {
    "model": frozenset({"name", "weights", "swap_classes", "input", "backbone", "head"}),
    "logger": frozenset({"tensorboard"}),
}
WITHIN_SETS = re.compile(r"^data\.(sets\.[^.]+\.)+")
MAX_BATCH = 2**16  # images of 224 pixels would be 39 GB of numbers at once
# The loss is multiplied by them: far outside of these it is nothing, or no number any more.
WEIGHTS = (1e-6, 1e6)
INTERPOLATED = re.compile(r"\$\{\.*([\w.]+)")

Rule = tuple[Callable[[Any], bool], str]


def _is_number(value: Any) -> bool:
    finite = isinstance(value, int | float) and -math.inf < value < math.inf
    return finite and not isinstance(value, bool)


def _is_count(value: Any, lowest: int) -> bool:
    return type(value) is int and value >= lowest


SWITCH: Rule = (lambda value: isinstance(value, bool), "true or false")
SEED: Rule = (lambda value: _is_count(value, 0) and value < 2**32, "a whole number from 0 on")
SHARE: Rule = (lambda value: _is_number(value) and 0 <= value <= 1, "a share, from 0 to 1")
RATE: Rule = (lambda value: _is_number(value) and 0 < value < 1, "a rate, above 0 and below 1")
COUNT: Rule = (lambda value: _is_count(value, 1), "a count from 1 on")
TEXT: Rule = (lambda value: isinstance(value, str), "a text")
WORDS: Rule = (lambda value: value is None or isinstance(value, Mapping), "words and their meaning")
OWN_SPLITS = (*SPLITS, "auto", None)
# Of what kind the settings of our own data sets are.
KINDS: dict[str, Rule] = {
    "name": TEXT,
    "task": TEXT,
    "root": TEXT,
    "file": TEXT,
    "layout": TEXT,
    "labels": WORDS,
    "splits": WORDS,
    "generators": (
        lambda value: WORDS[0](value) and all(isinstance(v, str | None) for v in _meanings(value)),
        "folder words and the names of generators",
    ),
    "generator": (lambda value: isinstance(value, str | None), "null or a name"),
    "ratios": (
        lambda value: WORDS[0](value) and all(map(_is_number, _meanings(value))),
        "shares of train, val and test",
    ),
    "sets": (
        lambda value: WORDS[0](value) and all(isinstance(v, Mapping) for v in _meanings(value)),
        "names and the data sets that they stand for",
    ),
}
RULES: dict[str, Rule] = {
    "seed": SEED,
    "patience": (lambda value: value is None or _is_count(value, 0), "null or a count of epochs"),
    "monitor": (lambda value: isinstance(value, str), "the name of a figure, such as val/loss"),
    "compare": SWITCH,
    "compile": SWITCH,
    "logger.tensorboard": SWITCH,
    "model.swap_classes": SWITCH,
    "loader.batch_size": (
        lambda value: _is_count(value, 1) and value <= MAX_BATCH,
        f"a count from 1 on, at the most {MAX_BATCH}",
    ),
    "loader.num_workers": (
        lambda value: value == "auto" or (_is_count(value, 0) and value <= MOST_WORKERS),
        f"'auto' or a count from 0 on, at the most {MOST_WORKERS}",
    ),
    "checkpoint.steps": (
        lambda value: value is None or _is_count(value, 1),
        "above 0 and whole, or null",
    ),
    "threshold.fpr": RATE,
    "threshold.value": SHARE,
    "data.max_unreadable": SHARE,
    "data.allow_leaks": SWITCH,
    "data.num_per_class": COUNT,
    "data.seed": SEED,
    "data.split_seed": (lambda value: type(value) is int, "a whole number"),
    **{f"data.ratios.{split}": SHARE for split in ("train", "val", "test")},
}


def check_names(config: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Refuse a setting that nothing reads.

    Args:
        config: a whole configuration, Hydra's own part left out.
        written: what conf/train.yaml or conf/evaluate.yaml says, with its list of groups.

    Raises:
        FaceproofError: there is one; the message has the settings whose names are like it.
    """
    interpolated = set(_interpolated(config))
    groups = {key for entry in written["defaults"] if isinstance(entry, dict) for key in entry}
    known = {"": (frozenset(written) | groups) - {"defaults", "hydra"}, **OF_GROUPS}
    for name, value in written.items():
        if isinstance(value, Mapping):
            known[name] = frozenset(value)
    for place, names in known.items():
        given = config.get(place) if place else config
        for name in given if isinstance(given, Mapping) else ():
            if name not in names and name not in interpolated:
                raise FaceproofError(_unknown(str(name), place, names))


def _interpolated(node: Any) -> Iterator[str]:
    """Yield the names that other settings read by an interpolation, as `${side}` does."""
    if isinstance(node, Mapping | list):
        for part in node.values() if isinstance(node, Mapping) else node:
            yield from _interpolated(part)
    elif isinstance(node, str):
        for path in INTERPOLATED.findall(node):
            yield from path.split(".")


def _unknown(name: str, place: str, names: frozenset[str]) -> str:
    """Say that there is no such setting, and which ones are like it."""
    dot = f"{place}." if place else ""
    if similar := get_close_matches(name, names):
        return f"there is no setting {dot}{name}; did you mean {dot}{similar[0]}?"
    known = ", ".join(sorted(one for one in names if one.isidentifier()))
    return f"there is no setting {dot}{name}; there are {known}"


def check_values(config: Mapping[str, Any], *, null: bool = False) -> None:
    """Refuse values that have no meaning, in the settings that nothing is built of.

    Args:
        config: a configuration as plain values; what it lacks is not looked for, nor what an
            interpolation stands for, nor a data set that a function of one's own makes.
        null: whether null is a value of every setting, as in evaluate.py: the run's own.

    Raises:
        FaceproofError: there is one.
    """
    own = {**config, "data": _own(config["data"])} if "data" in config else config
    for key, value in flatten(own).items():
        rule = RULES.get(WITHIN_SETS.sub("data.", key))
        if rule is None or (null and value is None) or _is_open(value):
            continue
        fits, meaning = rule
        if not fits(value):
            raise FaceproofError(f"{key} = {value!r} must be {meaning}")
    weights = config.get("class_weights")
    if weights is not None and not _is_open(weights):
        _check_class_weights(weights)


def _is_open(value: Any) -> bool:
    """Say whether a value is an interpolation yet."""
    return isinstance(value, str) and "${" in value


def _is_ours(node: Mapping[str, Any]) -> bool:
    return str(node.get("_target_", "faceproof.")).startswith("faceproof.")


def _own(node: Any) -> Any:
    """Return the description of a data set without those that functions of one's own make."""
    if not isinstance(node, Mapping):
        return node
    if not _is_ours(node):
        return {}
    sets = node.get("sets")
    if not isinstance(sets, Mapping):
        return node
    return {**node, "sets": {name: _own(part) for name, part in sets.items()}}


def _check_class_weights(weights: Any) -> None:
    two = isinstance(weights, list | tuple) and len(weights) == 2
    low, high = WEIGHTS
    if weights in ("none", "balanced"):
        return
    if two and all(_is_number(weight) and low <= weight <= high for weight in weights):
        return
    raise FaceproofError(
        f"class_weights = {weights!r} must be none, balanced, or two positive numbers: "
        f"[negative, positive], each from {low:g} to {high:g}"
    )


def check_data(node: Mapping[str, Any]) -> None:
    """Refuse the description of a data set that could not be one, before anything is listed.

    Args:
        node: what `data` is in a configuration, as plain values.

    Raises:
        FaceproofError: it names no task, classes or splits that there are, or odd values.
    """
    check_values({"data": node})
    for one in _each(node):
        for setting, (fits, meaning) in KINDS.items():
            if setting in one and not fits(one[setting]):
                raise FaceproofError(f"data.{setting} = {one[setting]!r} must be {meaning}")
        classes = get_task(one["task"]).classes if "task" in one else ()
        if one.get("ratios") is not None:
            check_ratios(one["ratios"])
        if "layout" in one:
            layout_pattern(one["layout"])
        for setting, allowed in (("labels", (*classes, None)), ("splits", OWN_SPLITS)):
            for word, meaning in (one.get(setting) or {}).items():
                if meaning not in allowed:
                    raise FaceproofError(
                        f"data.{setting}.{word} = {meaning!r} must be one of "
                        f"{', '.join(map(str, allowed[:-1]))}, or null to leave the folder out"
                    )


def check_both_classes(node: Mapping[str, Any]) -> None:
    """Refuse to train on folders of which none can hold images of one of the classes.

    Raises:
        FaceproofError: it is so.
    """
    if not _is_whole(node):
        return
    named = [one.get("labels") for one in _each(node) if "sets" not in one]
    found = {meaning for labels in named for meaning in (labels or {}).values()}
    for name in get_task(node["task"]).classes if all(named) else ():
        if name not in found:
            raise FaceproofError(
                f"no folder word of data.labels means {name}, and a detector is trained on both "
                f"classes: add one with '+data.labels.WORD={name}'"
            )


def _meanings(words: Mapping[str, Any] | None) -> list[Any]:
    return list((words or {}).values())


def _is_whole(node: Mapping[str, Any]) -> bool:
    """Say whether a data set is one of ours, and made of such."""
    return _is_ours(node) and all(_is_whole(part) for part in _meanings(node.get("sets")))


def _each(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a data set's description, and those of which it is put together, if they are ours."""
    if _is_ours(node):
        yield node
        for part in _meanings(node.get("sets")):
            yield from _each(part)
