"""Calibration: against independent fits, and that it does good where it was not fitted."""

import json
import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation import calibration
from faceproof.evaluation.calibration import Calibration, calibrated, fit_calibration
from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.predictions import predictions_table, probabilities_of
from faceproof.evaluation.scores import LabelledScores, WeightedScores

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def overconfident(num_rows: int, seed: int = 0, temperature: float = 2.5) -> tuple[Labels, Array]:
    """Logits that are too large by a factor, so that the right temperature is known."""
    random = np.random.default_rng(seed)
    right = random.normal(0, 2, num_rows)
    labels = (random.random(num_rows) < scipy.special.expit(right)).astype(np.int64)
    return labels, right * temperature


def bent(num_rows: int, seed: int = 0) -> tuple[Labels, Array]:
    """Logits whose relation to the truth no temperature can mend."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, num_rows)
    share = np.where(logits < 1, 0.1, 0.7)
    return (random.random(num_rows) < share).astype(np.int64), logits


def error(labels: Labels, probabilities: Array) -> float:
    nothing = np.zeros(len(labels))  # logits and decisions do not matter
    scores = LabelledScores.from_arrays(labels, nothing, probabilities, nothing > 0)
    found = METRICS["ece"](WeightedScores(scores))
    assert found is not None
    return found


def test_temperature_is_that_of_a_logistic_regression_with_one_weight() -> None:
    labels, logits = overconfident(3000)
    num_positive = labels.sum()
    sure = (num_positive + 1) / (num_positive + 2)
    target = np.where(labels == 1, sure, 1 / (len(labels) - num_positive + 2))
    # Each image twice: as positive with the weight of its target, as negative with the rest.
    reference = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-10).fit(
        np.concatenate([logits, logits])[:, None],
        np.repeat([1, 0], len(labels)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    found = fit_calibration(labels, logits, "temperature")
    assert found.temperature == pytest.approx(1 / reference.coef_[0, 0], rel=1e-4)
    assert found.temperature == pytest.approx(2.5, rel=0.1)


def test_isotonic_is_sklearns_but_never_certain() -> None:
    labels, logits = bent(2000)
    found = fit_calibration(labels, logits, "isotonic")
    reference = IsotonicRegression(out_of_bounds="clip").fit(logits, labels)
    new = np.linspace(-9, 9, 500)
    expected = np.clip(reference.predict(new), 1 / 2002, 1 - 1 / 2002)
    assert found.apply(new) == pytest.approx(expected, abs=1e-3)
    assert found.apply(np.array([-1e9, 1e9])).min() == 1 / 2002


@pytest.mark.parametrize("make", [overconfident, bent])
@pytest.mark.parametrize("method", ["auto", "temperature", "isotonic"])
def test_calibration_error_falls_on_images_that_were_not_seen(make: object, method: str) -> None:
    assert callable(make)
    found = fit_calibration(*make(3000, seed=1), method)
    labels, logits = make(5000, seed=2)
    before = error(labels, scipy.special.expit(logits))
    after = error(labels, found.apply(logits))
    # One parameter does not mend what is bent, but it does no harm.
    assert after < (1.0 if method == "temperature" and make is bent else 0.5) * before


def test_auto_takes_isotonic_only_where_it_is_better_and_images_suffice() -> None:
    assert fit_calibration(*bent(4000)).method == "isotonic"
    assert fit_calibration(*overconfident(4000)).method == "temperature"
    few = fit_calibration(*bent(1200))
    assert few.method == "temperature"
    assert "isotonic needs 500 images of each class" in few.reason
    assert "cross-validated loss" in fit_calibration(*bent(4000)).reason


def test_auto_holds_out_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten frames of a video have nearly one logit and one label: a free-form map learns the videos.
    random = np.random.default_rng(5)
    logits = np.repeat(random.normal(0, 2, 300), 10) + random.normal(0, 1e-3, 3000)
    labels = np.repeat((random.random(300) < scipy.special.expit(logits[::10])), 10).astype(int)
    assert fit_calibration(labels, logits).method == "isotonic"
    units = np.arange(3000) // 10
    monkeypatch.setattr(calibration, "MIN_ISOTONIC", 100)
    assert fit_calibration(labels, logits, units=units).method == "temperature"


def test_auto_counts_groups_and_not_their_frames() -> None:
    labels, logits = bent(4000)
    found = fit_calibration(labels, logits, units=np.arange(4000) // 10 * 2 + labels)
    assert found.method == "temperature"
    assert "isotonic needs 500 independent groups of each class" in found.reason


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_frames_add_no_certainty(method: str) -> None:
    """A hundred frames of each video claim as much as one."""
    logits = np.linspace(-5, 5, 40)
    labels = (logits > 0).astype(np.int64)
    once = fit_calibration(labels, logits, method)
    often = fit_calibration(
        np.repeat(labels, 100), np.repeat(logits, 100), method, np.repeat(np.arange(40), 100)
    )
    places = np.array([-50.0, 50.0])
    assert often.apply(places) == pytest.approx(once.apply(places), rel=1e-3)


@pytest.mark.parametrize("separation", [1e-3, 5.0, 500.0])
def test_separable_images_leave_the_temperature_bounded(separation: float) -> None:
    labels = np.repeat([0, 1], 50)
    found = fit_calibration(labels, (2 * labels - 1) * separation, "temperature")
    low, high = calibration.TEMPERATURES
    assert low <= found.temperature <= high
    if separation == 5:  # inside of the bounds it is the rule of succession that holds it
        assert found.apply(np.array([5.0])) == pytest.approx(51 / 52, abs=1e-6)


def test_logits_that_say_the_opposite_become_as_good_as_none() -> None:
    labels, logits = overconfident(500)
    found = fit_calibration(labels, -logits, "temperature")
    assert found.temperature == pytest.approx(calibration.TEMPERATURES[1], rel=1e-3)


LOGITS = st.lists(st.floats(-60, 60, width=32), min_size=4, max_size=60)


@given(logits=LOGITS, method=st.sampled_from(["temperature", "isotonic"]), data=st.data())
def test_no_ranking_is_reversed_and_equal_stays_equal(
    logits: list[float], method: str, data: st.DataObject
) -> None:
    values = np.array(logits)
    rest = data.draw(st.lists(st.booleans(), min_size=len(values) - 2, max_size=len(values) - 2))
    labels = np.array([0, 1, *map(int, rest)])
    found = fit_calibration(labels, values, method)
    new = np.sort(np.concatenate([values, values + 1e-6, np.linspace(-70, 70, 300)]))
    probabilities = found.apply(new)
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert np.array_equal(found.apply(values), found.apply(values.copy()[::-1])[::-1])


@pytest.mark.parametrize("method", ["auto", "temperature", "isotonic"])
def test_the_fit_does_not_depend_on_the_order_of_rows(method: str) -> None:
    labels, logits = overconfident(1500)
    units = np.arange(1500) // 3
    order = np.random.default_rng(0).permutation(1500)
    assert fit_calibration(labels[order], logits[order], method, units[order]) == (
        fit_calibration(labels, logits, method, units)
    )


def test_none_is_the_sigmoid_and_needs_no_images() -> None:
    found = fit_calibration(np.empty(0, np.int64), np.empty(0), "none")
    logits = np.array([-800.0, -1.0, 0.0, 30.0])
    assert np.array_equal(found.apply(logits), scipy.special.expit(logits))
    assert found.apply(logits).dtype == np.float64


def test_calibrated_predictions_keep_all_but_the_probability() -> None:
    rows = table_from_columns({"path": ["/a.png", "/b.png"]})
    table = predictions_table(rows, np.array([2.0, -4.0]), np.array([0.1, 0.2]))
    found = calibrated(table, Calibration("temperature", 2.0))
    assert found.schema == table.schema
    assert found.drop_columns("probability").equals(table.drop_columns("probability"))
    assert probabilities_of(found) == pytest.approx(scipy.special.expit([1.0, -2.0]), abs=1e-7)


@pytest.mark.parametrize("method", calibration.METHODS)
def test_a_map_is_written_and_read_back_equal(method: str) -> None:
    found = fit_calibration(*overconfident(1500), method)
    again = Calibration.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again == found


@pytest.mark.parametrize(
    "change",
    [
        {"method": "platt"},
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"method": "isotonic"},
        {"knots": [[0.0, 0.5]]},
        {"method": "isotonic", "knots": [[0.0, 0.5], [1.0, 0.4]]},
        {"method": "isotonic", "knots": [[0.0, 0.5], [0.0, 0.6]]},
        {"method": "isotonic", "knots": [[0.0, 0.5], [1.0, 1.5]]},
        {"slope": 3},
    ],
)
def test_what_is_no_map_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FaceproofError, match="calibration"):
        Calibration.from_json(Calibration().to_json() | change)


def test_one_class_and_unknown_methods_are_refused() -> None:
    with pytest.raises(FaceproofError, match="found 0 negative and 3 positive"):
        fit_calibration(np.ones(3, np.int64), np.zeros(3))
    with pytest.raises(FaceproofError, match="found 'platt'"):
        fit_calibration(np.array([0, 1]), np.zeros(2), "platt")
