"""Subgroups in words: the largest gaps as sentences, and several detectors side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faceproof.evaluation.breakdown import BreakdownRow
from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.subgroups import Gap, Subgroups
from faceproof.reports.numbers import DASH, rate, span

NUM_SHOWN = 40  # subgroups of a column
LEADING = ("roc_auc", "accuracy")  # the first of these that was compared is named


def leading_gap(found: Subgroups) -> tuple[str, Gap] | None:
    """Return the metric and the gap that a sentence names, if any was compared."""
    named = ((name, found.gaps[name]) for name in LEADING)
    return next(((name, gap) for name, gap in named if gap is not None), None)


def gap_sentences(subgroups: Sequence[Subgroups]) -> list[str]:
    """Say of each column how far the worst subgroup lies below the best."""
    sentences = []
    for one in subgroups:
        if (leading := leading_gap(one)) is None:
            continue
        name, gap = leading
        low, high = gap.interval
        told = "more than chance explains" if gap.real else "which may be chance"
        sentences.append(
            f"By {one.column}, {METRICS[name].label} is lowest for {gap.worst} "
            f"({rate(gap.worst_value)}) and highest for {gap.best} ({rate(gap.best_value)}): a gap "
            f"of {rate(gap.difference)} ({low:+.3f} to {high:+.3f}, for all pairs at once), {told}."
        )
    return sentences


@dataclass(frozen=True)
class ComparedColumn:
    """The subgroups of a column, each with one metric of every detector.

    `rows` are subgroups, those of the best detector's order; a cell is None where the subgroup is
    too small for an interval, or the metric undefined.
    """

    column: str
    label: str  # of the metric
    binned: bool
    names: list[str]  # of the detectors
    rows: list[tuple[BreakdownRow, list[str | None]]]
    gaps: list[Gap | None]  # of each detector
    num_left: int  # subgroups that are not shown


def compared_columns(subgroups: Mapping[str, Sequence[Subgroups]]) -> list[ComparedColumn]:
    """Return the subgroups of several detectors side by side, by their names."""
    names, found = list(subgroups), []
    for parts in zip(*subgroups.values(), strict=True):
        leading = leading_gap(parts[0])
        metric = leading[0] if leading else LEADING[0]
        by_value = [{row.value: row for row in one.rows} for one in parts]
        shown = parts[0].rows[:NUM_SHOWN]
        rows = [(row, [_cell(of[row.value], metric) for of in by_value]) for row in shown]
        gaps, num_left = [one.gaps[metric] for one in parts], len(parts[0].rows) - len(shown)
        one, label = parts[0], METRICS[metric].label
        found.append(ComparedColumn(one.column, label, one.binned, names, rows, gaps, num_left))
    return found


def _cell(row: BreakdownRow, metric: str) -> str | None:
    value, interval = getattr(row, metric), getattr(row, f"{metric}_interval")
    if row.few or value is None:
        return None
    return rate(value) + (f" ({span(interval)})" if interval else "")


def gap_cell(gap: Gap | None) -> str:
    """Write a gap with its interval, and between which subgroups it is."""
    if gap is None:
        return DASH
    low, high = gap.interval
    return f"{rate(gap.difference)} ({low:+.3f} to {high:+.3f}): {gap.worst} below {gap.best}"
