"""The result of an evaluation: every number of a report, computed from the predictions table.

`evaluate` computes it, `Evaluation.to_json` gives what `report.json` holds, and `reports.report`
makes a page of it. Nothing here draws or writes.
"""

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.data.coverage import Coverage
from faceproof.errors import FaceproofError
from faceproof.evaluation import reliability
from faceproof.evaluation.breakdown import (
    BreakdownRow,
    CellRow,
    ClassRow,
    breakdown,
    class_report,
    worst_first,
)
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.groups import HOWS, How, aggregate_groups, mixed_groups, unit_codes
from faceproof.evaluation.intervals import NUM_RESAMPLES, BootstrapIntervals, Intervals, bootstrap
from faceproof.evaluation.json_values import plain, printable
from faceproof.evaluation.metrics import METRICS, Metrics, measure_scores
from faceproof.evaluation.mistakes import Mistakes, find_mistakes
from faceproof.evaluation.operating_point import OperatingPoint, in_use
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
from faceproof.evaluation.reliability import ReliabilityBin
from faceproof.evaluation.robustness import CorruptionRow, Neutral, worst
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import Codes, Interval, share_interval
from faceproof.task import Task

# What may change a metric: faceproof, what computes the metrics, and what makes the logits.
PACKAGES = ("faceproof", "torch", "timm", "numpy", "scipy", "scikit-learn", "pyarrow", "matplotlib")
REPORTED_HOWS: tuple[How, ...] = (HOWS[0], HOWS[2])  # the mean, and what one frame suffices for


@dataclass(frozen=True)
class EvaluationContext:
    """What is known of an evaluation beyond its predictions."""

    title: str
    task: Task
    run: str  # the run, or the detector artifact, that made the predictions
    model: str
    data: str
    split: str
    threshold: float  # an image is called positive from this probability on
    threshold_origin: str  # in words
    # How the detector was trained, as name and value.
    record: Mapping[str, str | int | float | None] = field(default_factory=dict)
    commands: Sequence[str] = ()  # that train it again
    best_epoch: int | None = None  # whose weights were scored, from 0; None where nobody knows
    unreadable: Sequence[tuple[str, str]] = ()  # path and reason
    operating_point: OperatingPoint | None = None  # if it was fitted
    # How often the run has scored this test split, this time included, where that is counted.
    test_scorings: int | None = None
    num_resamples: int = NUM_RESAMPLES
    skipped: Mapping[str, str | int] = field(default_factory=dict)  # what, and how many; in words
    num_seen: int = 0  # images skipped because the run saw them in training or validation
    limits: Sequence[str] = ()  # settings that cut the training short, as trainer.max_steps=5
    shortcuts: Sequence[str] = ()  # of the training's images, beyond their limits; in words
    neutral: Neutral | None = None  # as they are against both classes wrapped alike, if scored
    robustness: Sequence[CorruptionRow] = ()  # the uncorrupted images first; may be empty
    # Digests of what it was computed from: see `RunFolder.detector_digest`, and of the images'
    # paths and bytes.
    detector: str | None = None
    images: str | None = None
    protocols: Sequence[Coverage] = ()  # that say which images these are, and how many are there

    def __post_init__(self) -> None:
        point = self.operating_point
        if point is not None and point.threshold != self.threshold:
            raise FaceproofError(
                f"the operating point's threshold is {point.threshold} and the report's "
                f"{self.threshold}; report at the stored threshold, or without operating point"
            )


@dataclass(frozen=True)
class FalseAlarms:
    """How many negative images are called positive; the rate is None where there are none."""

    num_negative: int
    num_false_positives: int
    rate: float | None
    interval: Interval | None


@dataclass(frozen=True)
class OperatingPointCheck:
    """What an operating point does on these images; each share is None without labelled images.

    `error_answered` is the share called wrongly of the images outside of the unsure band.
    """

    fpr: FalseAlarms
    share_unsure: float | None
    error_answered: float | None
    error_answered_interval: Interval | None
    error_all: float | None

    @property
    def in_use(self) -> str | None:
        """What it does in use, in words; None without labelled images."""
        return None if self.share_unsure is None else in_use(self.share_unsure, self.error_answered)


@dataclass(frozen=True)
class CalibrationQuality:
    """How far probabilities are from observed shares; see `reliability`."""

    ece: float | None
    ece_by_chance: float | None
    brier: float | None
    bins: list[ReliabilityBin]


@dataclass(frozen=True)
class RiskAtCoverage:
    """The share called wrongly of the images answered, and the share answered."""

    coverage: float
    risk: float


@dataclass(frozen=True)
class RiskCoverage:
    """The area under the risk-coverage curve, and the curve at ten coverages."""

    area: float | None
    curve: list[RiskAtCoverage]


@dataclass(frozen=True)
class GroupMetrics:
    """The metrics of groups with one score each, and their intervals."""

    metrics: Metrics
    intervals: Intervals


@dataclass(frozen=True)
class GroupLevel:
    """The metrics of whole groups, by how their images' probabilities are aggregated."""

    num_mixed: int  # groups that hold images of both classes; with any, nothing is measured
    mixed: str | None  # the first of these
    by: dict[str, GroupMetrics]
    num_groups: int = 0
    num_without_group: int = 0  # images in no group, and so left out


@dataclass(frozen=True)
class Evaluation:
    """Every number of a report."""

    context: EvaluationContext
    num_predictions: int
    num_unlabelled: int
    num_called_positive: int
    num_groups: int
    metrics: Metrics
    intervals: BootstrapIntervals
    class_report: dict[str, ClassRow]
    confusion: tuple[tuple[int, int], tuple[int, int]]
    by_generator: list[BreakdownRow]
    by_source: list[BreakdownRow]
    worst_first: list[CellRow]
    operating_point: OperatingPointCheck | None
    calibration: dict[str, CalibrationQuality]
    risk_coverage: RiskCoverage
    group_level: GroupLevel | None
    mistakes: dict[str, Mistakes]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what `report.json` holds, as plain values that strict JSON can hold."""
        shown = printable(self)
        context = shown.context
        values = {item.name: getattr(shown, item.name) for item in fields(shown)}
        del values["context"], values["num_groups"]
        first = (
            *("title", "task", "run", "model", "data", "split", "threshold", "threshold_origin"),
            *("test_scorings", "detector", "images"),
        )
        numbers: dict[str, Any] = plain(
            {
                **{name: getattr(context, name) for name in first},
                "num_groups": self.num_groups,
                "num_unreadable": len(context.unreadable),
                "num_seen": context.num_seen,
                "skipped": dict(context.skipped),
                "limits": list(context.limits),
                "best_epoch": context.best_epoch,
                "commands": list(context.commands),
                "shortcuts": list(context.shortcuts),
                "protocols": [
                    {**one.to_json(), "told": one.told(context.split)} for one in context.protocols
                ],
                **values,
                "neutral": context.neutral,
                "robustness": list(context.robustness) or None,
                "worst_corruption": worst(context.robustness),
                "unreadable": [{"path": path, "reason": why} for path, why in context.unreadable],
                "record": dict(context.record),
            }
        )
        if (point := context.operating_point) is not None:
            numbers["operating_point"] |= {**point.to_json(), "origin": point.origin}
        if context.neutral is not None:
            for name in ("answers", "parts", "changed", "p_value"):
                numbers["neutral"][name] = getattr(context.neutral, name)
        return numbers


def evaluate(predictions: pa.Table, context: EvaluationContext) -> Evaluation:
    """Compute every number of a report.

    Raises:
        FaceproofError: there are no predictions, or a label is no class of the task.
    """
    if predictions.num_rows == 0:
        raise FaceproofError(
            f"there is no prediction to report on {context.data}, split {context.split}: "
            f"{len(context.unreadable):,} images were unreadable; check the data set and split"
        )
    task, threshold = context.task, context.threshold
    known = labelled_rows(predictions)
    scores = LabelledScores.from_table(known, task, threshold)
    once = WeightedScores(scores)
    labels, units = label_numbers(known, task), unit_codes(known)
    probabilities = probabilities_of(known)
    called = is_positive(probabilities_of(predictions), threshold)
    (true_negative, false_positive), (false_negative, true_positive) = once.confusion.tolist()
    return Evaluation(
        context=context,
        num_predictions=predictions.num_rows,
        num_unlabelled=predictions.num_rows - known.num_rows,
        num_called_positive=int(called.sum()),
        num_groups=pc.count_distinct(predictions["group"]).as_py(),
        metrics=measure_scores(once, task),
        intervals=bootstrap(scores, context.num_resamples),
        class_report=class_report(scores, task),
        confusion=((true_negative, false_positive), (false_negative, true_positive)),
        by_generator=breakdown(predictions, task, threshold, "generator"),
        by_source=breakdown(predictions, task, threshold, "source"),
        worst_first=worst_first(predictions, task, threshold),
        operating_point=None
        if (point := context.operating_point) is None
        else check_point(labels, probabilities, units, point),
        calibration={
            name: _calibration_quality(labels, logits_of(known), values, units)
            for name, values in before_and_after(known).items()
        },
        risk_coverage=_risk_coverage(labels, probabilities, threshold),
        group_level=_group_level(known, context),
        mistakes=find_mistakes(predictions, task, threshold),
        versions=_versions(),
    )


def realised_fpr(called: Flags, labels: Labels, units: Codes) -> FalseAlarms:
    """Return the false-positive rate of decisions on these images, with its interval."""
    negative = labels == 0
    alarms = called[negative]
    return FalseAlarms(
        num_negative=len(alarms),
        num_false_positives=int(np.count_nonzero(alarms)),
        rate=_share(alarms),
        interval=share_interval(alarms, units[negative]),
    )


def check_point(
    labels: Labels, probabilities: Scores, units: Codes, point: OperatingPoint
) -> OperatingPointCheck:
    """Measure what an operating point does on labelled images; all columns are (N,)."""
    called = is_positive(probabilities, point.threshold)
    wrong = called != (labels == 1)
    answered = ~reliability.unsure_flags(probabilities, point.unsure)
    return OperatingPointCheck(
        fpr=realised_fpr(called, labels, units),
        share_unsure=_share(~answered),
        error_answered=_share(wrong[answered]),
        error_answered_interval=share_interval(wrong[answered], units[answered]),
        error_all=_share(wrong),
    )


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None


def before_and_after(known: pa.Table) -> dict[str, Scores]:
    """Return the probabilities before calibration and as reported, (N,) each."""
    return {"before": Calibration().apply(logits_of(known)), "after": probabilities_of(known)}


def _calibration_quality(
    labels: Labels, logits: Scores, probabilities: Scores, units: Codes
) -> CalibrationQuality:
    called = np.zeros(len(labels), bool)  # nothing here depends on decisions
    scores = WeightedScores(LabelledScores.from_arrays(labels, logits, probabilities, called))
    return CalibrationQuality(
        ece=METRICS["ece"](scores),
        ece_by_chance=reliability.calibration_error_by_chance(labels, probabilities, units),
        brier=METRICS["brier"](scores),
        bins=reliability.reliability_table(labels, probabilities, units),
    )


def _risk_coverage(labels: Labels, probabilities: Scores, threshold: float) -> RiskCoverage:
    scored = labels, probabilities, threshold
    coverage, risk, _ = reliability.risk_coverage(*scored)
    wanted = np.arange(1, 11) / 10
    places = np.searchsorted(coverage, wanted - 1e-9) if len(coverage) else np.empty(0, np.int64)
    return RiskCoverage(
        area=reliability.risk_coverage_area(*scored),
        curve=[RiskAtCoverage(float(coverage[place]), float(risk[place])) for place in places],
    )


def _group_level(known: pa.Table, context: EvaluationContext) -> GroupLevel | None:
    """Return the metrics of whole groups; None where there are none."""
    if not known["group"].is_valid().to_numpy().any():
        return None
    if mixed := mixed_groups(known):
        return GroupLevel(len(mixed), mixed[0], {})
    by = dict[str, GroupMetrics]()
    num_groups = num_without = 0
    for how in REPORTED_HOWS:
        grouped = aggregate_groups(known, how)
        num_groups, num_without = grouped.predictions.num_rows, grouped.num_without_group
        scores = LabelledScores.from_table(grouped.predictions, context.task, context.threshold)
        by[how] = GroupMetrics(
            measure_scores(WeightedScores(scores), context.task),
            bootstrap(scores, context.num_resamples).metrics,
        )
    return GroupLevel(0, None, by, num_groups, num_without)


def _versions() -> dict[str, str]:
    """Return the versions of Python and of the installed `PACKAGES`, importing none of them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
