"""Metrics of parts of the images: by class, generator, source, group, and by subgroups.

The intervals are in closed form (`statistics`) and count whole groups: there may be thousands.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.errors import FaceproofError
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.predictions import labelled_rows, subgroup_columns
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import Codes, Interval, auc_interval, share_interval
from faceproof.task import Task

COLUMNS = ("source", "generator", "group")


@dataclass(frozen=True)
class ClassRow:
    """Precision, recall and F1 of a class, or their averages; `support` counts its images."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class BreakdownRow:
    """The metrics of the images that share one value of a column, None for images without one.

    A metric is None where it is undefined, ROC-AUC where there is nothing to compare with (see
    `breakdown`). The intervals are those of 95 %.
    """

    value: str | None
    num_images: int
    num_units: int
    few: bool  # too few independent units to mean anything; such rows stand last
    num_positive: int
    accuracy: float | None
    accuracy_interval: Interval | None
    mean_probability: float
    recall: float | None
    specificity: float | None
    roc_auc: float | None
    roc_auc_interval: Interval | None


@dataclass(frozen=True)
class CellRow:
    """The metrics of the images of one source that one generator made; see `worst_first`."""

    source: str | None
    generator: str | None  # None for negative images, and where it is not known
    num_images: int
    num_units: int
    few: bool  # as in `BreakdownRow`
    num_positive: int
    num_compared: int  # negative images of the same source, with which ROC-AUC compares
    accuracy: float | None
    accuracy_interval: Interval | None
    roc_auc: float | None
    roc_auc_interval: Interval | None


def class_report(scores: LabelledScores, task: Task) -> dict[str, ClassRow]:
    """Return the row of each class, then their averages.

    Classes count alike in the `macro average`, and by their images in the `weighted average`.
    """
    names = ("precision", "recall", "f1")
    rows: dict[str, ClassRow] = {}
    for number, label in enumerate(task.classes):
        of_class = WeightedScores(scores.for_class(number))
        values = {name: METRICS[name](of_class) for name in names}
        rows[label] = ClassRow(**values, support=of_class.counts["positive"])
    support = [row.support for row in rows.values()]
    for average, weights in (("macro average", [1, 1]), ("weighted average", support)):
        averages = {
            name: _average([getattr(rows[label], name) for label in task.classes], weights)
            for name in names
        }
        rows[average] = ClassRow(**averages, support=sum(support))
    return rows


def _average(values: list[float | None], weights: list[int]) -> float | None:
    """Return the weighted mean, undefined where a value that counts is."""
    counted = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight]
    defined = [value * weight for value, weight in counted if value is not None]
    return sum(defined) / sum(weights) if counted and len(defined) == len(counted) else None


def breakdown(
    predictions: pa.Table, task: Task, threshold: float, column: str
) -> list[BreakdownRow]:
    """Return metrics of the labelled images of each value of a column, least accurate first.

    What has fewer than `MIN_UNITS` independent units is flagged and stands last.

    A generator makes images of one class, so its ROC-AUC compares its positives with the negatives
    of the sources they come from; those of other sources would measure the difference between data
    sets. It is undefined where these sources have no negative. For any other column the classes of
    the same value are compared.
    """
    if column not in (choices := (*COLUMNS, *subgroup_columns(predictions))):
        raise FaceproofError(
            f"metrics can be broken down by {', '.join(choices)}; found {column!r}"
        )
    known, scores = known_scores(predictions, task, threshold, column)
    sources = _encode(known["source"])[1] if column == "generator" else None
    found: list[BreakdownRow] = []
    for value, rows in rows_by_value(known[column]):
        here = scores.take(rows)
        compared = rows
        if sources is not None:
            positives = rows[here.positive]
            negatives = np.isin(sources, sources[positives]) & ~scores.positive
            compared = np.union1d(positives, np.flatnonzero(negatives))
        area, area_interval = _area(scores.take(compared))
        weighted = WeightedScores(here)
        row = BreakdownRow(
            value=value, num_images=len(rows), num_units=(units := _num_units(here)),
            few=units < MIN_UNITS, num_positive=weighted.counts["positive"],
            accuracy=METRICS["accuracy"](weighted),
            accuracy_interval=share_interval(here.right, here.units),
            mean_probability=weighted.mean(lambda images: images.probabilities),
            recall=METRICS["recall"](weighted), specificity=METRICS["specificity"](weighted),
            roc_auc=area, roc_auc_interval=area_interval,
        )  # fmt: skip
        found.append(row)
    return sorted(
        found,
        key=lambda row: (row.few, row.accuracy or 0.0, row.value is None, row.value or ""),
    )


def worst_first(predictions: pa.Table, task: Task, threshold: float) -> list[CellRow]:
    """Return metrics of each generator within each source, least accurate first, few units last.

    The ROC-AUC compares the positives with the negatives of the same source: those of another would
    measure the difference between data sets, which is easily told. A source that has no negatives
    has no ROC-AUC.
    """
    known, scores = known_scores(predictions, task, threshold)
    generators, codes = _encode(known["generator"])
    found: list[CellRow] = []
    for source, of_source in rows_by_value(known["source"]):
        negatives = of_source[~scores.positive[of_source]]
        for code in np.unique(codes[of_source]):
            rows = of_source[codes[of_source] == code]
            here = scores.take(rows)
            positives = rows[here.positive]
            area, area_interval = _area(scores.take(np.union1d(positives, negatives)))
            row = CellRow(
                source=source, generator=generators[code],
                num_images=len(rows), num_units=(units := _num_units(here)),
                few=units < MIN_UNITS, num_positive=len(positives),
                num_compared=len(negatives) if len(positives) else 0,
                accuracy=METRICS["accuracy"](WeightedScores(here)),
                accuracy_interval=share_interval(here.right, here.units),
                roc_auc=area, roc_auc_interval=area_interval,
            )  # fmt: skip
            found.append(row)
    return sorted(
        found,
        key=lambda row: (row.few, row.accuracy or 0.0, row.source or "", row.generator or ""),
    )


def _num_units(scores: LabelledScores) -> int:
    return len(np.unique(scores.units))


def known_scores(
    predictions: pa.Table, task: Task, threshold: float, column: str = "source"
) -> tuple[pa.Table, LabelledScores]:
    """Return source, generator, group and a column of the labelled images, and their scores.

    Both have the order of the scores.
    """
    known = labelled_rows(predictions)
    scores = LabelledScores.from_table(known, task, threshold)
    return known.select(list(dict.fromkeys([*COLUMNS, column]))).take(scores.order), scores


def _area(compared: LabelledScores) -> tuple[float | None, Interval | None]:
    area = METRICS["roc_auc"](WeightedScores(compared))
    if area is None:
        return None, None
    logits, units, one = compared.logits, compared.units, compared.positive
    return area, auc_interval(logits[one], logits[~one], units[one], units[~one])


def rows_by_value(column: pa.ChunkedArray) -> Iterator[tuple[str | None, Codes]]:
    """Yield each value of a column with the numbers of its rows, ascending."""
    values, codes = _encode(column)
    order = np.argsort(codes, kind="stable")
    start = 0
    numbers = np.bincount(codes, minlength=len(values)).tolist()
    for value, num_rows in zip(values, numbers, strict=True):
        yield value, order[start : start + num_rows]
        start += num_rows


def _encode(column: pa.ChunkedArray) -> tuple[list[str | None], Codes]:
    """Return the values of a column, null among them, and for each row the number of its value."""
    names = column.cast(pa.string()).combine_chunks()
    encoded = pc.dictionary_encode(names, null_encoding="encode")
    return encoded.dictionary.to_pylist(), np.asarray(encoded.indices.to_numpy(), np.int64)
