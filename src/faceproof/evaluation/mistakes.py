"""The most confident mistakes of a detector in each direction."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.evaluation.predictions import (
    is_positive,
    label_numbers,
    labelled_rows,
    probabilities_of,
)
from faceproof.task import Task

NUM_SHOWN = 12  # of each direction; a thumbnail takes some 5 kB of the page


@dataclass(frozen=True)
class Mistake:
    """A wrongly called image; `certainty` is the probability of the class that it was called."""

    path: str
    label: str
    source: str | None
    generator: str | None
    logit: float
    probability: float
    called: str
    certainty: float


@dataclass(frozen=True)
class Mistakes:
    """The mistakes in one direction: how many there are, and the most confident ones."""

    num: int
    shown: tuple[Mistake, ...]


def mistake_rows(predictions: pa.Table, task: Task, threshold: float) -> dict[str, pa.Table]:
    """Return the wrongly called rows that have a label, the most confident first.

    They stand under "POSITIVE called NEGATIVE" and "NEGATIVE called POSITIVE".
    """
    known = labelled_rows(predictions)
    labels = label_numbers(known, task)
    called = is_positive(probabilities_of(known), threshold)
    found = {}
    for true, order in ((1, "ascending"), (0, "descending")):
        wrong = known.filter(pa.array((labels == true) & (called != bool(true))))
        # By the logit: calibrated probabilities may be equal. By path, so that ties have an order.
        ranked = wrong.take(pc.sort_indices(wrong, [("logit", order), ("path", "ascending")]))
        found[f"{task.classes[true]} called {task.classes[1 - true]}"] = ranked
    return found


def find_mistakes(
    predictions: pa.Table, task: Task, threshold: float, number: int = NUM_SHOWN
) -> dict[str, Mistakes]:
    """Return the mistakes of each direction, of which `number` at most are shown."""
    return {
        direction: Mistakes(
            rows.num_rows, tuple(_mistake(row, task) for row in rows.slice(0, number).to_pylist())
        )
        for direction, rows in mistake_rows(predictions, task, threshold).items()
    }


def _mistake(row: Mapping[str, Any], task: Task) -> Mistake:
    missed = row["label"] == task.positive
    names = ("path", "label", "source", "generator", "logit", "probability")
    return Mistake(
        **{name: row[name] for name in names},
        called=task.negative if missed else task.positive,
        certainty=1 - row["probability"] if missed else row["probability"],
    )


def shown_paths(mistakes: Iterable[Mistakes]) -> list[str]:
    """Return the files of all mistakes that are shown."""
    return [mistake.path for direction in mistakes for mistake in direction.shown]


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder below which all of these lie, with its slash; empty if they share none."""
    columns = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    same = itertools.takewhile(lambda parts: len(set(parts)) == 1, columns)
    shared = [parts[0] for parts in same]
    return "/".join(shared) + "/" if any(shared) else ""
