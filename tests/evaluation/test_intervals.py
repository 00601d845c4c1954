"""Intervals: that they are of the same figures, and that they cover as often as they say."""

import math
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import scipy.stats
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.table import table_from_columns
from faceproof.evaluation import intervals
from faceproof.evaluation import statistics as confidence
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.metrics import Metrics, measure, measure_scores
from faceproof.evaluation.predictions import predictions_table
from faceproof.evaluation.scores import LabelledScores, WeightedScores, Weights
from faceproof.task import TASKS

TASK = TASKS["deepfake"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
LOGITS = st.sampled_from([-40.0, -3.0, -1.0, -0.25, 0.0, 0.25, 1.0, 3.0, 30.0, 40.0])
ROWS = st.lists(st.tuples(st.booleans(), LOGITS, st.integers(0, 3)), min_size=1, max_size=40)


def table(labels: Labels, logits: Array, groups: list[str | None] | None = None) -> pa.Table:
    rows = table_from_columns(
        {
            "path": [f"/data/{number}.png" for number in range(len(labels))],
            "label": [TASK.classes[label] for label in labels],
            "group": [None] * len(labels) if groups is None else groups,
        }
    )
    with np.errstate(over="ignore"):
        return predictions_table(rows, logits, 1 / (1 + np.exp(-logits)))


def scores(num_rows: int, seed: int = 3) -> tuple[Labels, Array]:
    random = np.random.default_rng(seed)
    labels = (random.random(num_rows) < 0.4).astype(np.int64)
    return labels, np.round(random.normal(labels * 2.0 - 1.0, 1.5), 1)


def weighted_metrics(scores: LabelledScores, weights: Weights) -> Metrics:
    return measure_scores(WeightedScores(scores, weights), TASK)


def assert_same(found: Metrics, expected: Metrics) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, abs=1e-9, rel=1e-9), name


@given(rows=ROWS)
def test_weights_of_one_give_the_figures(rows: list[tuple[bool, float, int]]) -> None:
    labels = np.array([int(label) for label, _, _ in rows])
    predictions = table(labels, np.array([logit for _, logit, _ in rows]))
    ranked = LabelledScores.from_table(predictions, TASK, 0.5)
    found = weighted_metrics(ranked, np.ones(len(rows), np.int64))
    assert_same(found, measure(predictions, TASK, 0.5))


@given(rows=ROWS)
def test_weights_give_the_figures_of_rows_repeated_so_often(
    rows: list[tuple[bool, float, int]],
) -> None:
    labels = np.array([int(label) for label, _, _ in rows])
    weights = np.array([weight for _, _, weight in rows])
    predictions = table(labels, np.array([logit for _, logit, _ in rows]))
    codes = np.arange(len(rows))
    ranked = LabelledScores.from_table(predictions, TASK, 0.5, units=codes)
    repeated = predictions.take(np.repeat(codes, weights))
    found = weighted_metrics(ranked, weights)
    assert_same(found, measure(repeated, TASK, 0.5))


def test_rows_of_one_group_are_drawn_together() -> None:
    labels, logits = scores(60)
    groups: list[str | None] = [f"v{number // 5}" if number < 40 else None for number in range(60)]
    predictions = table(labels, logits, groups)
    ranked = LabelledScores.from_table(predictions, TASK, 0.5)
    assert ranked.num_units == 8 + 20
    codes = unit_codes(predictions)
    weights = next(intervals.resample_weights(28, 1, seed=5))
    assert weights.sum() == 28
    repeated = predictions.take(np.repeat(np.arange(60), weights[codes]))
    assert_same(weighted_metrics(ranked, weights), measure(repeated, TASK, 0.5))


def test_units_follow_names_and_not_the_order_of_rows() -> None:
    labels, logits = scores(50)
    groups: list[str | None] = [(None, "/data/3.png", "b")[number % 3] for number in range(50)]
    predictions = table(labels, logits, groups)
    codes = unit_codes(predictions)
    # A group that is called like an image is not that image.
    assert codes.max() + 1 == 2 + groups.count(None)
    order = np.random.default_rng(1).permutation(50)
    assert np.array_equal(unit_codes(predictions.take(order)), codes[order])
    assert intervals.bootstrap_intervals(predictions.take(order), TASK, 0.5, 50) == (
        intervals.bootstrap_intervals(predictions, TASK, 0.5, 50)
    )


def test_two_detectors_on_the_same_images_are_drawn_alike() -> None:
    labels, logits = scores(300)
    one, two = table(labels, logits), table(labels, -logits[::-1]).take(np.arange(300)[::-1])
    areas = []
    for predictions in (one, two):
        ranked = LabelledScores.from_table(predictions, TASK, 0.5)
        drawn = [
            weighted_metrics(ranked, weights)
            for weights in intervals.resample_weights(ranked.num_units, 20)
        ]
        areas.append([figures["num_fake"] for figures in drawn])
    assert areas[0] == areas[1]


def test_the_interval_is_that_of_a_plain_resampling_loop() -> None:
    labels, logits = scores(250, seed=8)
    predictions = table(labels, logits)
    found = intervals.bootstrap_intervals(predictions, TASK, 0.5, num_resamples=1000)
    random = np.random.default_rng(0)
    plain: dict[str, Callable[[Labels, Array], float]] = {
        "roc_auc": reference.roc_auc_score,
        "average_precision": reference.average_precision_score,
        "accuracy": lambda truth, score: reference.accuracy_score(truth, score >= 0),
        "f1": lambda truth, score: reference.f1_score(truth, score >= 0),
        "brier": lambda truth, score: reference.brier_score_loss(truth, 1 / (1 + np.exp(-score))),
    }
    drawn = [random.integers(0, 250, 250) for _ in range(400)]
    for name, figure in plain.items():
        values = [figure(labels[rows], logits[rows]) for rows in drawn]
        expected = np.quantile(values, [0.025, 0.975])
        width = expected[1] - expected[0]
        assert found[name] == pytest.approx(expected, abs=0.15 * width), name


def test_every_figure_lies_in_its_interval() -> None:
    predictions = table(*scores(400))
    figures = measure(predictions, TASK, 0.5)
    found = intervals.bootstrap_intervals(predictions, TASK, 0.5, 200)
    assert set(found) == {name for name in figures if not name.startswith("num_")}
    for name, interval in found.items():
        value = figures[name]
        assert interval is not None
        assert value is not None
        assert interval[0] <= value <= interval[1], name
        assert interval[0] < interval[1], name


# Of 240 sets two standard errors of 95 % are 2.8 points; small samples and few resamples cost one.
COVERED = (0.91, 0.98)


def test_95_percent_intervals_cover_95_percent() -> None:
    # z = +-0.7 + noise of scale 1: AUC = Phi(1.4 / sqrt 2), accuracy = Phi(0.7).
    truth = {
        "roc_auc": scipy.stats.norm.cdf(1.4 / math.sqrt(2)),
        "accuracy": scipy.stats.norm.cdf(0.7),
        "balanced_accuracy": scipy.stats.norm.cdf(0.7),
    }
    random = np.random.default_rng(11)
    covered = dict.fromkeys(truth, 0)
    for _ in range(240):
        labels = (np.arange(120) < 60).astype(np.int64)
        predictions = table(labels, random.normal(labels * 1.4 - 0.7))
        found = intervals.bootstrap_intervals(predictions, TASK, 0.5, 150)
        for name, value in truth.items():
            interval = found[name]
            assert interval is not None
            covered[name] += interval[0] <= value <= interval[1]
    for name, hits in covered.items():
        assert COVERED[0] <= hits / 240 <= COVERED[1], name


def videos(random: np.random.Generator, num_videos: int, frames: int) -> tuple[Labels, Array]:
    """Frames that differ little within a video: noise of scale 1 between, 0.3 within."""
    labels = np.repeat(np.arange(num_videos) % 2, frames)
    offsets = np.repeat(random.normal(size=num_videos), frames)
    return labels, labels * 1.4 - 0.7 + offsets + random.normal(0, 0.3, len(labels))


def test_intervals_over_groups_cover_where_those_over_images_do_not() -> None:
    scale = math.sqrt(1 + 0.3**2)
    truth = {
        "roc_auc": scipy.stats.norm.cdf(1.4 / (scale * math.sqrt(2))),
        "accuracy": scipy.stats.norm.cdf(0.7 / scale),
    }
    groups: list[str | None] = [f"v{number // 8:03}" for number in range(640)]
    random = np.random.default_rng(12)
    covered = {(name, known): 0 for name in truth for known in (True, False)}
    for number in range(200):
        labels, logits = videos(random, 80, 8)
        for known in (True, False) if number < 80 else (True,):
            predictions = table(labels, logits, groups if known else None)
            found = intervals.bootstrap_intervals(predictions, TASK, 0.5, 100)
            for name, value in truth.items():
                interval = found[name]
                assert interval is not None
                covered[name, known] += interval[0] <= value <= interval[1]
    for name in truth:
        assert COVERED[0] - 0.02 <= covered[name, True] / 200 <= COVERED[1], name
        assert covered[name, False] / 80 < 0.75, name


def test_perfect_figures_are_not_taken_for_certain() -> None:
    labels = np.repeat([0, 1], [40, 20])
    found = intervals.bootstrap_intervals(table(labels, labels * 6.0 - 3), TASK, 0.5, 100)
    assert found["accuracy"] == confidence.wilson(1.0, 60)
    assert found["recall"] == found["roc_auc"] == found["precision"] == confidence.wilson(1.0, 20)
    assert found["specificity"] == confidence.wilson(1.0, 40)
    assert found["eer"] == confidence.wilson(0.0, 20)


def test_perfect_figures_of_few_groups_say_little() -> None:
    labels = np.repeat([0, 1], 100)
    groups: list[str | None] = [f"v{number // 20}" for number in range(200)]
    found = intervals.bootstrap_intervals(table(labels, labels * 6.0 - 3, groups), TASK, 0.5, 100)
    assert found["roc_auc"] == confidence.wilson(1.0, 5)


def test_too_few_units_have_no_interval() -> None:
    few = table(*scores(9))
    assert set(intervals.bootstrap_intervals(few, TASK, 0.5, 20).values()) == {None}
    labels, logits = scores(90)
    groups: list[str | None] = [f"v{number // 10}" for number in range(90)]
    found = intervals.bootstrap_intervals(table(labels, logits, groups), TASK, 0.5, 20)
    assert set(found.values()) == {None}
    nothing = table(*scores(20)).slice(0, 0)
    assert set(intervals.bootstrap_intervals(nothing, TASK, 0.5, 20).values()) == {None}


def test_a_figure_that_resamples_leave_undefined_has_no_interval() -> None:
    labels = np.zeros(50, np.int64)
    labels[0] = 1  # in a third of the resamples there is no positive image
    found = intervals.bootstrap_intervals(table(labels, scores(50)[1]), TASK, 0.5, 100)
    assert found["roc_auc"] is None
    assert found["recall"] is None
    assert found["accuracy"] is not None
    one_class = intervals.bootstrap_intervals(table(labels[1:], scores(49)[1]), TASK, 0.5, 50)
    assert one_class["average_precision"] is None
    assert one_class["specificity"] is not None


def test_resamples_are_bounded_where_rows_are_many() -> None:
    assert intervals.affordable_resamples(10_000) == 1000
    assert intervals.affordable_resamples(10**6) == 300
    assert intervals.affordable_resamples(10**8) == intervals.MIN_RESAMPLES
    assert intervals.affordable_resamples(10**8, wanted=20) == 20
    assert intervals.affordable_resamples(0) == 1000


def test_resamples_of_many_rows_stay_quick() -> None:
    labels, logits = scores(100_000)
    codes = np.arange(len(labels))
    ranked = LabelledScores.from_table(table(labels, logits), TASK, 0.5, codes)
    start = time.perf_counter()
    for weights in intervals.resample_weights(len(codes), 20):
        weighted_metrics(ranked, weights)
    assert time.perf_counter() - start < 2  # about 0.1 s on one core


def test_wilson_agrees_with_scipy() -> None:
    for right, total in ((0, 7), (3, 11), (400, 1000), (50, 50)):
        expected = scipy.stats.binomtest(right, total).proportion_ci(method="wilson")
        assert confidence.wilson(right / total, total) == pytest.approx(tuple(expected), abs=1e-12)


def test_share_interval_of_images_without_groups_is_wilsons() -> None:
    flags = np.arange(40) % 3 == 0
    assert confidence.share_interval(flags, np.arange(40)) == confidence.wilson(14 / 40, 40)
    assert confidence.share_interval(flags[:0], np.arange(0)) is None


def test_share_interval_of_equal_frames_is_that_of_the_videos() -> None:
    right = np.random.default_rng(2).random(50) < 0.7
    units = np.repeat(np.arange(50), 6)
    found = confidence.share_interval(np.repeat(right, 6), units)
    assert found == pytest.approx(confidence.wilson(float(right.mean()), 49), abs=1e-12)
    assert confidence.share_interval(np.ones(30, bool), units[:30]) == confidence.wilson(1.0, 5)
    one_video = confidence.share_interval(np.arange(6) < 4, np.zeros(6, np.int64))
    assert one_video == confidence.wilson(4 / 6, 1)


def delong_variance(positives: Array, negatives: Array) -> float:
    """DeLong's variance by the definition, all pairs compared."""
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    spread = np.var(wins.mean(axis=1), ddof=1), np.var(wins.mean(axis=0), ddof=1)
    return float(spread[0] / len(positives) + spread[1] / len(negatives))


def test_auc_interval_is_delongs_on_the_scale_of_log_odds() -> None:
    labels, logits = scores(200)
    positives, negatives = logits[labels == 1], logits[labels == 0]
    codes = np.arange(200)
    found = confidence.auc_interval(positives, negatives, codes[labels == 1], codes[labels == 0])
    area = reference.roc_auc_score(labels, logits)
    half = 1.959964 * math.sqrt(delong_variance(positives, negatives)) / (area * (1 - area))
    expected = scipy.special.expit(scipy.special.logit(area) + np.array([-half, half]))
    # Obuchowski's cross term is zero only in the mean where no unit holds both classes.
    assert found == pytest.approx(tuple(expected), abs=1e-5)


def test_auc_interval_over_groups_covers_where_that_over_images_does_not() -> None:
    truth = scipy.stats.norm.cdf(1.4 / (math.sqrt(1 + 0.3**2) * math.sqrt(2)))
    random = np.random.default_rng(13)
    units, alone = np.repeat(np.arange(60), 8), np.arange(480)
    covered = [0, 0]
    for _ in range(400):
        labels, logits = videos(random, 60, 8)
        for number, codes in enumerate((units, alone)):
            one, zero = labels == 1, labels == 0
            found = confidence.auc_interval(logits[one], logits[zero], codes[one], codes[zero])
            assert found is not None
            covered[number] += found[0] <= truth <= found[1]
    assert COVERED[0] <= covered[0] / 400 <= COVERED[1]
    assert covered[1] / 400 < 0.75


def test_auc_interval_keeps_a_width_where_the_ranking_is_perfect() -> None:
    codes = np.arange(30)
    perfect = confidence.auc_interval(np.ones(10), np.zeros(20), codes[:10], codes[10:])
    assert perfect == confidence.wilson(1.0, 10)
    assert confidence.auc_interval(np.ones(1), np.zeros(20), codes[:1], codes[10:]) is None
