"""Figures of a detector, computed from the predictions table and nothing else.

Arguments throughout: `labels` (N,) of 0 and 1, `logits` (N,) raw scores, `probabilities` (N,) of
the positive class, `threshold` as in `predictions.is_positive`.

A figure that cannot be told from the images is None, "undefined". That holds for a division by
nothing, and also for a figure that sets the classes against each other when only one is there:
precision, average precision and their like would then be 1 whatever the detector says.

What depends on order alone (ROC, precision-recall) is computed from logits, because probabilities
near 0 and 1 run together. No figure depends on the order of the rows, not even in its last bit:
sums are exact (`math.fsum`) or made of whole numbers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sklearn.metrics

from faceproof.errors import FaceproofError
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.predictions import (
    Flags,
    Labels,
    Scores,
    is_positive,
    label_numbers,
    labelled_rows,
    logits_of,
    probabilities_of,
)
from faceproof.evaluation.reliability import expected_calibration_error
from faceproof.evaluation.statistics import Codes, Interval, auc_interval, share_interval
from faceproof.task import Task

Figures = dict[str, float | None]
Counts = npt.NDArray[np.int64]


class BreakdownRow(TypedDict):
    """The figures of the images that share one value of a column."""

    value: str | None
    num_images: int
    num_positive: int
    accuracy: float | None
    accuracy_interval: Interval | None
    mean_probability: float | None
    recall: float | None
    specificity: float | None
    roc_auc: float | None
    roc_auc_interval: Interval | None


class CellRow(TypedDict):
    """The figures of the images of one source that one generator made, or none.

    Attributes:
        source: the data set they come from.
        generator: what made them; None for negative images, and where it is not known.
        num_images: how many they are.
        num_positive: how many of them are positive.
        num_compared: the negative images of the same source, against which ROC-AUC sets the
            positive ones.
        accuracy: the share of them called what they are.
        accuracy_interval: of it.
        roc_auc: None where there is nothing to compare with.
        roc_auc_interval: of it.
    """

    source: str | None
    generator: str | None
    num_images: int
    num_positive: int
    num_compared: int
    accuracy: float | None
    accuracy_interval: Interval | None
    roc_auc: float | None
    roc_auc_interval: Interval | None


class FalseAlarms(TypedDict):
    """How many negative images were called positive; the rate is None where there are none."""

    num_negative: int
    num_false_positives: int
    rate: float | None
    interval: Interval | None


def figures(predictions: pa.Table, task: Task, threshold: float) -> Figures:
    """Compute every figure of the labelled images; None stands for "undefined".

    The loss is that of the logits, so calibration does not move it; the Brier score and the
    expected calibration error are those of the probabilities, so calibration does.
    """
    known = labelled_rows(predictions)
    labels = label_numbers(known, task)
    logits, probabilities = logits_of(known), probabilities_of(known)
    cells = confusion(labels, probabilities, threshold)
    squared_error = brier(labels, probabilities)
    return {
        "num_images": len(labels),
        **{f"num_{name}": int(row.sum()) for name, row in zip(task.classes, cells, strict=True)},
        "loss": binary_cross_entropy(labels, logits),
        **confusion_metrics(cells),
        "roc_auc": roc_auc(labels, logits),
        "average_precision": average_precision(labels, logits),
        "eer": equal_error_rate(labels, logits),
        "tpr_at_1pct_fpr": tpr_at_fpr(labels, logits, 0.01),
        "brier": squared_error,
        "rmse": None if squared_error is None else math.sqrt(squared_error),
        "ece": expected_calibration_error(labels, probabilities),
    }


def confusion_metrics(cells: Counts) -> Figures:
    """Return the figures of the positive class that follow from the 2 x 2 counts."""
    (true_negative, false_positive), (false_negative, true_positive) = cells.tolist()
    recall, specificity = _recalls(cells)
    comparable = _both_classes(cells)
    called = true_positive + false_positive
    wrong = false_positive + false_negative
    return {
        "accuracy": _ratio(true_positive + true_negative, int(cells.sum())),
        "balanced_accuracy": _average([recall, specificity], [1, 1]),
        "precision": _ratio(true_positive, called) if comparable else None,
        "recall": recall,
        "specificity": specificity,
        "f1": _ratio(2 * true_positive, 2 * true_positive + wrong) if comparable else None,
        "jaccard": _ratio(true_positive, true_positive + wrong) if comparable else None,
    }


def confusion(labels: Labels, probabilities: Scores, threshold: float) -> Counts:
    """Count truth against prediction, (2, 2): row the true class, column the predicted one."""
    predicted = is_positive(probabilities, threshold)
    return np.bincount(2 * labels + predicted, minlength=4).reshape(2, 2)


def class_report(cells: Counts, task: Task) -> dict[str, Figures]:
    """Return precision, recall, F1 and support of each class, and their averages.

    Args:
        cells: the counts of `confusion`.
        task: names the classes.

    Returns:
        One entry a class, then `macro average` (classes count alike) and `weighted average`
        (classes count by their images).
    """
    rows = {
        name: _class_metrics(cells if number else cells[::-1, ::-1])
        for number, name in enumerate(task.classes)
    }
    support = [int(row.sum()) for row in cells]
    for name, weights in (("macro average", [1, 1]), ("weighted average", support)):
        averages = {
            figure: _average([rows[label][figure] for label in task.classes], weights)
            for figure in ("precision", "recall", "f1")
        }
        rows[name] = {**averages, "support": sum(support)}
    return rows


def _class_metrics(cells: Counts) -> Figures:
    """Return the report of the class that stands second in `cells`."""
    found = confusion_metrics(cells)
    return {name: found[name] for name in ("precision", "recall", "f1")} | {
        "support": int(cells[1].sum())
    }


def binary_cross_entropy(labels: Labels, logits: Scores) -> float | None:
    """Return the mean loss in nats, log(1 + exp(-z)) with z the logit of the true class."""
    return _mean(np.logaddexp(0.0, np.where(labels == 1, -logits, logits)))


def brier(labels: Labels, probabilities: Scores) -> float | None:
    """Return the mean squared difference between probability and class number."""
    return _mean((probabilities - labels) ** 2)


def roc_auc(labels: Labels, logits: Scores) -> float | None:
    """Return the share of (positive, negative) pairs in the right order; a tie counts one half.

    Counted rather than integrated: whole numbers are exact, and a breakdown by video can ask for
    it a hundred thousand times.
    """
    return _rank_auc(logits[labels == 1], logits[labels == 0])


def _rank_auc(positives: Scores, negatives: Scores) -> float | None:
    """Return the Mann-Whitney statistic as a share of all pairs."""
    ranked = np.sort(negatives)
    below = np.searchsorted(ranked, positives, "left").sum()
    not_above = np.searchsorted(ranked, positives, "right").sum()
    return _ratio(int(below) + int(not_above), 2 * len(positives) * len(negatives))


def average_precision(labels: Labels, logits: Scores) -> float | None:
    """Return the precision averaged over the recalls at which it is attained, uninterpolated."""
    if not has_both_classes(labels):
        return None
    return float(sklearn.metrics.average_precision_score(labels, logits))


def roc_curve(labels: Labels, logits: Scores) -> tuple[Scores, Scores]:
    """Return false- and true-positive rates at every distinct logit, from (0, 0) to (1, 1).

    Raises:
        FaceproofError: only one class is there.
    """
    _refuse_one_class(labels)
    # Every point is kept: leaving out those on a straight line would move `tpr_at_fpr`.
    rates = sklearn.metrics.roc_curve(labels, logits, drop_intermediate=False)
    return rates[0], rates[1]


def precision_recall_curve(labels: Labels, logits: Scores) -> tuple[Scores, Scores]:
    """Return precision and recall at every distinct logit, from recall 1 down to 0.

    Raises:
        FaceproofError: only one class is there.
    """
    _refuse_one_class(labels)
    curve = sklearn.metrics.precision_recall_curve(labels, logits)
    return curve[0], curve[1]


def equal_error_rate(labels: Labels, logits: Scores) -> float | None:
    """Return the rate at which false positives and false negatives are equally frequent.

    Between two attained points the ROC curve is taken as a straight line.
    """
    if not has_both_classes(labels):
        return None
    false_positives, true_positives = roc_curve(labels, logits)
    # From -1 to 1, never falling; it is 0 where the two error rates meet.
    excess = false_positives + true_positives - 1
    after = int(np.argmax(excess >= 0))
    share = excess[after - 1] / (excess[after - 1] - excess[after])
    start, end = false_positives[after - 1], false_positives[after]
    return float(start + share * (end - start))


def tpr_at_fpr(labels: Labels, logits: Scores, max_fpr: float) -> float | None:
    """Return the best true-positive rate of a threshold with at most that false-positive rate.

    Not interpolated: it is a rate that a threshold on these images attains.
    """
    if not has_both_classes(labels):
        return None
    false_positives, true_positives = roc_curve(labels, logits)
    return float(true_positives[false_positives <= max_fpr].max())


def realised_fpr(
    labels: Labels, probabilities: Scores, threshold: float, units: Codes
) -> FalseAlarms:
    """Return the false-positive rate that a threshold has on these images, with its interval."""
    negative = labels == 0
    alarms = is_positive(probabilities[negative], threshold)
    return {
        "num_negative": len(alarms),
        "num_false_positives": int(np.count_nonzero(alarms)),
        "rate": _share(alarms),
        "interval": share_interval(alarms, units[negative]),
    }


@dataclass(frozen=True)
class _Known:
    """The columns of the labelled rows, each (N,), of which a breakdown picks rows."""

    labels: Labels
    logits: Scores
    probabilities: Scores
    right: Flags
    units: Codes


def _known_columns(known: pa.Table, task: Task, threshold: float) -> _Known:
    labels, probabilities = label_numbers(known, task), probabilities_of(known)
    right = is_positive(probabilities, threshold) == (labels == 1)
    return _Known(labels, logits_of(known), probabilities, right, unit_codes(known))


def breakdown(
    predictions: pa.Table, task: Task, threshold: float, column: str
) -> list[BreakdownRow]:
    """Compute figures for the labelled images of each value of a column, least accurate first.

    A generator makes images of one class, so its ROC-AUC sets its positives against the
    negatives of the sources they come from; those of other sources would measure the difference
    between data sets. It is undefined where these sources have no negative. For any other column
    the classes of the same value are set against each other.

    The intervals count groups in, see `confidence`.

    Raises:
        FaceproofError: there is no such column.
    """
    if column not in (choices := ("source", "generator", "group")):
        raise FaceproofError(
            f"figures can be broken down by {', '.join(choices)}; found {column!r}"
        )
    known = labelled_rows(predictions)
    columns = _known_columns(known, task, threshold)
    sources = _encode(known["source"])[1] if column == "generator" else None
    found: list[BreakdownRow] = []
    for value, rows in _rows_by_value(known[column]):
        positive = columns.labels[rows] == 1
        negatives = rows[~positive]
        if sources is not None:
            same = np.isin(sources, sources[rows][positive])
            negatives = np.flatnonzero(same & (columns.labels == 0))
        right = columns.right[rows]
        area, area_interval = _area(columns, rows[positive], negatives)
        found.append(
            {
                "value": value,
                "num_images": len(rows),
                "num_positive": int(np.count_nonzero(positive)),
                "accuracy": _share(right),
                "accuracy_interval": share_interval(right, columns.units[rows]),
                "mean_probability": _mean(columns.probabilities[rows]),
                "recall": _share(right[positive]),
                "specificity": _share(right[~positive]),
                "roc_auc": area,
                "roc_auc_interval": area_interval,
            }
        )
    return sorted(
        found,
        key=lambda row: (row["accuracy"] or 0.0, row["value"] is None, row["value"] or ""),
    )


def worst_first(predictions: pa.Table, task: Task, threshold: float) -> list[CellRow]:
    """Compute figures for each generator within each source, least accurate first.

    The ROC-AUC sets the positives against the negatives of the same source: those of another would
    measure the difference between data sets, which is easily told. A source that has no negatives
    has no ROC-AUC.
    """
    known = labelled_rows(predictions)
    columns = _known_columns(known, task, threshold)
    generators, codes = _encode(known["generator"])
    found: list[CellRow] = []
    for source, of_source in _rows_by_value(known["source"]):
        negatives = of_source[columns.labels[of_source] == 0]
        for code in np.unique(codes[of_source]):
            rows = of_source[codes[of_source] == code]
            positives = rows[columns.labels[rows] == 1]
            area, area_interval = _area(columns, positives, negatives)
            right = columns.right[rows]
            found.append(
                {
                    "source": source,
                    "generator": generators[code],
                    "num_images": len(rows),
                    "num_positive": len(positives),
                    "num_compared": len(negatives) if len(positives) else 0,
                    "accuracy": _share(right),
                    "accuracy_interval": share_interval(right, columns.units[rows]),
                    "roc_auc": area,
                    "roc_auc_interval": area_interval,
                }
            )
    return sorted(found, key=_by_accuracy)


def _by_accuracy(row: CellRow) -> tuple[float, str, str]:
    return row["accuracy"] or 0.0, row["source"] or "", row["generator"] or ""


def _area(
    columns: _Known, positives: Codes, negatives: Codes
) -> tuple[float | None, Interval | None]:
    """Return ROC-AUC and its interval, positive against negative rows."""
    scores = columns.logits[positives], columns.logits[negatives]
    area = _rank_auc(*scores)
    if area is None:
        return None, None
    return area, auc_interval(*scores, columns.units[positives], columns.units[negatives])


def _rows_by_value(column: pa.ChunkedArray) -> Iterator[tuple[str | None, npt.NDArray[np.int64]]]:
    """Yield each value of a column with the numbers of its rows."""
    values, codes = _encode(column)
    order = np.argsort(codes, kind="stable")
    start = 0
    numbers = np.bincount(codes, minlength=len(values)).tolist()
    for value, num_rows in zip(values, numbers, strict=True):
        yield value, order[start : start + num_rows]
        start += num_rows


def _encode(column: pa.ChunkedArray) -> tuple[list[str | None], npt.NDArray[np.int64]]:
    """Return the values of a column, null among them, and for each row the number of its value."""
    names = column.cast(pa.string()).combine_chunks()
    encoded = pc.dictionary_encode(names, null_encoding="encode")
    return encoded.dictionary.to_pylist(), np.asarray(encoded.indices.to_numpy(), np.int64)


def has_both_classes(labels: Labels) -> bool:
    """Say whether there is an image of either class."""
    return bool((labels == 0).any() and (labels == 1).any())


def _refuse_one_class(labels: Labels) -> None:
    if not has_both_classes(labels):
        raise FaceproofError(
            f"a curve needs images of both classes; found {np.count_nonzero(labels == 0):,} "
            f"negative and {np.count_nonzero(labels == 1):,} positive ones"
        )


def _both_classes(cells: Counts) -> bool:
    return bool(cells.sum(axis=1).all())


def _recalls(cells: Counts) -> tuple[float | None, float | None]:
    """Return the recall of the positive and of the negative class."""
    of_negative, of_positive = (
        _ratio(int(row[number]), int(row.sum())) for number, row in enumerate(cells)
    )
    return of_positive, of_negative


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _share(flags: Flags) -> float | None:
    return _ratio(int(np.count_nonzero(flags)), len(flags))


def _mean(values: Scores) -> float | None:
    return math.fsum(values.tolist()) / len(values) if len(values) else None


def _average(values: list[float | None], weights: list[int]) -> float | None:
    """Return the weighted mean, undefined where a value that counts is."""
    counted = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight]
    defined = [value * weight for value, weight in counted if value is not None]
    return sum(defined) / sum(weights) if counted and len(defined) == len(counted) else None
