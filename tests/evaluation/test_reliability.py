"""Calibration error, reliability and risk against coverage, each against its definition."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from faceproof.evaluation import reliability
from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import wilson

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

EMPTY = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
ROWS = st.lists(st.tuples(st.booleans(), SHARES), min_size=1, max_size=50)


def calibration_error(labels: Labels, probabilities: Array) -> float | None:
    nothing = np.zeros(len(labels))  # logits and decisions do not matter
    scores = LabelledScores.from_arrays(labels, nothing, probabilities, nothing > 0)
    return METRICS["ece"](WeightedScores(scores))


def drawn(rows: list[tuple[bool, float]]) -> tuple[Labels, Array]:
    return np.array([int(label) for label, _ in rows]), np.array([share for _, share in rows])


def told(num_rows: int, seed: int = 0) -> tuple[Labels, Array]:
    """Probabilities that are right."""
    random = np.random.default_rng(seed)
    probabilities = scipy.special.expit(random.normal(0, 2, num_rows))
    return (random.random(num_rows) < probabilities).astype(np.int64), probabilities


def test_calibration_error_is_that_of_a_plain_loop_over_bins() -> None:
    labels, probabilities = told(1500)
    claimed = probabilities**2
    expected = 0.0
    for rows in np.array_split(np.argsort(claimed), 15):
        expected += len(rows) * abs(claimed[rows].mean() - labels[rows].mean())
    found = calibration_error(labels, claimed)
    assert found == pytest.approx(expected / 1500, abs=1e-12)


def test_calibration_error_by_chance_is_what_right_probabilities_show() -> None:
    found = [
        (
            calibration_error(*told(2000, seed)),
            reliability.calibration_error_by_chance(*told(2000, seed), np.arange(2000)),
        )
        for seed in range(60)
    ]
    seen, expected = np.array(found, np.float64).mean(axis=0)
    assert seen == pytest.approx(expected, rel=0.05)


def test_calibration_error_by_chance_grows_with_groups() -> None:
    """Frames of one video share their label and nearly their score: 100 videos of 20 frames."""
    units, found = np.repeat(np.arange(100), 20), []
    for seed in range(60):
        labels, probabilities = (np.repeat(values, 20) for values in told(100, seed))
        shaken = probabilities + np.random.default_rng(seed).normal(0, 1e-4, 2000)
        probabilities = np.clip(shaken, 1e-6, 1 - 1e-6)
        seen = calibration_error(labels, probabilities)
        alone, together = (
            reliability.calibration_error_by_chance(labels, probabilities, codes)
            for codes in (np.arange(2000), units)
        )
        found.append((seen, alone, together))
    seen_, alone_, together_ = np.array(found, np.float64).mean(axis=0)
    assert alone_ < 0.4 * seen_
    assert together_ == pytest.approx(seen_, rel=0.2)


def test_calibration_error_of_one_class_is_undefined() -> None:
    assert calibration_error(np.ones(9, np.int64), np.ones(9)) is None
    assert calibration_error(np.empty(0, np.int64), np.empty(0)) is None
    assert reliability.calibration_error_by_chance(*EMPTY) is None


@given(rows=ROWS, seed=st.integers(0, 2**16))
def test_bins_hold_every_image_once_and_do_not_split_equal_ones(
    rows: list[tuple[bool, float]], seed: int
) -> None:
    labels, probabilities = drawn(rows)
    units = np.arange(len(labels))
    table = reliability.reliability_table(labels, probabilities, units)
    assert sum(row.num_images for row in table) == len(labels)
    assert len(table) <= reliability.NUM_BINS
    for below, above in itertools.pairwise(table):
        assert below.high < above.low
    error = sum(
        row.num_images * abs(row.mean_probability - row.share_positive) for row in table
    ) / len(labels)
    found = calibration_error(labels, probabilities)
    assert found is None or found == pytest.approx(error, abs=1e-12)
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order], probabilities[order]
    assert reliability.reliability_table(*shuffled, units[order]) == table
    assert calibration_error(*shuffled) == found
    areas = [reliability.risk_coverage_area(*scored, 0.5) for scored in (shuffled, drawn(rows))]
    assert areas[0] == areas[1]


def test_a_bin_says_what_was_so_with_its_interval() -> None:
    labels, probabilities = np.array([0, 0, 1, 1, 1]), np.array([0.2, 0.2, 0.2, 0.9, 0.9])
    first, second = reliability.reliability_table(labels, probabilities, np.arange(5))
    assert (first.low, first.high, first.num_images) == (0.2, 0.2, 3)
    assert first.share_positive == pytest.approx(1 / 3)
    assert first.interval == wilson(1 / 3, 3)
    assert (second.mean_probability, second.share_positive) == (0.9, 1.0)
    assert reliability.reliability_table(labels[:0], probabilities[:0], np.arange(0)) == []


def test_risk_falls_with_coverage_as_by_a_plain_loop() -> None:
    labels, probabilities = told(500)
    threshold = 0.7
    coverage, risk, least = reliability.risk_coverage(labels, probabilities, threshold)
    called = probabilities >= threshold
    sure = np.where(called, probabilities, 1 - probabilities).astype(np.float32)
    for share, wrong, cut in zip(coverage, risk, least, strict=True):
        answered = sure >= cut
        assert share == answered.mean()
        assert wrong == pytest.approx((called != (labels == 1))[answered].mean(), abs=1e-12)
    assert coverage[-1] == 1


def test_risk_coverage_area_is_the_mean_over_coverages() -> None:
    # Confidences 0.9, 0.8, 0.7, 0.6, the second and the last wrong.
    labels, probabilities = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6])
    expected = np.mean([0, 1 / 2, 1 / 3, 2 / 4])
    assert reliability.risk_coverage_area(labels, probabilities, 0.5) == pytest.approx(expected)
    # All equally sure: every order alike, so the error rate at every coverage.
    flat = reliability.risk_coverage_area(labels, np.full(4, 0.9), 0.5)
    assert flat == pytest.approx(0.5)
    assert reliability.risk_coverage_area(labels[:0], probabilities[:0], 0.5) is None


def test_the_unsure_band_holds_its_low_end_and_not_its_high_one() -> None:
    flags = reliability.unsure_flags(np.array([0.2, 0.3, 0.5, 0.7]), (0.3, 0.7))
    assert flags.tolist() == [False, True, True, False]
    assert not reliability.unsure_flags(np.array([0.5]), (0.5, 0.5)).any()
