"""Comparison of runs that scored the same images: which is better, by how much, and is it chance.

Pairs of runs are compared on the images they share: ROC-AUC by DeLong's test, accuracy at each
run's stored threshold by McNemar's, both with groups counted in (`statistics`). Holm's rule
corrects for the number of pairs, for ROC-AUC and accuracy apart. Such a test speaks of two trained
networks; the spread over runs that differ only in their seed shows what another seed would give.
"""

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import MIN_UNITS, NUM_RESAMPLES, Intervals, bootstrap
from faceproof.evaluation.metrics import Metrics, measure_scores, metrics_shown
from faceproof.evaluation.predictions import called_right, label_numbers, logits_of
from faceproof.evaluation.run_names import SEED, find_families, name_runs
from faceproof.evaluation.scored_runs import ScoredRun
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import (
    LEVEL,
    SIGNIFICANCE,
    Codes,
    Difference,
    Interval,
    auc_difference,
    holm,
    share_difference,
)
from faceproof.task import Task


@dataclass(frozen=True)
class Cost:
    """What the network of a run costs; None where it was not measured."""

    parameters: int | None = None
    multiply_adds: int | None = None  # of one image, in convolutions and matrix products
    milliseconds: float | None = None  # per image, the median over batches
    milliseconds_range: tuple[float, float] | None = None  # its quartiles


@dataclass(frozen=True)
class ComparedRun:
    """A run in a comparison: its metrics with their intervals, its settings and its cost."""

    name: str  # short, and distinct among the runs
    family: str  # the name of the runs that differ from it in nothing but the seed
    folder: str
    model: str
    seed: int | None
    threshold: float
    threshold_origin: str  # in words
    criterion: str | None  # None for a threshold that was given
    best_epoch: int | None
    test_scorings: int | None  # how often it has scored this test split
    metrics: Metrics
    intervals: Intervals
    cost: Cost


@dataclass(frozen=True)
class Tested:
    """A difference between two runs, the first's value less the second's, tested."""

    difference: float
    interval: Interval  # 95 %
    p_value: float  # of the pair alone
    p_holm: float  # corrected for the number of pairs
    real: bool  # whether `p_holm` is below `SIGNIFICANCE`


@dataclass(frozen=True)
class Pair:
    """Two runs by name, and their differences; None where a difference could not be tested."""

    first: str
    second: str
    roc_auc: Tested | None
    accuracy: Tested | None

    @property
    def smallest_p(self) -> float:
        """The smallest corrected p-value of the pair."""
        tested = (one for one in (self.roc_auc, self.accuracy) if one is not None)
        return min((one.p_holm for one in tested), default=1.0)


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation, smallest and largest of a metric over seeds."""

    mean: float
    standard_deviation: float
    min: float
    max: float


@dataclass(frozen=True)
class SeedFamily:
    """Runs that differ in nothing but their seed, and the spread of each metric over them."""

    name: str
    runs: list[str]
    seeds: list[int | None]
    metrics: dict[str, Spread | None]


@dataclass(frozen=True)
class Comparison:
    """Runs that scored the same images, side by side; the best ROC-AUC stands first."""

    title: str
    task: Task
    evaluation: str
    data: str
    split: str
    num_images: int
    num_by_class: dict[str, int]
    num_units: int
    num_groups: int
    level: float
    num_resamples: int
    device: str | None
    runs: list[ComparedRun]
    pairs: list[Pair]
    seeds: list[SeedFamily]

    def to_json(self) -> dict[str, Any]:
        """Return what `comparison.json` holds, as plain values."""
        values = asdict(self)
        for run in values["runs"]:
            run |= run.pop("cost")
        return values


def compare_runs(
    scored: Sequence[ScoredRun],
    costs: Sequence[Cost],
    device: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> Comparison:
    """Compare runs that scored the same images, as `scored_runs.read_scored` returns them.

    `device` says in words what the times in `costs` were measured on.
    """
    names = name_runs(scored)
    families = find_families(scored, names)
    first = scored[0]
    task, units = first.report.task, unit_codes(first.predictions)
    found = []
    for one, name, family, cost in zip(scored, names, families, costs, strict=True):
        scores = LabelledScores.from_table(one.predictions, task, one.report.threshold, units)
        drawn = bootstrap(scores, num_resamples)
        measured = measure_scores(WeightedScores(scores), task)
        found.append((one, _compared_run(one, name, family, cost, measured, drawn.metrics)))
    found.sort(key=lambda pair: _rank(pair[1]))
    runs = [run for _, run in found]
    by_class = np.bincount(label_numbers(first.predictions, task), minlength=2).tolist()
    return Comparison(
        title=f"{len(scored)} runs on {first.report.data}",
        task=task, evaluation=first.evaluation, data=first.report.data, split=first.report.split,
        num_images=first.predictions.num_rows,
        num_by_class=dict(zip(task.classes, by_class, strict=True)),
        num_units=drawn.num_units,
        num_groups=pc.count_distinct(first.predictions["group"]).as_py(),
        level=LEVEL, num_resamples=drawn.num_resamples, device=device, runs=runs,
        pairs=_pairs([one for one, _ in found], [run.name for run in runs], units),
        seeds=_seeds(runs),
    )  # fmt: skip


def _rank(run: ComparedRun) -> tuple[float, float, str]:
    return -(run.metrics["roc_auc"] or 0.0), -(run.metrics["accuracy"] or 0.0), run.name


def _compared_run(
    one: ScoredRun, name: str, family: str, cost: Cost, measured: Metrics, intervals: Intervals
) -> ComparedRun:
    shown = [metric.name for metric in metrics_shown("comparison")]
    numbers = [key for key in measured if key.startswith("num_")]
    report = one.report
    return ComparedRun(
        name=name, family=family, folder=str(one.folder.path), model=report.model,
        seed=one.config.get(SEED), threshold=report.threshold,
        threshold_origin=report.threshold_origin, criterion=report.criterion,
        best_epoch=one.folder.read_record().get("best_epoch"), test_scorings=report.test_scorings,
        metrics={key: measured[key] for key in (*numbers, *shown)},
        intervals={key: intervals[key] for key in shown}, cost=cost,
    )  # fmt: skip


def _pairs(scored: Sequence[ScoredRun], names: Sequence[str], units: Codes) -> list[Pair]:
    task = scored[0].report.task
    positive = label_numbers(scored[0].predictions, task) == 1
    logits = [logits_of(one.predictions) for one in scored]
    right = [called_right(one.predictions, task, one.report.threshold) for one in scored]
    pairs = list(itertools.combinations(range(len(scored)), 2))
    if int(units.max()) + 1 < MIN_UNITS:
        return [Pair(names[a], names[b], None, None) for a, b in pairs]
    areas = _tested(pairs, lambda a, b: auc_difference(logits[a], logits[b], positive, units))
    shares = _tested(pairs, lambda a, b: share_difference(right[a], right[b], units))
    tested = zip(pairs, areas, shares, strict=True)
    return [Pair(names[a], names[b], area, share) for (a, b), area, share in tested]


def _tested(
    pairs: Sequence[tuple[int, int]], difference: Callable[[int, int], Difference | None]
) -> list[Tested | None]:
    """Test a difference for every pair; the p-values are one family."""
    found = [difference(*pair) for pair in pairs]
    corrected = iter(holm([one.p_value for one in found if one is not None]))
    return [
        None
        if one is None
        else Tested(one.value, one.interval, one.p_value, p := next(corrected), p < SIGNIFICANCE)
        for one in found
    ]


def _seeds(runs: Sequence[ComparedRun]) -> list[SeedFamily]:
    found = []
    for family in dict.fromkeys(run.family for run in runs):
        members = [run for run in runs if run.family == family]
        seeds = [run.seed for run in members]
        if len(set(seeds)) > 1:
            metrics = {
                metric.name: _spread([run.metrics[metric.name] for run in members])
                for metric in metrics_shown("comparison")
            }
            found.append(SeedFamily(family, [run.name for run in members], seeds, metrics))
    return found


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known), min(known), max(known))
