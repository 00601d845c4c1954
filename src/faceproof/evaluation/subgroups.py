"""Subgroups: metrics by further columns of the image table, and the largest gap between them.

The rows are those of `breakdown`. A column of numbers with more than `MAX_VALUES` different ones is
divided into `NUM_BINS` bins of equally many images (equal numbers share a bin).

The largest of many gaps is large by chance alone: it was picked because it is. So the interval of a
gap is simultaneous: that of any pair of subgroups of any column holds with all the others at a
level of 95 % (Bonferroni), whichever was picked. Each interval is made of those of the two
subgroups (`statistics.difference_interval`), with the correlation that they have because images of
one unit (a video, a person) may be in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import special

from faceproof.evaluation.breakdown import BreakdownRow, breakdown, known_scores, rows_by_value
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.predictions import Flags, Scores, subgroup_columns
from faceproof.evaluation.scores import LabelledScores
from faceproof.evaluation.statistics import (
    LEVEL,
    Interval,
    auc_interval,
    difference_interval,
    placements,
    share_interval,
)
from faceproof.task import Task

METRICS_OF_GAPS = ("roc_auc", "accuracy", "recall", "specificity")
NUM_BINS = 4
MAX_VALUES = 10  # different numbers that are subgroups each, such as six skin tones


@dataclass(frozen=True)
class Gap:
    """How far a metric of the worst subgroup lies below that of the best.

    Only subgroups with `MIN_UNITS` independent units that the metric speaks of are compared.
    """

    worst: str
    best: str
    worst_value: float
    best_value: float
    difference: float  # the best's less the worst's
    interval: Interval  # 95 %, of all pairs of all columns at once
    real: bool  # whether the interval excludes 0


@dataclass(frozen=True)
class Subgroups:
    """The metrics of the subgroups of one column, least accurate first.

    `gaps` are by metric; None where fewer than two subgroups can be compared. `num_pairs` counts
    the pairs of subgroups, of all columns, that the intervals of a metric's gaps hold for at once.
    """

    column: str
    binned: bool  # the values are bins of numbers
    rows: list[BreakdownRow]
    gaps: dict[str, Gap | None]
    num_pairs: dict[str, int]


def find_subgroups(predictions: pa.Table, task: Task, threshold: float) -> list[Subgroups]:
    """Return the subgroups of each further column of a predictions table."""
    tables, columns = {}, subgroup_columns(predictions)
    for column in columns:
        values, binned = bin_numbers(predictions[column])
        place = predictions.schema.get_field_index(column)
        tables[column] = predictions.set_column(place, column, values), binned
    parts = {
        column: _scores_by_value(table, task, threshold, column)
        for column, (table, _) in tables.items()
    }
    compared = {
        (column, metric): [value for value, here in of.items() if _is_compared(here, metric)]
        for column, of in parts.items()
        for metric in METRICS_OF_GAPS
    }
    num_pairs = {
        metric: sum(_pairs_of(compared[column, metric]) for column in columns)
        for metric in METRICS_OF_GAPS
    }
    found = []
    for column, (table, binned) in tables.items():
        rows = breakdown(table, task, threshold, column)
        gaps = {
            metric: _largest_gap(
                rows, parts[column], metric, compared[column, metric], num_pairs[metric]
            )
            for metric in METRICS_OF_GAPS
        }
        found.append(Subgroups(column, binned, rows, gaps, num_pairs))
    return found


def bin_numbers(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, bool]:
    """Return a column of words; numbers, if they are many, as words for bins, and whether so.

    A bin is named by the smallest and the largest number in it.
    """
    words = column.cast(pa.string())
    try:
        numbers = words.cast(pa.float64())
    except pa.ArrowInvalid:  # words
        return words, False
    known = numbers.drop_null().to_numpy()
    if not np.isfinite(known).all() or len(np.unique(known)) <= MAX_VALUES:
        return words, False
    cuts = np.quantile(known, np.arange(1, NUM_BINS) / NUM_BINS, method="inverted_cdf")
    codes = np.searchsorted(cuts, known, "left")
    ends = [(known[codes == code].min(), known[codes == code].max()) for code in np.unique(codes)]
    names = [f"{low:.6g} to {high:.6g}" for low, high in ends]
    if len(set(names)) < len(names):
        names = [f"{low:.17g} to {high:.17g}" for low, high in ends]
    places = np.searchsorted(np.unique(codes), codes)
    named = np.full(len(numbers), None, object)
    named[numbers.is_valid().to_numpy()] = np.array(names, object)[places]
    return pa.chunked_array([pa.array(named.tolist(), pa.string())]), True


def _scores_by_value(
    table: pa.Table, task: Task, threshold: float, column: str
) -> dict[str, LabelledScores]:
    """Return the scores of the images of each value; those without one are no subgroup."""
    known, scores = known_scores(table, task, threshold, column)
    parts = rows_by_value(known[column])
    return {value: scores.take(rows) for value, rows in parts if value is not None}


def _is_compared(here: LabelledScores, metric: str) -> bool:
    """Say whether a subgroup has enough independent units that a metric speaks of."""
    return all(len(np.unique(here.units[rows])) >= MIN_UNITS for rows in _spoken_of(here, metric))


def _spoken_of(here: LabelledScores, metric: str) -> list[Flags]:
    """Return the images that a metric speaks of, (N,); of ROC-AUC those of either class."""
    if metric == "accuracy":
        return [np.ones(len(here), bool)]
    kinds = {"recall": [here.positive], "specificity": [~here.positive]}
    return kinds.get(metric, [here.positive, ~here.positive])


def _pairs_of(values: Sequence[str]) -> int:
    return len(values) * (len(values) - 1) // 2


def _largest_gap(
    rows: Sequence[BreakdownRow],
    parts: dict[str, LabelledScores],
    metric: str,
    compared: Sequence[str],
    num_pairs: int,
) -> Gap | None:
    if len(compared) < 2:
        return None
    of_rows = {row.value: getattr(row, metric) for row in rows}
    values = {value: float(of_rows[value]) for value in compared}
    ranked = sorted(values, key=lambda value: (values[value], value))
    worst, best = ranked[0], ranked[-1]
    z = float(special.ndtri(1 - (1 - LEVEL) / 2 / num_pairs))
    units = 1 + max(int(parts[value].units.max()) for value in (worst, best))
    of_best, one = _measured(parts[best], metric, z, units)
    of_worst, other = _measured(parts[worst], metric, z, units)
    spread = float(np.sqrt((one @ one) * (other @ other)))
    correlation = float(one @ other) / spread if spread else 0.0
    interval = difference_interval(values[best], values[worst], of_best, of_worst, correlation)
    return Gap(
        worst, best, values[worst], values[best], values[best] - values[worst],
        interval, real=interval[0] > 0,
    )  # fmt: skip


def _measured(
    here: LabelledScores, metric: str, z: float, num_units: int
) -> tuple[Interval, Scores]:
    """Return the interval of a metric, and what each unit moves it by, (U,)."""
    spoken = _spoken_of(here, metric)
    units = [here.units[rows] for rows in spoken]
    if metric == "roc_auc":
        positives, negatives = (here.logits[rows] for rows in spoken)
        interval = auc_interval(positives, negatives, units[0], units[1], z)
        parts = [placements(positives, negatives), 1 - placements(negatives, positives)]
    else:
        parts = [here.right[spoken[0]].astype(np.float64)]
        interval = share_interval(here.right[spoken[0]], units[0], z)
    assert interval is not None
    moves = [np.bincount(u, (one - one.mean()) / len(one), num_units)
             for u, one in zip(units, parts, strict=True)]  # fmt: skip
    return interval, np.sum(moves, axis=0)
