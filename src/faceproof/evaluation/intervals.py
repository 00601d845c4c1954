"""95 % intervals of every figure by bootstrap over groups, and figures of weighted images.

A resample draws as many units (groups, and images in none) as there are, with replacement; each
unit is then a whole number, how often it was drawn. Figures are computed from these weights: rows
are ranked once, and a resample costs a few passes over them. `resample_weights` depends on the
seed and the number of units alone, and units on names alone (`groups.unit_codes`), so two
detectors that scored the same images are compared on the same resamples.

The interval is that between the percentiles 2.5 and 97.5 of the resamples, with four exceptions.

- There is none if the units are fewer than `MIN_UNITS`, or if more than `MAX_UNDEFINED` of the
  resamples leave the figure undefined: too little is known to give one.
- Where every resample gives 0 or every one 1, the percentiles would claim certainty. The interval
  is then that of a share (`confidence.wilson`) of as many trials as there are units it speaks of.
- The expected calibration error grows with noise, and a resample is noisier than the data, so its
  percentiles lie too high. They are mirrored at the figure (the "basic" bootstrap), which moves
  them as far down, and widened to hold the figure. This serves where the error is well above what
  `reliability.calibration_error_by_chance` gives; below, the low end stays above the truth.
- Counts of images have none.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.metrics import Figures, confusion_metrics
from faceproof.evaluation.predictions import (
    Flags,
    Scores,
    is_positive,
    label_numbers,
    labelled_rows,
    logits_of,
    probabilities_of,
)
from faceproof.evaluation.reliability import bin_starts
from faceproof.evaluation.statistics import Codes, Interval, wilson
from faceproof.task import Task

NUM_RESAMPLES = 1000
MIN_RESAMPLES = 100
MAX_WORK = 3e8  # rows times resamples: about fifteen seconds on one core
MIN_UNITS = 10  # below, percentiles of resamples cover far less often than they say
MAX_UNDEFINED = 0.05

Weights = npt.NDArray[np.int64]
Ends = npt.NDArray[np.int64]
Intervals = dict[str, Interval | None]


@dataclass(frozen=True)
class RankedRows:
    """Labelled predictions, made ready to be weighted many times.

    Attributes:
        task: names the classes.
        num_units: the units, U.
        sums: per unit, (U, 6): images by true and predicted class (as the four cells of
            `metrics.confusion`, row by row), sum of losses, sum of squared errors.
        units: the unit of each row, highest logit first, (N,).
        positive: whether it is of the positive class, (N,).
        ends: the last row of each run of equal logits, (M,); None if no two are equal.
        ranked: the probabilities in ascending order, (N,).
        excess: probability less class number, in the order of `ranked`, (N,).
        ranked_units: the unit of each row, in the order of `ranked`, (N,).
    """

    task: Task
    num_units: int
    sums: npt.NDArray[np.float64]
    units: npt.NDArray[np.int32]
    positive: Flags
    ends: Ends | None
    ranked: Scores
    excess: Scores
    ranked_units: npt.NDArray[np.int32]


def rank_rows(
    predictions: pa.Table, task: Task, threshold: float, units: Codes | None = None
) -> RankedRows:
    """Make predictions ready for `weighted_metrics`; rows without a label are left out.

    Args:
        predictions: a predictions table.
        task: names the classes.
        threshold: see `predictions.is_positive`.
        units: the unit of each labelled row, from 0; None takes them from groups and paths.
    """
    known = labelled_rows(predictions.select(["path", "label", "group", "logit", "probability"]))
    codes = (unit_codes(known) if units is None else units).astype(np.int32)
    labels = label_numbers(known, task)
    logits, probabilities = logits_of(known), probabilities_of(known)
    del known  # of a million rows it is the largest thing here
    # Every column breaks ties, so that no sum depends on the order in which the rows came.
    falling = np.lexsort((probabilities, labels, -logits))
    labels, logits, probabilities = labels[falling], logits[falling], probabilities[falling]
    codes = codes[falling]
    positive = labels == 1
    ends = _ends_of_runs(logits)
    sums = _unit_sums(positive, logits, probabilities, threshold, codes)
    del labels, logits, falling
    rising = np.lexsort((positive, probabilities))
    ranked = probabilities[rising]
    return RankedRows(
        task=task,
        num_units=len(sums),
        sums=sums,
        units=codes,
        positive=positive,
        ends=ends,
        ranked=ranked,
        excess=ranked - positive[rising],
        ranked_units=codes[rising],
    )


def _unit_sums(
    positive: Flags,
    logits: Scores,
    probabilities: Scores,
    threshold: float,
    codes: npt.NDArray[np.int32],
) -> npt.NDArray[np.float64]:
    """Return what `RankedRows.sums` holds, from rows in a canonical order."""
    num_units = int(codes.max(initial=-1)) + 1
    sums = np.zeros((num_units, 6))
    called = is_positive(probabilities, threshold)
    for number in range(4):
        cell = (positive == (number >= 2)) & (called == (number % 2 == 1))
        sums[:, number] = np.bincount(codes[cell], minlength=num_units)
    loss = np.logaddexp(0.0, np.where(positive, -logits, logits))
    sums[:, 4] = np.bincount(codes, loss, num_units)
    sums[:, 5] = np.bincount(codes, (probabilities - positive) ** 2, num_units)
    return sums


def _ends_of_runs(ranked: Scores) -> Ends | None:
    """Return the last row of each run of equal values, or None where every run has one row."""
    last = np.append(ranked[1:] != ranked[:-1], [True] * bool(len(ranked)))
    return None if last.all() else np.flatnonzero(last)


def weighted_metrics(rows: RankedRows, weights: Weights) -> Figures:
    """Compute the figures of `metrics.figures` as if each unit were there `weights` times, (U,)."""
    *counts, loss, squared_error = (weights.astype(np.float64) @ rows.sums).tolist()
    cells = np.array(counts).round().astype(np.int64).reshape(2, 2)
    of_negative, of_positive = (int(row.sum()) for row in cells)
    total = of_negative + of_positive
    brier = squared_error / total if total else None
    comparable = of_negative > 0 and of_positive > 0
    ranks = _rank_metrics(rows, weights) if comparable else dict.fromkeys(RANKED)
    return {
        "num_images": total,
        f"num_{rows.task.negative}": of_negative,
        f"num_{rows.task.positive}": of_positive,
        "loss": loss / total if total else None,
        **confusion_metrics(cells),
        **ranks,
        "brier": brier,
        "rmse": None if brier is None else math.sqrt(brier),
        "ece": _calibration_error(rows, weights) if comparable else None,
    }


RANKED = ("roc_auc", "average_precision", "eer", "tpr_at_1pct_fpr")


def _rank_metrics(rows: RankedRows, weights: Weights) -> Figures:
    """Return the figures of the ROC and precision-recall curves, as `metrics` defines them."""
    true_positives, false_positives = _curve(rows, weights)
    num_positive, num_negative = int(true_positives[-1]), int(false_positives[-1])
    pairs = _pairs_in_order(true_positives, false_positives)
    precisions = _sum_of_precisions(true_positives, false_positives)
    fpr = false_positives / num_negative
    del false_positives  # of a million rows every column counts
    tpr = true_positives / num_positive
    allowed = int(np.searchsorted(fpr, 0.01, "right"))
    return {
        "roc_auc": pairs / (2 * num_positive * num_negative),
        "average_precision": precisions / num_positive,
        "eer": _crossing(fpr, tpr),
        "tpr_at_1pct_fpr": float(tpr[allowed - 1]) if allowed else 0.0,
    }


def _pairs_in_order(true_positives: Weights, false_positives: Weights) -> int:
    """Return twice the number of pairs whose positive is ranked higher; a tie counts one."""
    found = np.diff(true_positives, prepend=0)
    below = 2 * false_positives[-1] - false_positives
    below[1:] -= false_positives[:-1]
    return int(found @ below)


def _sum_of_precisions(true_positives: Weights, false_positives: Weights) -> float:
    """Return the sum over all positives of the precision at which each is found."""
    called = true_positives + false_positives
    precision = true_positives / np.maximum(called, 1, out=called)
    return float(np.diff(true_positives, prepend=0) @ precision)


def _curve(rows: RankedRows, weights: Weights) -> tuple[Weights, Weights]:
    """Return true and false positives at every distinct logit, the highest first, (M,)."""
    of_row = weights[rows.units]
    called = np.cumsum(of_row)
    of_row *= rows.positive
    true_positives = np.cumsum(of_row)
    if rows.ends is not None:
        called, true_positives = called[rows.ends], true_positives[rows.ends]
    return true_positives, called - true_positives


def _crossing(fpr: Scores, tpr: Scores) -> float:
    """Return the false-positive rate where it and the false-negative rate meet."""
    excess = fpr + tpr - 1
    after = int(np.argmax(excess >= 0))
    start, below = (fpr[after - 1], excess[after - 1]) if after else (0.0, -1.0)
    share = below / (below - excess[after])
    return float(start + share * (fpr[after] - start))


def _calibration_error(rows: RankedRows, weights: Weights) -> float:
    of_row = weights[rows.ranked_units]
    cumulated = np.cumsum(of_row)
    starts = bin_starts(rows.ranked, cumulated)
    return float(np.abs(np.add.reduceat(of_row * rows.excess, starts)).sum() / cumulated[-1])


def affordable_resamples(num_rows: int, wanted: int = NUM_RESAMPLES) -> int:
    """Return how many resamples are drawn: those wanted, fewer where rows are very many."""
    return min(wanted, max(MIN_RESAMPLES, int(MAX_WORK // max(num_rows, 1))))


def resample_weights(num_units: int, num_resamples: int, seed: int = 0) -> Iterator[Weights]:
    """Yield for each resample how often each unit is drawn, (U,), summing to the units."""
    random = np.random.Generator(np.random.SFC64(seed))
    for _ in range(num_resamples):
        drawn = random.integers(0, num_units, num_units, dtype=np.int32)
        yield np.bincount(drawn, minlength=num_units)


def bootstrap_intervals(
    predictions: pa.Table,
    task: Task,
    threshold: float,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """Return the 95 % interval of every figure of `metrics.figures`; None where there is none.

    Args:
        predictions: a predictions table; rows without a label are left out.
        task: names the classes.
        threshold: see `predictions.is_positive`.
        num_resamples: how many are wanted; `affordable_resamples` says how many are drawn.
        seed: the same seed draws the same.
    """
    rows = rank_rows(predictions, task, threshold)
    figures = weighted_metrics(rows, np.ones(rows.num_units, np.int64))
    measured = [name for name in figures if not name.startswith("num_")]
    if rows.num_units < MIN_UNITS:
        return dict.fromkeys(measured)
    num_drawn = affordable_resamples(len(rows.units), num_resamples)
    found = np.empty((num_drawn, len(measured)))
    for number, weights in enumerate(resample_weights(rows.num_units, num_drawn, seed)):
        drawn = weighted_metrics(rows, weights)
        found[number] = [math.nan if (value := drawn[name]) is None else value for name in measured]
    trials = _num_trials(rows)
    return {
        name: percentile_interval(
            found[:, column],
            figures[name],
            num_trials=trials.get(name, trials["other"]) if name not in ERRORS else None,
            mirrored=name == "ece",
        )
        for column, name in enumerate(measured)
    }


ERRORS = ("loss", "brier", "rmse", "ece")  # no shares of images


def _num_trials(rows: RankedRows) -> dict[str, int]:
    """Return how many units a figure speaks of, the scarcer class's unless it is named."""
    negative = rows.sums[:, 0] + rows.sums[:, 1]
    positive = rows.sums[:, 2] + rows.sums[:, 3]
    called = rows.sums[:, 1] + rows.sums[:, 3]
    with_negative, with_positive, with_called = (
        int(np.count_nonzero(column)) for column in (negative, positive, called)
    )
    return {
        "accuracy": rows.num_units,
        "recall": with_positive,
        "specificity": with_negative,
        "precision": with_called,
        "other": min(with_negative, with_positive),
    }


def percentile_interval(
    values: Scores, figure: float | None, num_trials: int | None = None, mirrored: bool = False
) -> Interval | None:
    """Return the interval of a figure from its values in the resamples.

    Args:
        values: (R,), NaN where the figure is undefined.
        figure: its value in the data.
        num_trials: for a share, how many units it speaks of; see above for what that is used for.
        mirrored: whether to mirror the percentiles at the figure.
    """
    defined = values[~np.isnan(values)]
    if figure is None or len(defined) < (1 - MAX_UNDEFINED) * len(values):
        return None
    low, high = np.quantile(defined, [0.025, 0.975]).tolist()
    if num_trials and low == high and figure in (0.0, 1.0):
        return wilson(figure, num_trials)
    if mirrored:
        low, high = max(0.0, min(figure, 2 * figure - high)), max(figure, 2 * figure - low)
    return low, high
