"""Judging by video: by which rule the frames of a video become one verdict, and at which threshold.

A video is a group of the predictions table. Each frame is judged as an image first; then the rule
makes one score of the frames' calibrated probabilities:

    mean    their mean
    median  their median
    share   the share of frames that the images' threshold calls positive

Rule, calibration, threshold and unsure band of the videos are fixed on validation, by the code and
the criterion of the images' operating point, and stored beside that. No test image has a say.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import calibrated
from faceproof.evaluation.groups import How, aggregate_groups, mixed_groups, unit_codes
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.operating_point import (
    OperatingPoint,
    ThresholdConfig,
    fit_to_validation,
    with_other_band,
)
from faceproof.evaluation.predictions import label_numbers
from faceproof.io.parse import parse
from faceproof.io.run_folder import COPY_AGAIN, VIDEO, RunFolder
from faceproof.settings import check, one_of
from faceproof.task import Task

log = logging.getLogger(__name__)

RULES: tuple[How, ...] = ("mean", "median", "share")  # of equally good ones the first is taken
MIN_VIDEOS = 10  # independent ones of each class; with fewer, chance would choose the rule
NO_RULE = "the mean of their frames against the images' threshold"
WORDS = {
    "mean": "mean of the frames' calibrated probabilities",
    "median": "median of the frames' calibrated probabilities",
    "share": "share of frames called {positive}",
}


@dataclass(frozen=True)
class VideoConfig:
    """How a verdict on a video is made of its frames.

    Attributes:
        rule: `mean` or `median` of the frames' probabilities, `share` of frames called positive,
            or `auto` for the one of the best ROC-AUC on the videos of validation.
    """

    rule: str = "auto"

    def __post_init__(self) -> None:
        check(self, rule=one_of("auto", *RULES))


@dataclass(frozen=True)
class VideoPoint:
    """How the frames of a video become an answer.

    Attributes:
        rule: one of `RULES`.
        reason: why this one, in words.
        operating_point: calibration, threshold and unsure band of videos; its counts are of videos
            of validation.
    """

    rule: How
    reason: str
    operating_point: OperatingPoint

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise FaceproofError(
                f"the rule of videos is one of {', '.join(RULES)}; found {self.rule!r}"
            )

    @property
    def num_videos(self) -> int:
        """How many videos of validation it was fitted to."""
        return self.operating_point.num_negative + self.operating_point.num_positive

    @property
    def origin(self) -> str:
        """Say where the threshold comes from."""
        return _of_videos(self.operating_point.origin)

    def judge(self, predictions: pa.Table, image_threshold: float) -> pa.Table:
        """Return a predictions table with a row for each group of one with a row an image."""
        grouped = aggregate_groups(predictions, self.rule, image_threshold).predictions
        return calibrated(grouped, self.operating_point.calibration)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        point = self.operating_point.to_json()
        return {"rule": self.rule, "reason": self.reason, "operating_point": point}


def in_words(rule: str, task: Task) -> str:
    """Return what a rule makes of the frames, in words."""
    return WORDS[rule].format(positive=task.positive)


def read_video_point(run: RunFolder) -> VideoPoint | None:
    """Return how a run judges videos; None where that was not fitted.

    Raises:
        FaceproofError: it is damaged, of another version, or makes no sense.
    """
    values = run.read_video_point()
    try:
        point: VideoPoint | None = parse(VideoPoint | None, values, VIDEO)
    except FaceproofError as error:
        raise FaceproofError(f"{run.operating_point} is damaged: {error}; {COPY_AGAIN}") from error
    return point


def fit_video_point(
    predictions: pa.Table,
    task: Task,
    threshold: ThresholdConfig,
    config: VideoConfig,
    image_threshold: float,
) -> VideoPoint | None:
    """Fix rule, calibration, threshold and unsure band on the videos of validation.

    `predictions` are those of validation, with the images' calibrated probabilities. None is for
    validation without videos: no group has two images, a group holds both classes, or the groups
    are of one class.
    """
    if (problem := _problem(predictions, task)) is not None:
        if config.rule != "auto":
            log.warning("video.rule=%s changes nothing: %s", config.rule, problem)
        if predictions["group"].null_count < predictions.num_rows:
            log.info("%s, so videos are judged by %s", problem, NO_RULE)
        return None
    rule, reason = _choose_rule(predictions, task, config, image_threshold)
    videos = aggregate_groups(predictions, rule, image_threshold).predictions
    point = fit_to_validation(videos, task, threshold)
    log.info("videos are judged by the %s: %s", in_words(rule, task), reason)
    calibration = replace(point.calibration, reason=_of_videos(point.calibration.reason))
    warnings = tuple(map(_of_videos, point.warnings))
    return VideoPoint(rule, reason, replace(point, calibration=calibration, warnings=warnings))


def with_other_video_band(
    video: VideoPoint,
    predictions: pa.Table,
    task: Task,
    max_risk: float | None,
    image_threshold: float,
) -> VideoPoint:
    """Return a point with the unsure band for another risk, and all else as it is.

    `predictions` are those of validation, with the images' calibrated probabilities.
    """
    videos = video.judge(predictions, image_threshold)
    point = with_other_band(video.operating_point, videos, task, max_risk)
    return replace(
        video, operating_point=replace(point, warnings=tuple(map(_of_videos, point.warnings)))
    )


def _problem(predictions: pa.Table, task: Task) -> str | None:
    """Say why videos cannot be judged as such; None if they can."""
    grouped = predictions.filter(predictions["group"].is_valid())
    if len(grouped["group"].unique()) == grouped.num_rows:
        return "no group of validation has two images"
    if mixed := mixed_groups(grouped):
        return f"groups of validation hold images of both classes, {mixed[0]} for one"
    if len(set(label_numbers(grouped, task).tolist())) < 2:
        return "the groups of validation are of one class"
    return None


def _choose_rule(
    predictions: pa.Table, task: Task, config: VideoConfig, image_threshold: float
) -> tuple[How, str]:
    """Return the rule, and why it is taken."""
    for rule in RULES:
        if rule == config.rule:
            return rule, f"set by video.rule={rule}"
    tables = {rule: aggregate_groups(predictions, rule, image_threshold) for rule in RULES}
    videos = tables["mean"].predictions
    labels, units = label_numbers(videos, task), unit_codes(videos)
    independent = [len(np.unique(units[labels == number])) for number in (0, 1)]
    if min(independent) < MIN_VIDEOS:
        return "mean", (
            f"too few videos to choose a rule: validation has {independent[0]:,} independent "
            f"{task.negative} and {independent[1]:,} {task.positive} ones, and it takes "
            f"{MIN_VIDEOS} of each"
        )
    areas: dict[How, float] = {}
    for rule, table in tables.items():
        # Rounded, so that what differs by the last bit is a tie.
        areas[rule] = round(measure(table.predictions, task, 0.5)["roc_auc"] or 0.0, 9)
    best = max(RULES, key=lambda rule: areas[rule])
    found = ", ".join(f"{rule} {area:.3f}" for rule, area in areas.items())
    return best, f"the largest ROC-AUC of the three on videos of validation: {found}"


def _of_videos(text: str) -> str:
    """Return a sentence on images as one on videos."""
    return text.replace("images", "videos")
