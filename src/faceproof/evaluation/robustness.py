"""How corrupting the images changes a detector's answers: the same images, with and without."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.predictions import called_right, labelled_rows
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import SIGNIFICANCE, mcnemar
from faceproof.task import Task


@dataclass(frozen=True)
class CorruptionRow:
    """The metrics under one corruption, at the stored threshold; None where one is undefined."""

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
    """Both classes re-encoded alike, compared with the images as they are.

    `p_value` is that of McNemar's exact test on which images are called correctly.
    """

    plain: CorruptionRow
    wrapped: CorruptionRow
    changed: int
    p_value: float

    @property
    def parts(self) -> bool:
        """Whether more answers changed than chance explains: encoding is part of the verdict."""
        return self.p_value < SIGNIFICANCE


def corruption_row(
    kind: str, level: float, predictions: pa.Table, task: Task, threshold: float
) -> CorruptionRow:
    """Return the metrics of images under one corruption."""
    scores = WeightedScores(LabelledScores.from_table(predictions, task, threshold))
    names = ("accuracy", "recall", "specificity", "roc_auc")
    return CorruptionRow(kind, level, **{name: METRICS[name](scores) for name in names})


def compare_neutral(
    plain: pa.Table, wrapped: pa.Table, kind: str, level: float, task: Task, threshold: float
) -> Neutral:
    """Compare the predictions of the same rows, as they are and with both classes wrapped alike."""
    before, after = (
        called_right(labelled_rows(table), task, threshold) for table in (plain, wrapped)
    )
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    return Neutral(
        corruption_row("none", 0, plain, task, threshold),
        corruption_row(kind, level, wrapped, task, threshold),
        lost + won,
        mcnemar(lost, won),
    )


def worst(rows: Sequence[CorruptionRow]) -> CorruptionRow | None:
    """Return the corruption with the lowest accuracy, None where none has one."""
    defined = [row for row in rows if row.accuracy is not None]
    return min(defined, key=lambda row: row.accuracy or 0.0, default=None)
