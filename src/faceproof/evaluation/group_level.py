"""The metrics of whole groups: by each way to aggregate, and by the rule fixed on validation."""

from dataclasses import dataclass

import pyarrow as pa

from faceproof.evaluation.groups import How, aggregate_groups, mixed_groups, unit_codes
from faceproof.evaluation.intervals import Intervals, bootstrap
from faceproof.evaluation.metrics import Metrics, measure_scores
from faceproof.evaluation.novelty import NoveltyPoint, find_strange
from faceproof.evaluation.point_check import OperatingPointCheck, check_point
from faceproof.evaluation.predictions import label_numbers, probabilities_of
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.video_point import VideoPoint
from faceproof.task import Task

REPORTED_HOWS: tuple[How, ...] = ("mean", "max")  # max: one frame suffices


@dataclass(frozen=True)
class GroupMetrics:
    """The metrics of groups with one score each, and their intervals."""

    metrics: Metrics
    intervals: Intervals


@dataclass(frozen=True)
class VideoLevel:
    """The metrics of groups judged as videos: by the stored rule, at the videos' own threshold."""

    point: VideoPoint
    metrics: Metrics
    intervals: Intervals
    check: OperatingPointCheck


@dataclass(frozen=True)
class GroupLevel:
    """The metrics of whole groups, by how their images' probabilities are aggregated."""

    num_mixed: int  # groups that hold images of both classes; with any, nothing is measured
    mixed: str | None  # the first of these
    by: dict[str, GroupMetrics]  # at the images' threshold
    num_groups: int = 0
    num_without_group: int = 0  # images in no group, and so left out
    video: VideoLevel | None = None  # None where no rule was fixed on validation


def measure_groups(
    known: pa.Table,
    task: Task,
    threshold: float,
    num_resamples: int,
    video: VideoPoint | None,
    limit: NoveltyPoint | None = None,
) -> GroupLevel | None:
    """Return the metrics of whole groups; None where there are none.

    `known` is a predictions table of labelled images, `threshold` that of images, and `limit` from
    which novelty on an image, or a video by its median, is strange.
    """
    if not known["group"].is_valid().to_numpy().any():
        return None
    if mixed := mixed_groups(known):
        return GroupLevel(len(mixed), mixed[0], {})
    by = dict[str, GroupMetrics]()
    num_groups = num_without = 0
    for how in REPORTED_HOWS:
        grouped = aggregate_groups(known, how)
        num_groups, num_without = grouped.predictions.num_rows, grouped.num_without_group
        by[how] = GroupMetrics(*_measured(grouped.predictions, task, threshold, num_resamples))
    judged = None
    if video is not None:
        judged = _judge_videos(known, task, threshold, num_resamples, video, limit)
    return GroupLevel(0, None, by, num_groups, num_without, judged)


def _judge_videos(
    known: pa.Table,
    task: Task,
    threshold: float,
    num_resamples: int,
    video: VideoPoint,
    limit: NoveltyPoint | None,
) -> VideoLevel:
    judged, point = video.judge(known, threshold), video.operating_point
    metrics, intervals = _measured(judged, task, point.threshold, num_resamples)
    labels, units = label_numbers(judged, task), unit_codes(judged)
    strange = None if limit is None else find_strange(judged, limit)
    check = check_point(labels, probabilities_of(judged), units, point, strange)
    return VideoLevel(video, metrics, intervals, check)


def _measured(
    predictions: pa.Table, task: Task, threshold: float, num_resamples: int
) -> tuple[Metrics, Intervals]:
    scores = LabelledScores.from_table(predictions, task, threshold)
    metrics = measure_scores(WeightedScores(scores), task)
    return metrics, bootstrap(scores, num_resamples).metrics
