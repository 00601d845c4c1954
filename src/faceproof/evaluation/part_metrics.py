"""The worst or the mean source or generator: metrics by which a detector for strangers is chosen.

`worst_source_roc_auc` is the ROC-AUC of the source in which it is lowest, `mean_generator_accuracy`
the mean accuracy over generators; `metrics.PART` has all names. Sources and generators count alike,
however many images they have.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.errors import FaceproofError
from faceproof.evaluation.metrics import METRICS, PART, Metric, better
from faceproof.evaluation.predictions import Flags, Labels, Scores, label_numbers, sigmoid
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.task import Task

Rows = npt.NDArray[np.int64]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartMetric:
    """A metric of the worst part of the images, or averaged over the parts.

    A part is a source with its images; or a generator with its fakes and the negative images of the
    sources that these come from, as in a report. A part of which the metric is undefined, as
    ROC-AUC is of one class, does not count.

    Attributes:
        name: its name, such as `worst_source_roc_auc`.
        how: `worst` or `mean`.
        column: `source` or `generator`.
        metric: what is computed of each part.
        parts: the rows of each part, by its name.
    """

    name: str
    how: str
    column: str
    metric: Metric
    parts: Mapping[str, Rows]

    @classmethod
    def find(cls, name: str, rows: pa.Table, task: Task) -> Self:
        """Return the metric of this name for the images of a table."""
        found = PART.fullmatch(name)
        assert found is not None
        how, column, of = found.groups()
        return cls(name, how, column, METRICS[of], dict(_parts(rows, task, column)))

    def __call__(self, labels: Labels, logits: Scores, rows: Rows | None = None) -> float | None:
        """Return its value, None where no part has one.

        `labels` and `logits` are (N,); `rows` are their rows in the table, all in turn by default.
        Images are called positive above a logit of zero.
        """
        values = self.by_part(labels, logits, rows).values()
        known = [value for value in values if value is not None]
        if not known:
            return None
        if self.how == "mean":
            return float(np.mean(known))
        return min(known) if self.metric.better == "max" else max(known)

    def by_part(
        self, labels: Labels, logits: Scores, rows: Rows | None = None
    ) -> dict[str, float | None]:
        """Return the value of each part."""
        here = np.arange(len(labels)) if rows is None else rows
        found: dict[str, float | None] = {}
        for name, members in self.parts.items():
            chosen = np.isin(here, members)
            columns = labels[chosen], logits[chosen], sigmoid(logits[chosen]), logits[chosen] > 0
            found[name] = self.metric(WeightedScores(LabelledScores.from_arrays(*columns)))
        return found


def _parts(rows: pa.Table, task: Task, column: str) -> Iterator[tuple[str, Rows]]:
    """Yield each source, or each generator of positive images, and its rows."""
    positive = label_numbers(rows, task) == 1
    names, sources = (_words(rows, name) for name in (column, "source"))
    of_column: Flags = np.not_equal(names, "") & (positive | (column == "source"))
    for name in np.unique(names[of_column]):
        inside = of_column & (names == name)
        if column == "generator":
            inside |= ~positive & np.isin(sources, np.unique(sources[inside]))
        yield str(name), np.flatnonzero(inside)


def _words(rows: pa.Table, column: str) -> npt.NDArray[np.str_]:
    """Return a column as words, (N,); null is an empty one."""
    return np.array([word or "" for word in rows[column].cast(pa.string()).to_pylist()], np.str_)


def is_of_parts(monitor: str) -> bool:
    """Say whether a monitored metric is of sources or generators, as val/mean_source_accuracy is.

    Raises:
        FaceproofError: it is no metric of validation.
    """
    better(monitor)
    return bool(PART.fullmatch(monitor.removeprefix("val/")))


def check_parts(monitor: str, rows: pa.Table, task: Task) -> None:
    """Refuse to choose by parts of the validation images where fewer than two have a value.

    It is said of which parts the metric is undefined.

    Raises:
        FaceproofError: there are fewer than two.
    """
    found = PartMetric.find(monitor.removeprefix("val/"), rows, task)
    labels = label_numbers(rows, task)
    values = found.by_part(labels, labels.astype(np.float64))  # a perfect detector's
    undefined = [name for name, value in values.items() if value is None]
    column, metric = found.column, found.metric
    lack = f"{', '.join(undefined)}: no {metric.label} in validation, where one class is missing"
    if len(values) - len(undefined) < 2:
        raise FaceproofError(
            f"{monitor} chooses by two {column}s of validation or more; found "
            f"{', '.join(values) or 'none'}{f' ({lack})' if undefined else ''}. Choose by "
            f"val/{metric.name}, or train on more {column}s"
        )
    if undefined:
        log.warning("%s does not count %s", monitor, lack)
