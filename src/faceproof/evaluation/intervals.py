"""95 % intervals of every metric by bootstrap over groups.

A resample draws as many units (groups, and images in none) as there are, with replacement; how
often each was drawn depends on the seed and the number of units alone, so that two detectors that
scored the same images are compared on the same resamples. The interval is that between the
percentiles 2.5 and 97.5 of a metric's values in the resamples, with three exceptions:

- There is none with fewer units than `MIN_UNITS`, or if more than `MAX_UNDEFINED` of the resamples
  leave the metric undefined.
- Where every resample gives 0 or every one 1, the percentiles of a share would claim certainty. The
  interval is then Wilson's, of as many trials as there are units that the share speaks of.
- The expected calibration error grows with noise, and a resample is noisier than the data. Its
  percentiles are mirrored at the metric (the "basic" bootstrap) and widened to hold it. Below what
  `reliability.calibration_error_by_chance` gives, the low end still lies above the truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from faceproof.evaluation import metrics
from faceproof.evaluation.predictions import Scores
from faceproof.evaluation.scores import LabelledScores, WeightedScores, Weights
from faceproof.evaluation.statistics import LEVEL, Interval, wilson
from faceproof.task import Task

NUM_RESAMPLES = 1000
MIN_RESAMPLES = 100
MAX_WORK = 3e8  # rows times resamples: about fifteen seconds on one core
MIN_UNITS = 10  # below, percentiles of resamples cover far less often than they say
MAX_UNDEFINED = 0.05

Intervals = dict[str, Interval | None]


@dataclass(frozen=True)
class BootstrapIntervals:
    """The intervals of all metrics, None where there is none, and what they were made from."""

    level: float  # the share of intervals that should hold the truth
    num_resamples: int
    num_units: int  # that each resample drew
    metrics: Intervals


def affordable_resamples(num_rows: int, wanted: int = NUM_RESAMPLES) -> int:
    """Return how many resamples are drawn: those wanted, fewer where rows are very many."""
    return min(wanted, max(MIN_RESAMPLES, int(MAX_WORK // max(num_rows, 1))))


def resample_weights(num_units: int, num_resamples: int, seed: int = 0) -> Iterator[Weights]:
    """Yield for each resample how often each unit is drawn, (U,), summing to U."""
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
    """Return the 95 % interval of every metric of the labelled predictions; see `bootstrap`.

    Examples:
        >>> import faceproof as fp
        >>> data = fp.list_data("demo_faces", num_per_class=20)
        >>> predictions = fp.score_data(fp.build_model("face_cnn", weights="none"), data, "train")
        >>> low, high = fp.bootstrap_intervals(predictions, data.task, 0.5)["accuracy"]
        >>> low <= fp.measure(predictions, data.task, 0.5)["accuracy"] <= high
        True
    """
    scores = LabelledScores.from_table(predictions, task, threshold)
    return bootstrap(scores, num_resamples, seed).metrics


def bootstrap(
    scores: LabelledScores, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> BootstrapIntervals:
    """Return the 95 % interval of every metric of these images, None where there is none.

    Of the resamples wanted, `affordable_resamples` are drawn; the same seed draws the same.
    """
    listed = list(metrics.METRICS.values())
    num_drawn = affordable_resamples(len(scores), num_resamples)
    found: Intervals = {metric.name: None for metric in listed}
    if scores.num_units >= MIN_UNITS:
        drawn = np.empty((num_drawn, len(listed)))
        for number, weights in enumerate(resample_weights(scores.num_units, num_drawn, seed)):
            resample = WeightedScores(scores, weights)
            drawn[number] = [metric(resample) for metric in listed]  # None becomes NaN
        once = WeightedScores(scores)
        trials = count_trials(scores)
        for metric, values in zip(listed, drawn.T, strict=True):
            found[metric.name] = percentile_interval(
                values,
                metric(once),
                num_trials=min((trials[kind] for kind in metric.share_of), default=None),
                mirrored=metric.inflated,
            )
    return BootstrapIntervals(LEVEL, num_drawn, scores.num_units, found)


def count_trials(scores: LabelledScores) -> dict[str, int]:
    """Return how many units hold an image of each kind of `metrics.Kind`."""
    cells = scores.unit_counts
    columns = {"negative": [0, 1], "positive": [2, 3], "called": [1, 3]}
    found = {kind: int(cells[:, two].any(axis=1).sum()) for kind, two in columns.items()}
    return {"image": scores.num_units} | found


def percentile_interval(
    values: Scores, value: float | None, num_trials: int | None = None, mirrored: bool = False
) -> Interval | None:
    """Return the interval of a metric from its value and its values in the resamples, (R,).

    `num_trials` says of a share how many units it speaks of. An undefined metric is NaN.
    """
    defined = values[~np.isnan(values)]
    if value is None or len(defined) < (1 - MAX_UNDEFINED) * len(values):
        return None
    low, high = np.quantile(defined, [0.025, 0.975]).tolist()
    if num_trials and low == high and value in (0.0, 1.0):
        return wilson(value, num_trials)
    if mirrored:
        low, high = max(0.0, min(value, 2 * value - high)), max(value, 2 * value - low)
    return low, high
