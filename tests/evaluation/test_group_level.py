"""Whole groups: measured by the rule and the threshold that validation fixed."""

import numpy as np
import pyarrow as pa
import pytest

from faceproof.evaluation.group_level import measure_groups
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.novelty import NoveltyPoint
from faceproof.evaluation.operating_point import ThresholdConfig
from faceproof.evaluation.predictions import SCHEMA, is_positive, probabilities_of
from faceproof.evaluation.video_point import VideoConfig, fit_video_point
from tests.evaluation.test_video_point import TASK, outvoted


@pytest.mark.parametrize("rule", ["mean", "median", "share"])
def test_videos_are_measured_at_their_own_threshold(rule: str) -> None:
    point = fit_video_point(outvoted(60), TASK, ThresholdConfig(), VideoConfig(rule), 0.5)
    assert point is not None
    test = outvoted(50, seed=3)
    level = measure_groups(test, TASK, 0.5, 60, point)
    assert level is not None
    assert level.video is not None
    judged = point.judge(test, 0.5)
    threshold = point.operating_point.threshold
    assert level.video.metrics == measure(judged, TASK, threshold)
    low, high = level.video.intervals["accuracy"] or (1, 0)
    assert low <= (level.video.metrics["accuracy"] or 0) <= high
    wrong = is_positive(probabilities_of(judged), threshold) != (np.arange(50) % 2 == 1)
    assert level.video.check.error_all == pytest.approx(wrong.mean())
    assert set(level.by) == {"mean", "max"}


def test_a_video_of_strange_frames_is_unsure() -> None:
    """As it is called where it is judged: by the median of its frames."""
    point = fit_video_point(outvoted(60), TASK, ThresholdConfig(), VideoConfig("mean"), 0.5)
    test = outvoted(50, seed=3)
    groups = test["group"].to_pylist()
    novelties = np.where([group == groups[0] for group in groups], 5.0, 1.0).astype(np.float32)
    place = SCHEMA.get_field_index("novelty")
    known = test.set_column(place, SCHEMA.field("novelty"), pa.array(novelties))
    limits = (None, NoveltyPoint(2.0, 0.05, 99, 99))
    levels = [measure_groups(known, TASK, 0.5, 60, point, limit) for limit in limits]
    plain, strange = (level.video.check for level in levels if level and level.video)
    assert plain.share_unsure is not None
    assert strange.share_unsure is not None
    assert 0 <= strange.share_unsure - plain.share_unsure <= 1 / 50
    everything = measure_groups(known, TASK, 0.5, 60, point, NoveltyPoint(0.5, 0.05, 99, 99))
    assert everything is not None
    assert everything.video is not None
    assert everything.video.check.share_unsure == 1


def test_without_a_rule_groups_are_measured_as_before() -> None:
    level = measure_groups(outvoted(), TASK, 0.5, 60, None)
    assert level is not None
    assert level.video is None
    assert level.num_groups == 40
