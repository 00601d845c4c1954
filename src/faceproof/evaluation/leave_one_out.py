"""What detectors reach on the source or generator that each of them never saw, as one table.

Each row is a training without one source (or generator), judged on what was left out and at home,
on the test images of what it was trained on. A row's intervals are those of its own report.

The mean over rows is that of this set of sources, each counting alike. Its interval is a bootstrap
over the images of all rows: in each resample every row gets its metric, and these are averaged.
Units (see `groups`) that several rows judge, such as the real images beside each generator, are
drawn once for all of them; units of different rows are drawn apart, so that each row keeps its
size. So the interval says how far other images of the same sources would move the mean. It says
nothing of other sources, of which these few are no sample, nor of other seeds of the trainings.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from faceproof.data.table import concat_tables
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import (
    MIN_UNITS,
    NUM_RESAMPLES,
    affordable_resamples,
    bootstrap,
    count_trials,
    percentile_interval,
    resample_weights,
)
from faceproof.evaluation.json_values import plain, printable
from faceproof.evaluation.metrics import METRICS, Metric
from faceproof.evaluation.predictions import labelled_rows
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import Codes, Interval, Scores
from faceproof.task import Task


@dataclass(frozen=True)
class Judged:
    """What a run answered for images: a predictions table, and the run's own threshold."""

    predictions: pa.Table
    task: Task
    threshold: float


@dataclass(frozen=True)
class Value:
    """A metric with its 95 % interval; None is undefined."""

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True)
class Measured:
    """The metrics of the images that a run judged, by name, and how many images these are."""

    num_by_class: Mapping[str, int]
    metrics: Mapping[str, Value]


@dataclass(frozen=True)
class Row:
    """A run without one source or generator; what could not be judged is None."""

    name: str  # of what was left out
    folder: str  # of the run
    held_out: Measured | None
    home: Measured | None
    reason: str = ""  # why it was not judged, if so


@dataclass(frozen=True)
class Worst:
    """The row in which a metric is worst."""

    name: str
    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Study:
    """The rows of one configuration, that is of the same settings, and what they come to.

    A row counts in a mean if its metric on what was left out is defined, in the mean at home too;
    `counted` says how many do.
    """

    settings: Mapping[str, str]  # by which the configurations differ
    rows: Sequence[Row]
    mean: Mapping[str, Value]
    home: Mapping[str, Value]
    worst: Mapping[str, Worst | None]
    counted: Mapping[str, int]


@dataclass(frozen=True)
class LeaveOneOut:
    """All configurations, each with a row for each source or generator."""

    over: str  # source or generator
    data: str
    task: Task
    studies: Sequence[Study]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values for a JSON file."""
        of = {"over": self.over, "data": self.data, "task": self.task.name}
        found: dict[str, Any] = printable({**of, "studies": plain(self.studies)})
        return found


class Answers(NamedTuple):
    """What a run answered for what was left out, and at home; None where it was not judged."""

    name: str
    folder: str
    held_out: Judged | None
    home: Judged | None
    reason: str = ""


def study(settings: Mapping[str, str], answers: Sequence[Answers]) -> Study:
    """Measure the runs of one configuration."""
    rows = [
        Row(one.name, one.folder, measure(one.held_out), measure(one.home), one.reason)
        for one in answers
    ]
    measured = [(row.name, row.held_out.metrics) for row in rows if row.held_out is not None]
    defined = [_defined(row.held_out) for row in rows]
    at_home = [(one.home, names) for one, names in zip(answers, defined, strict=True) if one.home]
    return Study(
        settings,
        rows,
        mean_values([one.held_out for one in answers if one.held_out is not None]),
        mean_values([one for one, _ in at_home], [names for _, names in at_home]),
        {name: _worst(metric, measured) for name, metric in METRICS.items()},
        {name: sum(name in names for names in defined) for name in METRICS},
    )


def measure(judged: Judged | None) -> Measured | None:
    """Return the metrics of what a run answered, with the intervals of a report."""
    if judged is None:
        return None
    scores = LabelledScores.from_table(judged.predictions, judged.task, judged.threshold)
    once, intervals = WeightedScores(scores), bootstrap(scores).metrics
    values = {name: Value(metric(once), intervals[name]) for name, metric in METRICS.items()}
    numbers = (once.counts["negative"], once.counts["positive"])
    return Measured(dict(zip(judged.task.classes, numbers, strict=True)), values)


def _worst(metric: Metric, measured: Sequence[tuple[str, Mapping[str, Value]]]) -> Worst | None:
    worst = [
        Worst(name, found.value, found.interval)
        for name, of in measured
        if (found := of[metric.name]).value is not None
    ]
    choose = min if metric.better == "max" else max
    return choose(worst, key=lambda one: one.value) if worst else None


def _defined(measured: Measured | None) -> set[str]:
    """Return the names of the metrics that are defined."""
    values = {} if measured is None else measured.metrics
    return {name for name, one in values.items() if one.value is not None}


def mean_values(
    judged: Sequence[Judged],
    counting: Sequence[Collection[str]] | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Value]:
    """Return the mean of each metric over what several runs answered, with its 95 % interval.

    A run counts in the means of the metrics that `counting` names for it, or of all, where these
    are defined. There is no interval where
    one of those that count has fewer units than `MIN_UNITS`; where all resamples are 0 or all 1, it
    is Wilson's for the fewest trials of any.
    """
    tables = [labelled_rows(one.predictions) for one in judged]
    if not tables:
        return {name: Value(None) for name in METRICS}
    codes = unit_codes(concat_tables(tables))
    ends = np.cumsum([table.num_rows for table in tables])[:-1]
    units = [np.unique(part, return_inverse=True) for part in np.split(codes, ends)]
    scores = [
        LabelledScores.from_table(table, one.task, one.threshold, local)
        for table, one, (_, local) in zip(tables, judged, units, strict=True)
    ]
    once = _values([WeightedScores(one) for one in scores])
    if counting is not None:
        once[[[name not in of for name in METRICS] for of in counting]] = np.nan
    num = affordable_resamples(len(codes), num_resamples)
    drawn = np.empty((num, *once.shape))
    members = [found for found, _ in units]
    for number, weights in enumerate(_joint_weights(members, int(codes.max()) + 1, num, seed)):
        pairs = zip(scores, members, strict=True)
        drawn[number] = _values([WeightedScores(one, weights[there]) for one, there in pairs])
    return {
        metric.name: _mean(metric, once[:, place], drawn[:, :, place], scores)
        for place, metric in enumerate(METRICS.values())
    }


def _values(scores: Sequence[WeightedScores]) -> Scores:
    """Return every metric of several scores, (K, M); undefined is NaN."""
    return np.array([[metric(one) for metric in METRICS.values()] for one in scores], np.float64)


def _joint_weights(members: Sequence[Codes], num_units: int, num: int, seed: int) -> Any:
    """Yield for each resample how often each unit is drawn, (U,).

    `members` are the units of each row. Units that occur in the same rows are drawn together, as
    many as there are, with replacement.
    """
    occurs = np.stack([np.isin(np.arange(num_units), one) for one in members])
    _, stratum = np.unique(occurs, axis=1, return_inverse=True)
    groups = [np.flatnonzero(stratum.ravel() == one) for one in np.unique(stratum)]
    streams = [resample_weights(len(one), num, seed + place) for place, one in enumerate(groups)]
    for drawn in zip(*streams, strict=True):
        weights = np.zeros(num_units, np.int64)
        for group, times in zip(groups, drawn, strict=True):
            weights[group] = times
        yield weights


def _mean(metric: Metric, once: Scores, drawn: Scores, scores: Sequence[LabelledScores]) -> Value:
    """Return the mean of a metric, (K,), over the rows that have it, and its interval."""
    known = ~np.isnan(once)
    if not known.any():
        return Value(None)
    value = float(once[known].mean())
    counted = [one for one, there in zip(scores, known, strict=True) if there]
    if min(one.num_units for one in counted) < MIN_UNITS:
        return Value(value)
    trials = [count_trials(one)[kind] for one in counted for kind in metric.share_of]
    averaged = drawn[:, known].mean(axis=1)  # NaN where any is undefined
    fewest = min(trials, default=None)
    return Value(value, percentile_interval(averaged, value, fewest, metric.inflated))
