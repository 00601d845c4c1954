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
from faceproof.evaluation.group_level import GroupLevel, measure_groups
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import NUM_RESAMPLES, BootstrapIntervals, bootstrap
from faceproof.evaluation.json_values import plain, printable
from faceproof.evaluation.metrics import METRICS, Metrics, measure_scores
from faceproof.evaluation.mistakes import Mistakes, find_mistakes
from faceproof.evaluation.novelty import NoveltyPoint, find_strange
from faceproof.evaluation.novelty_check import NoveltyCheck, check_novelty
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.pairs import PairRanking, rank_pairs
from faceproof.evaluation.point_check import OperatingPointCheck, check_point
from faceproof.evaluation.predictions import (
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
from faceproof.evaluation.statistics import Codes
from faceproof.evaluation.subgroups import Subgroups, find_subgroups
from faceproof.evaluation.video_point import VideoPoint
from faceproof.task import Task

# What may change a metric: faceproof, what computes the metrics, and what makes the logits.
PACKAGES = ("faceproof", "torch", "timm", "numpy", "scipy", "scikit-learn", "pyarrow", "matplotlib")


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
    video_point: VideoPoint | None = None  # if it was fitted
    novelty_point: NoveltyPoint | None = None  # if it was fitted
    home: Sequence[str] = ()  # the sources of the training images
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
    # What the scores are, in words, where a table of them was given; None where a run made them.
    scores: str | None = None

    def __post_init__(self) -> None:
        point = self.operating_point
        if point is not None and point.threshold != self.threshold:
            raise FaceproofError(
                f"the operating point's threshold is {point.threshold} and the report's "
                f"{self.threshold}; report at the stored threshold, or without operating point"
            )


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
    novelty: NoveltyCheck | None  # None where the detector does not know novelty
    group_level: GroupLevel | None
    pairs: PairRanking | None  # None where no fake has its original among the images
    mistakes: dict[str, Mistakes]
    subgroups: list[Subgroups]  # of each further column of the predictions table
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what `report.json` holds, as plain values that strict JSON can hold."""
        shown = printable(self)
        context = shown.context
        values = {item.name: getattr(shown, item.name) for item in fields(shown)}
        del values["context"], values["num_groups"]
        if not self.subgroups:  # files of earlier versions have none either
            del values["subgroups"]
        if context.scores is not None:
            values["scores"] = context.scores
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
        if (limit := context.novelty_point) is not None and self.novelty is not None:
            numbers["novelty"] |= {**limit.to_json(), "origin": limit.origin}
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
    point, limit = context.operating_point, context.novelty_point
    strange = None if limit is None else find_strange(known, limit)
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
        if point is None
        else check_point(labels, probabilities, units, point, strange),
        calibration={
            name: _calibration_quality(labels, logits_of(known), values, units)
            for name, values in before_and_after(known).items()
        },
        novelty=None
        if limit is None or point is None
        else check_novelty(predictions, task, point, limit, context.home),
        risk_coverage=_risk_coverage(labels, probabilities, threshold),
        group_level=measure_groups(
            known, task, threshold, context.num_resamples, context.video_point, limit
        ),
        pairs=rank_pairs(known, task, context.num_resamples),
        mistakes=find_mistakes(predictions, task, threshold),
        subgroups=find_subgroups(predictions, task, threshold) if known.num_rows else [],
        versions=_versions(),
    )


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


def _versions() -> dict[str, str]:
    """Return the versions of Python and of the installed `PACKAGES`, importing none of them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
