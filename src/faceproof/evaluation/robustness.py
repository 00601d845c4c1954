"""What damage does to a detector's answers: the same images, scored as they are and damaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from faceproof.evaluation.metrics import figures
from faceproof.evaluation.predictions import (
    Flags,
    is_positive,
    label_numbers,
    labelled_rows,
    probabilities_of,
)
from faceproof.evaluation.statistics import mcnemar
from faceproof.task import Task

SIGNIFICANCE = 0.05
FIGURES = ("accuracy", "recall", "specificity", "roc_auc")


@dataclass(frozen=True)
class CorruptionRow:
    """The figures of one condition, at the stored threshold; None where one is undefined."""

    kind: str
    level: float
    accuracy: float | None
    recall: float | None
    specificity: float | None
    roc_auc: float | None

    def __str__(self) -> str:
        return "as they are" if self.kind == "none" else f"{self.kind} {self.level:g}"


@dataclass(frozen=True)
class Neutral:
    """Both classes wrapped alike, set against the images as they are.

    `p_value` is that of McNemar's exact test on which images are called correctly.
    """

    plain: CorruptionRow
    wrapped: CorruptionRow
    changed: int
    p_value: float

    @property
    def parts(self) -> bool:
        """Say whether the answers changed by more than chance: wrapping is part of the verdict."""
        return self.p_value < SIGNIFICANCE


def corruption_row(
    kind: str, level: float, predictions: pa.Table, task: Task, threshold: float
) -> CorruptionRow:
    """Return the figures of images under one condition."""
    found = figures(predictions, task, threshold)
    return CorruptionRow(kind, level, **{name: found[name] for name in FIGURES})


def compare_neutral(
    plain: pa.Table, wrapped: pa.Table, kind: str, level: float, task: Task, threshold: float
) -> Neutral:
    """Set the predictions of the same rows against each other, as they are and wrapped alike."""
    before, after = (_correct(table, task, threshold) for table in (plain, wrapped))
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    return Neutral(
        corruption_row("none", 0, plain, task, threshold),
        corruption_row(kind, level, wrapped, task, threshold),
        lost + won,
        mcnemar(lost, won),
    )


def _correct(predictions: pa.Table, task: Task, threshold: float) -> Flags:
    """Say of each labelled image whether it was called what it is."""
    known = labelled_rows(predictions)
    called = is_positive(probabilities_of(known), threshold)
    return np.asarray(called == (label_numbers(known, task) == 1))


def worst(rows: Sequence[CorruptionRow]) -> CorruptionRow | None:
    """Return the condition of the lowest accuracy, None where none has one."""
    defined = [row for row in rows if row.accuracy is not None]
    return min(defined, key=lambda row: row.accuracy or 0.0, default=None)
