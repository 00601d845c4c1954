"""Comparison of runs that scored the same images: which is better, by how much, and is it chance.

Configurations are compared: all settings but the seed. Where one was trained with several seeds,
the means over seeds are tested, and both the images and the seeds count as chance (`over_seeds`).
Where each is a single run, ROC-AUC is compared by DeLong's test and accuracy at each run's stored
threshold by McNemar's, both with groups counted in (`statistics`); such a test speaks of two
trained networks. Holm's rule corrects for the number of pairs, for ROC-AUC and accuracy apart.
"""

import functools
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import MIN_UNITS, NUM_RESAMPLES, Intervals, bootstrap
from faceproof.evaluation.margin import MARGIN
from faceproof.evaluation.metrics import Metrics, measure_scores, metrics_shown
from faceproof.evaluation.over_seeds import Mean, SeedNoise, mean_auc, mean_share, seed_noise
from faceproof.evaluation.predictions import (
    Flags,
    Scores,
    called_right,
    label_numbers,
    logits_of,
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
from faceproof.evaluation.subgroups import Subgroups, find_subgroups
from faceproof.io.run_folder import RANDOM_WEIGHTS
from faceproof.task import Task

TESTED = ("roc_auc", "accuracy")


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
    initial_weights: str | None  # in words
    metrics: Metrics
    intervals: Intervals
    cost: Cost

    @property
    def random_weights(self) -> bool:
        """Whether its training began with random weights."""
        return (self.initial_weights or "").startswith(RANDOM_WEIGHTS)


@dataclass(frozen=True)
class Tested:
    """A difference between two configurations, the first's value less the second's, tested."""

    difference: float
    interval: Interval  # 95 %
    p_value: float  # of the pair alone
    p_holm: float  # corrected for the number of pairs
    real: bool  # whether `p_holm` is below `SIGNIFICANCE`


@dataclass(frozen=True)
class Pair:
    """Two configurations by name, and their differences; None where one could not be tested."""

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
    """Mean, sample standard deviation (None of one run), smallest and largest over seeds."""

    mean: float
    standard_deviation: float | None
    min: float
    max: float


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in nothing but their seed, or one run.

    Attributes:
        runs: their names.
        metrics: the spread of each over the runs; None where a run leaves it undefined.
        intervals: 95 %, of the means of ROC-AUC and accuracy: over images, and over seeds where the
            comparison has several.
        random_weights: whether training began with random weights.
        cost: of one of the runs, for their networks are alike.
    """

    name: str
    runs: list[str]
    seeds: list[int | None]
    metrics: dict[str, Spread | None]
    intervals: Intervals
    random_weights: bool
    cost: Cost


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
    margin: float  # of ROC-AUC: what is behind by surely less is called as good
    runs: list[ComparedRun]
    configurations: list[Configuration]
    pairs: list[Pair]  # of configurations
    subgroups: dict[str, list[Subgroups]] = field(default_factory=dict)  # by the run's name

    @property
    def over_seeds(self) -> bool:
        """Whether a configuration was trained with several seeds."""
        return any(len(one.runs) > 1 for one in self.configurations)

    def to_json(self) -> dict[str, Any]:
        """Return what `comparison.json` holds, as plain values."""
        values = asdict(self)
        for one in (*values["runs"], *values["configurations"]):
            one |= one.pop("cost")
        if not self.subgroups:
            del values["subgroups"]
        return values


def compare_runs(
    scored: Sequence[ScoredRun],
    costs: Sequence[Cost],
    device: str | None = None,
    num_resamples: int = NUM_RESAMPLES,
    margin: float = MARGIN,
) -> Comparison:
    """Compare runs that scored the same images, as `scored_runs.same_images` returns them.

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
    members = _members(found, units)
    what = "detectors" if any(one.is_table for one in scored) else "runs"
    by_class = np.bincount(label_numbers(first.predictions, task), minlength=2).tolist()
    return Comparison(
        title=f"{len(scored)} {what} on {first.report.data}",
        task=task, evaluation=first.evaluation, data=first.report.data, split=first.report.split,
        num_images=first.predictions.num_rows,
        num_by_class=dict(zip(task.classes, by_class, strict=True)),
        num_units=drawn.num_units,
        num_groups=pc.count_distinct(first.predictions["group"]).as_py(),
        level=LEVEL, num_resamples=drawn.num_resamples, device=device, margin=margin, runs=runs,
        configurations=[one.described for one in members],
        pairs=_pairs(members, units),
        subgroups=_subgroups(found),
    )  # fmt: skip


def _rank(run: ComparedRun) -> tuple[float, float, str]:
    return -(run.metrics["roc_auc"] or 0.0), -(run.metrics["accuracy"] or 0.0), run.name


def _compared_run(
    one: ScoredRun, name: str, family: str, cost: Cost, measured: Metrics, intervals: Intervals
) -> ComparedRun:
    shown = [metric.name for metric in metrics_shown("comparison")]
    numbers = [key for key in measured if key.startswith("num_")]
    report, record = one.report, one.record
    return ComparedRun(
        name=name, family=family, folder=str(one.path), model=report.model,
        seed=one.config.get(SEED), threshold=report.threshold,
        threshold_origin=report.threshold_origin, criterion=report.criterion,
        best_epoch=record.get("best_epoch"), test_scorings=report.test_scorings,
        initial_weights=record.get("weights"),
        metrics={key: measured[key] for key in (*numbers, *shown)},
        intervals={key: intervals[key] for key in shown}, cost=cost,
    )  # fmt: skip


def _subgroups(found: Sequence[tuple[ScoredRun, ComparedRun]]) -> dict[str, list[Subgroups]]:
    """Return the subgroups of each run; none where nothing is known of the images."""
    parts = {
        run.name: find_subgroups(one.predictions, one.report.task, run.threshold)
        for one, run in found
    }
    return parts if any(parts.values()) else {}


@dataclass(frozen=True)
class _Members:
    """A configuration, and what its runs answered; the noise of seeds by metric, if any is known.

    Attributes:
        logits: (N,) of each run.
        right: whether each image is called correctly, (N,) of each run.
    """

    described: Configuration
    positive: Flags
    logits: list[Scores]
    right: list[Flags]
    noise: dict[str, SeedNoise]

    def mean(self, metric: str, units: Codes, other: "_Members | None" = None) -> Mean | None:
        """Return the mean of `roc_auc` or `accuracy`, or what it is more than another's."""
        noise = self.noise[metric]
        other_noise = None if other is None else other.noise[metric]
        if metric == "accuracy":
            calls = () if other is None else other.right
            return mean_share(self.right, noise, units, calls, other_noise)
        logits = () if other is None else other.logits
        return mean_auc(self.logits, noise, self.positive, units, logits, other_noise)


def _members(found: Sequence[tuple[ScoredRun, ComparedRun]], units: Codes) -> list[_Members]:
    """Return the configurations of runs, the best first, with the intervals of their means."""
    families = _families([run for _, run in found])
    noises = _noises(list(families.values()))
    by_name = {run.name: one for one, run in found}
    made = []
    for number, (name, runs) in enumerate(families.items()):
        scored = [by_name[run.name] for run in runs]
        task = scored[0].report.task
        members = _Members(
            _configuration(name, runs),
            label_numbers(scored[0].predictions, task) == 1,
            [logits_of(one.predictions) for one in scored],
            [called_right(one.predictions, task, one.report.threshold) for one in scored],
            {metric: noise[number] for metric, noise in noises.items()},
        )
        made.append(_with_intervals(members, units) if noises else members)
    return sorted(made, key=lambda one: _rank_configuration(one.described))


def _families(runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    """Return the runs of each configuration by its name.

    Runs of one seed are copies and no draws of it: such a family is not averaged.
    """
    found: dict[str, list[ComparedRun]] = {}
    for name, members in by_family(runs).items():
        alone = repeats_a_seed(members)
        found |= {run.name: [run] for run in members} if alone else {name: members}
    return found


def by_family(runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    """Return the runs that differ in nothing but their seed together."""
    families: dict[str, list[ComparedRun]] = {}
    for run in runs:
        families.setdefault(run.family, []).append(run)
    return families


def repeats_a_seed(runs: Sequence[ComparedRun]) -> bool:
    """Say whether two of some runs have the same seed."""
    return len({run.seed for run in runs}) < len(runs)


def _noises(families: Sequence[Sequence[ComparedRun]]) -> dict[str, list[SeedNoise]]:
    """Return for each metric that is tested the noise of seeds; empty where seeds are alike."""
    if all(len(runs) == 1 for runs in families):
        return {}
    found = {}
    for metric in TESTED:
        values = [[run.metrics[metric] for run in runs] for runs in families]
        if all(value is not None for of_family in values for value in of_family):
            found[metric] = seed_noise([[float(v or 0.0) for v in one] for one in values])
    return found


def _configuration(name: str, runs: Sequence[ComparedRun]) -> Configuration:
    shown = [metric.name for metric in metrics_shown("comparison")]
    first = runs[0]
    return Configuration(
        name, [run.name for run in runs], [run.seed for run in runs],
        metrics={metric: _spread([run.metrics[metric] for run in runs]) for metric in shown},
        intervals={metric: first.intervals[metric] for metric in TESTED},
        random_weights=any(run.random_weights for run in runs),
        cost=first.cost,
    )  # fmt: skip


def _with_intervals(members: _Members, units: Codes) -> _Members:
    """Return a configuration with the intervals of its means over images and seeds."""
    found: Intervals = dict.fromkeys(TESTED)
    if int(units.max()) + 1 >= MIN_UNITS:
        means = {metric: members.mean(metric, units) for metric in members.noise}
        found |= {metric: mean.interval() for metric, mean in means.items() if mean is not None}
    return replace(members, described=replace(members.described, intervals=found))


def _rank_configuration(one: Configuration) -> tuple[float, float, str]:
    means = [spread.mean if spread else 0.0 for spread in map(one.metrics.get, TESTED)]
    return -means[0], -means[1], one.name


def _pairs(members: Sequence[_Members], units: Codes) -> list[Pair]:
    names = [one.described.name for one in members]
    pairs = list(itertools.combinations(range(len(members)), 2))
    if int(units.max()) + 1 < MIN_UNITS:
        return [Pair(names[a], names[b], None, None) for a, b in pairs]
    columns = []
    for metric in TESTED:
        difference = functools.partial(_difference, metric, units)
        columns.append(_tested([difference(members[a], members[b]) for a, b in pairs]))
    tested = zip(pairs, *columns, strict=True)
    return [Pair(names[a], names[b], area, share) for (a, b), area, share in tested]


def _difference(metric: str, units: Codes, first: _Members, second: _Members) -> Difference | None:
    if metric in first.noise:
        mean = first.mean(metric, units, second)
        return None if mean is None else mean.test()
    if metric == "accuracy":
        return share_difference(first.right[0], second.right[0], units)
    return auc_difference(first.logits[0], second.logits[0], first.positive, units)


def _tested(found: Sequence[Difference | None]) -> list[Tested | None]:
    """Correct the p-values of differences, which are one family."""
    corrected = iter(holm([one.p_value for one in found if one is not None]))
    return [
        None
        if one is None
        else Tested(one.value, one.interval, one.p_value, p := next(corrected), p < SIGNIFICANCE)
        for one in found
    ]


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Spread(statistics.fmean(known), deviation, min(known), max(known))
