"""How corrupting the images changes a detector's answers: the same images, with and without.

What is tested are the answers themselves, class by class: how many change, in which direction, and
how far the scores move. Accuracy alone would hide much, for answers that become right and answers
that become wrong cancel in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.predictions import Flags, is_positive, logits_of, probabilities_of
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import (
    SIGNIFICANCE,
    Codes,
    Difference,
    Interval,
    holm,
    mean_change,
    share_difference,
    share_interval,
)
from faceproof.task import Task

# depend: one class is called positive more, or less, often, or its scores move, by more than chance
# explains and by more than `NEGLIGIBLE` or `SMALL_SHIFT`. unsteady: more than `TOLERATED` of the
# answers change, both ways. hold: in no class more than that may change. unclear: too few images.
Answers = Literal["depend", "unsteady", "hold", "unclear"]
NEGLIGIBLE = 0.01  # of the answers of a class
TOLERATED = 0.05
SMALL_SHIFT = 0.2  # standard deviations of the scores; what Cohen (1988) calls a small effect


@dataclass(frozen=True)
class CorruptionRow:
    """The metrics under one corruption, at the stored threshold; None where one is undefined."""

    kind: str
    level: float
    accuracy: float | None
    recall: float | None
    specificity: float | None
    roc_auc: float | None
    accuracy_interval: Interval | None = None
    changed: float | None = None  # share of answers that differ from those on the plain images

    def __str__(self) -> str:
        return "as they are" if self.kind == "none" else f"{self.kind} {self.level:g}"


@dataclass(frozen=True)
class AnswerChange:
    """How the answers on the images of one class change; p-values are corrected for their number.

    Attributes:
        label: the class; None for images without a label.
        changed: the share of answers that change either way, with its interval.
        called: what the share called positive gains.
        shift: what the logit gains on average, in standard deviations of the plain logits; None
            with fewer than two independent units.
    """

    label: str | None
    num_images: int
    num_units: int
    to_positive: int
    to_negative: int
    changed: float
    changed_interval: Interval
    share_before: float  # called positive
    share_after: float
    called: Difference
    shift: Difference | None

    @property
    def moves(self) -> bool:
        """Whether the answers go one way, by more than chance explains and than is negligible."""
        called, shift = self.called, self.shift
        return (called.p_value < SIGNIFICANCE and abs(called.value) >= NEGLIGIBLE) or (
            shift is not None and shift.p_value < SIGNIFICANCE and abs(shift.value) >= SMALL_SHIFT
        )

    @property
    def wavers(self) -> bool:
        """Whether the images are enough to say that many answers change."""
        return self.num_units >= MIN_UNITS and self.changed_interval[0] > TOLERATED

    @property
    def holds(self) -> bool:
        """Whether the images are enough to say that few answers change and scores move little."""
        if self.shift is None or self.changed_interval[1] > TOLERATED:
            return False
        return max(map(abs, self.shift.interval)) <= SMALL_SHIFT


@dataclass(frozen=True)
class Neutral:
    """Both classes re-encoded alike, compared with the images as they are."""

    plain: CorruptionRow
    wrapped: CorruptionRow
    by_class: tuple[AnswerChange, ...]  # negative, positive, without a label; those that are there

    @property
    def changed(self) -> int:
        """The number of answers that change."""
        return sum(one.to_positive + one.to_negative for one in self.by_class)

    @property
    def p_value(self) -> float:
        """The smallest p-value, corrected for the number of tests."""
        tests = (test for one in self.by_class for test in (one.called, one.shift) if test)
        return min((test.p_value for test in tests), default=1.0)

    @property
    def parts(self) -> bool:
        """Whether encoding is part of the answers: those of a class go one way with it."""
        return any(one.moves for one in self.by_class)

    @property
    def answers(self) -> Answers:
        """What becomes of the answers; see `Answers`."""
        if self.parts:
            return "depend"
        if any(one.wavers for one in self.by_class):
            return "unsteady"
        return "hold" if all(one.holds for one in self.by_class) else "unclear"


def corruption_row(
    kind: str,
    level: float,
    predictions: pa.Table,
    task: Task,
    threshold: float,
    plain: pa.Table | None = None,
) -> CorruptionRow:
    """Return the metrics of images under one corruption.

    `plain` are the predictions of the same rows without it, from which changed answers are counted.
    """
    scores = LabelledScores.from_table(predictions, task, threshold)
    once = WeightedScores(scores)
    names = ("accuracy", "recall", "specificity", "roc_auc")
    changed = None
    if plain is not None and plain.num_rows:
        before, after = (_called(table, threshold) for table in (plain, predictions))
        changed = float((before != after).mean())
    return CorruptionRow(
        kind, level, **{name: METRICS[name](once) for name in names},
        accuracy_interval=share_interval(scores.right, scores.units), changed=changed,
    )  # fmt: skip


def _called(predictions: pa.Table, threshold: float) -> Flags:
    return is_positive(probabilities_of(predictions), threshold)


def compare_neutral(
    plain: pa.Table, wrapped: pa.Table, kind: str, level: float, task: Task, threshold: float
) -> Neutral:
    """Compare the predictions of the same rows, as they are and with both classes wrapped alike."""
    found = list(_changes(plain, wrapped, task, threshold))
    tests = [test for one in found for test in (one.called, one.shift) if test is not None]
    corrected = iter(holm([test.p_value for test in tests]))

    def correct(test: Difference) -> Difference:
        return replace(test, p_value=next(corrected))

    return Neutral(
        corruption_row("none", 0, plain, task, threshold),
        corruption_row(kind, level, wrapped, task, threshold, plain),
        tuple(
            replace(one, called=correct(one.called), shift=one.shift and correct(one.shift))
            for one in found
        ),
    )


def _changes(
    plain: pa.Table, wrapped: pa.Table, task: Task, threshold: float
) -> Iterator[AnswerChange]:
    """Yield the changes of each class that has images, with p-values that are not corrected."""
    labels, units = plain["label"].cast(pa.string()), unit_codes(plain)
    before, after = (_called(table, threshold) for table in (plain, wrapped))
    logits = logits_of(plain)
    spread = float(logits.std()) if len(logits) else 0.0
    shifts = (logits_of(wrapped) - logits) / (spread or 1.0)
    for label in (*task.classes, None):
        same = pc.is_null(labels) if label is None else pc.fill_null(pc.equal(labels, label), False)
        rows = np.flatnonzero(same.to_numpy(zero_copy_only=False))
        if len(rows):
            yield _change(label, before[rows], after[rows], units[rows], shifts[rows])


def _change(
    label: str | None, before: Flags, after: Flags, units: Codes, shifts: np.ndarray
) -> AnswerChange:
    differ = before != after
    interval, called = share_interval(differ, units), share_difference(after, before, units)
    assert interval is not None  # there are rows
    assert called is not None
    return AnswerChange(
        label=label,
        num_images=len(before),
        num_units=len(np.unique(units)),
        to_positive=int((after & ~before).sum()),
        to_negative=int((before & ~after).sum()),
        changed=float(differ.mean()),
        changed_interval=interval,
        share_before=float(before.mean()),
        share_after=float(after.mean()),
        called=called,
        shift=mean_change(shifts, units),
    )


def worst(rows: Sequence[CorruptionRow]) -> CorruptionRow | None:
    """Return the corruption under which the classes are told apart worst, None without any.

    That is the lowest mean of recall and specificity, or the lowest accuracy where only one class
    is there. Accuracy alone can rise while a corruption has everything called the commoner class.
    """
    defined = [row for row in rows if row.accuracy is not None]
    return min(defined, key=_told_apart, default=None)


def _told_apart(row: CorruptionRow) -> float:
    if row.recall is None or row.specificity is None:
        return row.accuracy or 0.0
    return (row.recall + row.specificity) / 2


def most_changed(rows: Sequence[CorruptionRow]) -> CorruptionRow | None:
    """Return the corruption under which most answers change, None where none does."""
    found = [row for row in rows if row.changed]
    return max(found, key=lambda row: row.changed or 0.0, default=None)
