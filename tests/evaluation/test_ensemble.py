"""Ensembles: the arithmetic of averaging, and fitted weights."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special

from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration, fit_calibration
from faceproof.evaluation.ensemble import AVERAGES, combine, fit_weights

PLAIN = Calibration()
TEN = Calibration("temperature", 10.0)
KNOTS = Calibration("isotonic", knots=((-1.0, 0.1), (1.0, 0.7)))


def test_probabilities_are_averaged_after_calibration() -> None:
    first, second = np.array([2.0, -1.0]), np.array([5.0, 0.5])
    mean = 0.25 * special.expit(first) + 0.75 * special.expit(second / 10)
    found = combine([first, second], [PLAIN, TEN], [0.25, 0.75], "probability")
    np.testing.assert_allclose(special.expit(found), mean, rtol=1e-12)


def test_logits_are_averaged_after_calibration() -> None:
    first, second = np.array([2.0, -1.0]), np.array([5.0, 0.5])
    found = combine([first, second], [PLAIN, TEN], [0.25, 0.75], "logit")
    np.testing.assert_allclose(found, 0.25 * first + 0.75 * second / 10, rtol=1e-12)


def test_a_free_form_calibration_counts_by_its_probabilities() -> None:
    found = combine([np.array([0.0, 9.0])], [KNOTS], [1.0], "probability")
    np.testing.assert_allclose(special.expit(found), [0.4, 0.7], rtol=1e-12)


def test_members_that_are_sure_do_not_saturate() -> None:
    logits = [np.array([60.0, 61.0, -60.0]), np.array([80.0, 80.0, -80.0])]
    for average in AVERAGES:
        found = combine(logits, [PLAIN, PLAIN], [0.5, 0.5], average)
        assert np.isfinite(found).all()
        assert found[1] > found[0] > 50
        assert found[2] < -50


@given(
    st.lists(st.floats(-30, 30), min_size=3, max_size=3),
    st.floats(0, 1),
    st.sampled_from(AVERAGES),
)
@example(logits=[0.0, 1.0, 2.0], share=2.2e-313, average="probability")
def test_an_average_lies_between_its_members(
    logits: list[float], share: float, average: str
) -> None:
    first, second = np.array(logits), np.array(logits[::-1])
    found = combine([first, second], [PLAIN, PLAIN], [share, 1 - share], average)
    assert (found <= np.maximum(first, second) + 1e-6).all()
    assert (found >= np.minimum(first, second) - 1e-6).all()


@pytest.mark.parametrize("average", AVERAGES)
def test_fitted_weights_leave_out_a_member_that_knows_nothing(average: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    signs = 2 * labels - 1.0
    knowing = signs + rng.normal(size=4000)
    guessing = rng.normal(size=4000)
    calibrations = [fit_calibration(labels, one, "temperature") for one in (knowing, guessing)]
    weights = fit_weights(labels, [knowing, guessing], calibrations, average)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.9


@pytest.mark.parametrize("average", AVERAGES)
def test_fitted_weights_are_the_best_of_a_grid(average: str) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 3000)
    members = [scale * (2 * labels - 1.0) + rng.normal(size=3000) for scale in (0.6, 1.0)]
    calibrations = [fit_calibration(labels, one, "temperature") for one in members]
    fitted = fit_weights(labels, members, calibrations, average)

    def loss(share: float) -> float:
        combined = combine(members, calibrations, [share, 1 - share], average)
        return float(-special.log_expit((2 * labels - 1) * combined).mean())

    grid = np.linspace(0, 1, 201)
    assert loss(fitted[0]) <= min(map(loss, grid)) + 1e-6
    assert loss(fitted[0]) < min(loss(0.0), loss(1.0))


@pytest.mark.parametrize(
    ("weights", "average", "words"),
    [
        ([0.5, 0.6], "logit", "sum to 1"),
        ([-0.5, 1.5], "logit", "from 0 on"),
        ([0.5], "logit", "1 weights"),
        ([0.5, 0.5], "median", "found 'median'"),
    ],
)
def test_weights_and_averages_that_are_none_are_refused(
    weights: list[float], average: str, words: str
) -> None:
    with pytest.raises(FaceproofError, match=words):
        combine([np.zeros(2), np.zeros(2)], [PLAIN, PLAIN], weights, average)
