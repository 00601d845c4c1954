"""Videos: the rule that validation chooses, and the threshold that is fitted to its groups."""

import json
import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import calibrated
from faceproof.evaluation.groups import aggregate_groups
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.operating_point import ThresholdConfig, fit_to_validation
from faceproof.evaluation.predictions import (
    label_numbers,
    logits_of,
    predictions_table,
    probabilities_of,
    sigmoid,
)
from faceproof.evaluation.video_point import (
    RULES,
    VideoConfig,
    VideoPoint,
    fit_video_point,
    with_other_video_band,
)
from faceproof.io.parse import parse
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
CONFIG = ThresholdConfig()


def videos(
    logits: list[list[float]], labels: list[str], components: list[str] | None = None
) -> pa.Table:
    """Return the predictions of the frames of videos, one list of logits a video."""
    rows = [(n, frame) for n, frames in enumerate(logits) for frame in range(len(frames))]
    columns: dict[str, list[str | None]] = {
        "path": [f"/v{n:03}/{frame}.png" for n, frame in rows],
        "label": [labels[n] for n, _ in rows],
        "group": [f"v{n:03}" for n, _ in rows],
    }
    if components is not None:
        columns["component"] = [components[n] for n, _ in rows]
    flat = np.concatenate([np.asarray(one, np.float64) for one in logits])
    return predictions_table(table_from_columns(columns), flat, sigmoid(flat))


def outvoted(num: int = 40, seed: int = 0) -> pa.Table:
    """Return videos of which one frame in five is beyond all doubt, and wrong."""
    random = np.random.default_rng(seed)
    labels = ["fake" if n % 2 else "real" for n in range(num)]
    logits = []
    for label in labels:
        sign = 1 if label == "fake" else -1
        frames = random.normal(0.15 * sign, 0.05, 10)
        frames[:3] = -9.0 * sign * (random.random() < 0.7)
        logits.append(frames.tolist())
    return videos(logits, labels)


def steady(num: int = 40, seed: int = 0, gap: float = 1.0) -> pa.Table:
    random = np.random.default_rng(seed)
    labels = ["fake" if n % 2 else "real" for n in range(num)]
    means = [random.normal(gap if label == "fake" else -gap, 1.0) for label in labels]
    return videos([random.normal(mean, 1.0, 8).tolist() for mean in means], labels)


def fit(predictions: pa.Table, rule: str = "auto", **changes: float) -> VideoPoint:
    found = fit_video_point(predictions, TASK, CONFIG, VideoConfig(rule), 0.5)
    assert found is not None
    return found


def test_the_rule_of_the_best_area_on_validation_is_taken() -> None:
    predictions = outvoted()
    found = fit(predictions)
    areas = {}
    for rule in RULES:
        grouped = aggregate_groups(predictions, rule, 0.5).predictions
        areas[rule] = roc_auc_score(label_numbers(grouped, TASK), logits_of(grouped))
    assert areas["median"] > areas["mean"] + 0.1
    assert found.rule == max(RULES, key=lambda rule: areas[rule])
    for rule in RULES:
        assert f"{rule} {areas[rule]:.3f}" in found.reason


def test_of_equally_good_rules_the_mean_is_taken() -> None:
    labels = ["fake" if n % 2 else "real" for n in range(30)]
    apart = videos([[4.0 if label == "fake" else -4.0] * 3 for label in labels], labels)
    assert fit(apart).rule == "mean"


def test_too_few_videos_choose_no_rule_and_say_so() -> None:
    found = fit(outvoted(18))
    assert found.rule == "mean"
    assert "9 independent real and 9 fake ones, and it takes 10 of each" in found.reason
    labels = ["fake" if n % 2 else "real" for n in range(40)]
    logits = logits_of(outvoted()).reshape(40, 10).tolist()
    few = videos(logits, labels, components=[f"person{n // 8}" for n in range(40)])
    assert "5 independent real and 5 fake ones" in fit(few).reason


def test_a_set_rule_is_taken_whatever_validation_says() -> None:
    found = fit(outvoted(), "mean")
    assert (found.rule, found.reason) == ("mean", "set by video.rule=mean")
    with pytest.raises(FaceproofError, match=r"rule = 'vote' must be one of auto, mean"):
        VideoConfig("vote")


@pytest.mark.parametrize("rule", RULES)
def test_the_threshold_is_fitted_to_the_videos_as_that_of_images_is_to_images(rule: str) -> None:
    predictions = steady()
    found = fit(predictions, rule)
    grouped = aggregate_groups(predictions, found.rule, 0.5).predictions
    alike = fit_to_validation(grouped, TASK, CONFIG)
    assert found.operating_point.threshold == alike.threshold
    assert found.operating_point.unsure == alike.unsure
    assert found.operating_point.calibration.temperature == alike.calibration.temperature
    assert found.num_videos == 40
    assert "20 negative and 20 positive validation videos" in found.origin
    assert "image" not in found.operating_point.calibration.reason
    judged = found.judge(predictions, 0.5)
    assert judged.num_rows == 40
    right = measure(judged, TASK, found.operating_point.threshold)["accuracy"]
    best = max(measure(judged, TASK, cut)["accuracy"] or 0 for cut in probabilities_of(judged))
    assert right is not None
    assert right >= best - 0.026  # of Youden's criterion, where the classes are of one size


def test_the_share_follows_the_threshold_of_images() -> None:
    predictions = videos([[0.2, 0.4, 3.0], [-1.0, 0.1, -3.0]], ["fake", "real"])
    loose = aggregate_groups(predictions, "share", 0.5).predictions
    strict = aggregate_groups(predictions, "share", 0.9).predictions
    assert probabilities_of(loose) == pytest.approx([3.5 / 4, 1.5 / 4])
    assert probabilities_of(strict) == pytest.approx([1.5 / 4, 0.5 / 4])
    with pytest.raises(FaceproofError, match="needs a threshold"):
        aggregate_groups(predictions, "share")


def test_what_has_no_videos_gets_no_point(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    single = videos([[1.0], [-1.0]] * 20, ["fake", "real"] * 20)
    nothing = single.set_column(4, single.schema.field("group"), pa.nulls(40, pa.string()))
    fakes = videos([[1.0, 2.0]] * 12, ["fake"] * 12)
    mixed = steady().set_column(4, steady().schema.field("group"), pa.array(["id"] * 320))
    for table, reason in (
        (nothing, ""), (single, "no group of validation has two images"),
        (fakes, "are of one class"), (mixed, "images of both classes, id for one"),
    ):  # fmt: skip
        caplog.clear()
        assert fit_video_point(table, TASK, CONFIG, VideoConfig(), 0.5) is None
        assert reason in caplog.text
        assert bool(caplog.text) == bool(reason)
    fit_video_point(nothing, TASK, CONFIG, VideoConfig("median"), 0.5)
    assert "video.rule=median changes nothing" in caplog.text


def test_neither_order_nor_chunks_change_it() -> None:
    predictions = outvoted()
    shuffled = predictions.take(np.random.default_rng(1).permutation(predictions.num_rows))
    parts = pa.concat_tables([predictions.slice(0, 33), predictions.slice(33)])
    assert fit(predictions) == fit(shuffled) == fit(parts)


def test_it_is_stored_and_read_again() -> None:
    found = fit(steady())
    assert parse(VideoPoint, json.loads(json.dumps(found.to_json()))) == found
    with pytest.raises(FaceproofError, match="one of mean, median, share; found 'max'"):
        parse(VideoPoint, {**found.to_json(), "rule": "max"})


def test_another_band_leaves_the_rest_as_it_is() -> None:
    predictions = steady(gap=0.3)
    strict, loose = fit(predictions), fit(predictions)
    wide = with_other_video_band(loose, predictions, TASK, None, 0.5)
    assert wide.operating_point.unsure == (strict.operating_point.threshold,) * 2
    again = with_other_video_band(wide, predictions, TASK, CONFIG.max_risk, 0.5)
    assert again == strict
    assert any("validation videos" in text for text in strict.operating_point.warnings)


def test_calibration_of_images_comes_first() -> None:
    predictions = steady()
    calibration = replace(fit(predictions).operating_point.calibration, temperature=3.0)
    warmer = calibrated(predictions, calibration)
    assert fit(warmer, "mean").operating_point != fit(predictions, "mean").operating_point
