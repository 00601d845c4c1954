"""The card of a detector artifact: what keys it has, and that it agrees with itself.

key               of
format            all: "faceproof detector 1"
made, versions    all: when and with what it was exported
kind              all: detector, ensemble or cascade
name, task        all: the task with its classes in the order of their numbers
operating_point   a detector or ensemble: calibration, threshold and unsure band
trained_on        likewise: name, images by split and class, and their fingerprint
evaluations       likewise: figures with 95 % intervals, each on which images
initial_weights   likewise
trained_with      likewise: versions
architecture      a network: what `models.build` makes it of
input             a network: size, mean, std and interpolation
weights, onnx     a network: file and its SHA-256; `onnx` may be null
average, parts    an ensemble: what is averaged, and networks, each with name, weight and
                  calibration
parts             a cascade: `gate` and `detector`, each a detector or ensemble
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.ensemble import AVERAGES
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.task import Task, get_task

FORMAT = "faceproof detector 1"
MAX_ROUNDING = 1e-6  # of weights that sum to 1

HEAD = {"format", "made", "versions"}
NETWORK = {"architecture", "input", "weights", "onnx"}
MEMBER = NETWORK | {"name", "weight", "calibration"}
SCORED = {
    *("kind", "name", "task", "operating_point", "trained_on", "evaluations"),
    *("initial_weights", "trained_with"),
}
KEYS = {
    "detector": SCORED | NETWORK,
    "ensemble": SCORED | {"average", "parts"},
    "cascade": {"kind", "name", "task", "parts"},
}

Card = dict[str, Any]


def file_entry(name: str, data: bytes) -> dict[str, str]:
    """Return how a card names a file."""
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def networks_of(card: Card) -> Iterator[Card]:
    """Yield the entries of a card that describe one network each."""
    if card["kind"] == "cascade":
        for part in card["parts"].values():
            yield from networks_of(part)
    else:
        yield from [card] if card["kind"] == "detector" else card["parts"]


def check_card(card: Any) -> Card:
    """Return a card if it is whole and agrees with itself.

    Raises:
        FaceproofError: it does not; other exceptions where a value is of a wrong type.
    """
    found = card.get("format") if isinstance(card, dict) else None
    if found != FORMAT:
        raise FaceproofError(f"its format is {found!r}, and this version reads {FORMAT!r}")
    _check_part({key: value for key, value in card.items() if key not in HEAD})
    if missing := HEAD - set(card):
        raise FaceproofError(f"it lacks {', '.join(sorted(missing))}")
    return dict(card)


def _check_part(part: Card) -> None:
    """Check a detector, ensemble or cascade."""
    kind = part.get("kind")
    if kind not in KEYS:
        raise FaceproofError(f"its kind is {kind!r} and not one of {', '.join(KEYS)}")
    _check_keys(part, KEYS[kind], kind)
    task = card_task(part)
    if kind == "cascade":
        _check_cascade(part, task)
        return
    OperatingPoint.from_json(part["operating_point"])
    if kind == "ensemble":
        _check_ensemble(part)
    for entry in networks_of(part):
        _check_network(entry)


def _check_keys(found: Card, wanted: set[str], what: str) -> None:
    if odd := sorted(set(found) ^ wanted):
        raise FaceproofError(f"a {what} lacks or should not have {', '.join(odd)}")


def card_task(part: Card) -> Task:
    """Return the task of a card.

    Raises:
        FaceproofError: there is none of that name, or its classes are others.
    """
    task = get_task(part["task"]["name"])
    if part["task"] != task_entry(task):
        raise FaceproofError(
            f"its task is {part['task']}, and the classes of {task.name} are "
            f"{', '.join(task.classes)}"
        )
    return task


def task_entry(task: Task) -> Card:
    """Return how a card names a task: its classes in the order of their numbers."""
    return {"name": task.name, "classes": list(task.classes)}


def _check_cascade(part: Card, task: Task) -> None:
    _check_keys(part["parts"], {"gate", "detector"}, "cascade")
    for name, wanted in (("gate", "face"), ("detector", "deepfake")):
        inner = part["parts"][name]
        if inner.get("kind") == "cascade":
            raise FaceproofError("a cascade is made of detectors and ensembles")
        _check_part(inner)
        if inner["task"]["name"] != wanted:
            raise FaceproofError(
                f"the {name} of a cascade answers the task {wanted}; this one answers "
                f"{inner['task']['name']}"
            )
    if task.name != "deepfake":
        raise FaceproofError("the task of a cascade is deepfake")


def _check_ensemble(part: Card) -> None:
    if part["average"] not in AVERAGES or not part["parts"]:
        raise FaceproofError(
            f"an ensemble averages {' or '.join(AVERAGES)} of some networks; found "
            f"{part['average']!r} of {len(part['parts'])}"
        )
    for entry in part["parts"]:
        _check_keys(entry, MEMBER, "member of an ensemble")
        Calibration.from_json(entry["calibration"])
        if not 0 <= entry["weight"] <= 1:
            raise FaceproofError(f"a member's weight is from 0 to 1; found {entry['weight']}")
    total = sum(entry["weight"] for entry in part["parts"])
    if abs(total - 1) > MAX_ROUNDING:
        raise FaceproofError(f"the weights of an ensemble sum to 1; found {total}")


def _check_network(entry: Card) -> None:
    _check_keys(entry["weights"], {"file", "sha256"}, "weights entry")
    if not str(entry["weights"]["file"]).endswith(".safetensors"):
        raise FaceproofError(
            f"its weights are {entry['weights']['file']!r}; only safetensors are loaded, because "
            "a pickle can run code"
        )
    if entry["onnx"] is not None:
        _check_keys(entry["onnx"], {"file", "sha256"}, "onnx entry")
    if entry["architecture"]["input"] != entry["input"]:
        raise FaceproofError("its input is not that of its architecture")
