"""Comparison of runs that scored the same images: which is better, by how much, and is it chance.

Every metric has a 95 % interval by bootstrap over groups; all runs are measured on the same
resamples. A pair of runs is compared on the images they share, which is far more powerful than a
look at whether two intervals overlap: ROC-AUC by DeLong's test, accuracy at each run's stored
threshold by McNemar's, both with groups counted in (`statistics`). The p-values are corrected for
the number of pairs by Holm's rule, those of ROC-AUC and those of accuracy as two families.

Such a test speaks of two trained networks. What another seed would give is told by the spread over
runs that differ in nothing but their seed.
"""

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.compute as pc

from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import MIN_UNITS, NUM_RESAMPLES, Intervals, bootstrap
from faceproof.evaluation.metrics import Metrics, measure_scores, metrics_shown
from faceproof.evaluation.predictions import (
    Flags,
    is_positive,
    label_numbers,
    logits_of,
    probabilities_of,
)
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
    """What the network of a run costs; None where it was not measured.

    Attributes:
        parameters: how many.
        multiply_adds: of one image, in convolutions and matrix products.
        milliseconds: per image, the median over batches.
        milliseconds_range: the quartiles of it.
    """

    parameters: int | None = None
    multiply_adds: int | None = None
    milliseconds: float | None = None
    milliseconds_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class ComparedRun:
    """A run in a comparison: its metrics with their intervals, its settings and its cost.

    Attributes:
        name: short, and distinct among the runs.
        family: the name of the runs that differ from it in nothing but the seed.
        folder: the run folder.
        model: the model's name.
        seed: the seed it was trained with.
        threshold: what it was evaluated at.
        threshold_origin: where the threshold comes from, in words.
        criterion: what the threshold was chosen for; None for a given one.
        best_epoch: the epoch whose weights were kept.
        test_scorings: how often it has scored this test split.
        metrics: the metrics of a comparison, and the numbers of images.
        intervals: the interval of each metric; None where there is none.
        cost: what its network costs.
    """

    name: str
    family: str
    folder: str
    model: str
    seed: int | None
    threshold: float
    threshold_origin: str
    criterion: str | None
    best_epoch: int | None
    test_scorings: int | None
    metrics: Metrics
    intervals: Intervals
    cost: Cost


@dataclass(frozen=True)
class Tested:
    """A difference between two runs, tested.

    Attributes:
        difference: the first's value less the second's.
        interval: of the difference, 95 %.
        p_value: of the pair alone.
        p_holm: corrected for the number of pairs.
        real: whether `p_holm` is below `SIGNIFICANCE`.
    """

    difference: float
    interval: Interval
    p_value: float
    p_holm: float
    real: bool


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
    """Compare runs that scored the same images.

    Args:
        scored: what `scored_runs.read_scored` returned.
        costs: of each run's network.
        device: what the time was measured on, in words.
        num_resamples: how many bootstrap resamples are wanted for the intervals.
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
    labels = label_numbers(first.predictions, task)
    return Comparison(
        title=f"{len(scored)} runs on {first.report.data}",
        task=task,
        evaluation=first.evaluation,
        data=first.report.data,
        split=first.report.split,
        num_images=first.predictions.num_rows,
        num_by_class={
            name: int((labels == number).sum()) for number, name in enumerate(task.classes)
        },
        num_units=drawn.num_units,
        num_groups=pc.count_distinct(first.predictions["group"]).as_py(),
        level=LEVEL,
        num_resamples=drawn.num_resamples,
        device=device,
        runs=runs,
        pairs=_pairs([one for one, _ in found], [run.name for run in runs], units),
        seeds=_seeds(runs),
    )


def _rank(run: ComparedRun) -> tuple[float, float, str]:
    return -(run.metrics["roc_auc"] or 0.0), -(run.metrics["accuracy"] or 0.0), run.name


def _compared_run(
    one: ScoredRun, name: str, family: str, cost: Cost, measured: Metrics, intervals: Intervals
) -> ComparedRun:
    """Return what the comparison states of one run."""
    shown = [metric.name for metric in metrics_shown("comparison")]
    numbers = [key for key in measured if key.startswith("num_")]
    return ComparedRun(
        name=name,
        family=family,
        folder=str(one.folder.path),
        model=one.report.model,
        seed=one.config.get(SEED),
        threshold=one.report.threshold,
        threshold_origin=one.report.threshold_origin,
        criterion=one.report.criterion,
        best_epoch=one.folder.read_record().get("best_epoch"),
        test_scorings=one.report.test_scorings,
        metrics={key: measured[key] for key in (*numbers, *shown)},
        intervals={key: intervals[key] for key in shown},
        cost=cost,
    )


def _pairs(scored: Sequence[ScoredRun], names: Sequence[str], units: Codes) -> list[Pair]:
    """Compare every two runs, and correct the p-values for their number."""
    positive = label_numbers(scored[0].predictions, scored[0].report.task) == 1
    logits = [logits_of(one.predictions) for one in scored]
    right: list[Flags] = [
        is_positive(probabilities_of(one.predictions), one.report.threshold) == positive
        for one in scored
    ]
    pairs = list(itertools.combinations(range(len(scored)), 2))
    if int(units.max()) + 1 < MIN_UNITS:
        return [Pair(names[a], names[b], None, None) for a, b in pairs]
    areas = _tested(pairs, lambda a, b: auc_difference(logits[a], logits[b], positive, units))
    shares = _tested(pairs, lambda a, b: share_difference(right[a], right[b], units))
    return [
        Pair(names[a], names[b], *tested)
        for (a, b), *tested in zip(pairs, areas, shares, strict=True)
    ]


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
    """Return mean and spread over the runs that differ in nothing but their seed."""
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
    """Return the spread of some values; None if any of them is."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known), min(known), max(known))
