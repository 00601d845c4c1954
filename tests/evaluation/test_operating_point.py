"""The operating point: thresholds against a search over all, the band, and what is stored."""

import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import scipy.special
import sklearn.metrics as reference
from hypothesis import example, given
from hypothesis import strategies as st

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation import operating_point
from faceproof.evaluation.operating_point import (
    DEFAULT,
    OperatingPoint,
    ThresholdConfig,
    fit_operating_point,
    in_use,
    with_other_band,
)
from faceproof.evaluation.predictions import is_positive, predictions_table
from faceproof.evaluation.reliability import unsure_flags
from faceproof.io.parse import parse
from faceproof.task import get_task

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def scores(num_rows: int = 800, seed: int = 4, gap: float = 2.0) -> tuple[Labels, Array]:
    random = np.random.default_rng(seed)
    labels = (random.random(num_rows) < 0.4).astype(np.int64)
    return labels, np.round(random.normal((labels - 0.5) * gap, 1.2), 1)


def fit(
    labels: Labels,
    logits: Array,
    calibration: str = "auto",
    criterion: str = "youden",
    fpr: float | None = None,
    threshold: float | None = None,
    max_risk: float | None = operating_point.MAX_RISK,
) -> OperatingPoint:
    config = ThresholdConfig(criterion, fpr, threshold, calibration, max_risk)
    return fit_operating_point(labels, logits, config)


def stored(point: OperatingPoint, logits: Array) -> Array:
    """Return the probabilities as the predictions table holds them."""
    return point.calibration.apply(logits).astype(np.float32).astype(np.float64)


def rates(labels: Labels, called: npt.NDArray[np.bool_]) -> tuple[float, float]:
    return float(called[labels == 0].mean()), float(called[labels == 1].mean())


def test_youden_is_the_best_of_all_thresholds() -> None:
    labels, logits = scores()
    point = fit(labels, logits, "temperature", "youden")
    fpr, tpr = rates(labels, is_positive(stored(point, logits), point.threshold))
    false_positives, true_positives, _ = reference.roc_curve(labels, logits)
    assert tpr - fpr == pytest.approx((true_positives - false_positives).max(), abs=1e-12)


def test_f1_is_the_best_of_all_thresholds() -> None:
    labels, logits = scores()
    point = fit(labels, logits, "temperature", "f1")
    called = is_positive(stored(point, logits), point.threshold)
    best = max(reference.f1_score(labels, logits >= cut) for cut in np.unique(logits))
    assert reference.f1_score(labels, called) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("method", ["none", "temperature", "isotonic"])
def test_fpr_is_kept_and_the_next_lower_threshold_would_not_keep_it(method: str) -> None:
    labels, logits = scores(3000)
    point = fit(labels, logits, method, "fpr", fpr=0.05)
    probabilities = stored(point, logits)
    assert rates(labels, is_positive(probabilities, point.threshold))[0] <= 0.05
    lower = probabilities[probabilities < point.threshold].max()
    assert rates(labels, is_positive(probabilities, lower))[0] > 0.05
    assert (point.promised_fpr, point.criterion) == (0.05, "fpr")
    assert not any("promises little" in warning for warning in point.warnings)


def test_fpr_allows_exactly_that_many_false_positives() -> None:
    labels = np.repeat([0, 1], [100, 50])
    logits = np.concatenate([np.linspace(-5, 3, 100), np.linspace(2, 5, 50)])
    point = fit(labels, logits, "none", "fpr", fpr=0.03)
    assert point.false_positives == 3


def test_too_few_negatives_to_promise_a_rate_are_told() -> None:
    labels, logits = scores(120)
    (warning,) = (
        text
        for text in fit(labels, logits, "none", "fpr", fpr=0.01).warnings
        if "promises little" in text
    )
    assert f"{np.count_nonzero(labels == 0)} negative images, and it takes 100" in warning
    enough = fit(labels, logits, "none", "fpr", fpr=0.1)
    assert not any("promises little" in text for text in enough.warnings)


def test_frames_of_few_videos_promise_no_rate() -> None:
    labels, logits = scores(2000)
    config = ThresholdConfig("fpr", 0.01)
    point = fit_operating_point(labels, logits, config, units=np.arange(2000) // 100)
    (warning,) = (text for text in point.warnings if "promises little" in text)
    assert "negative images of 20 independent groups, and it takes 100" in warning
    assert "the rate is that of these few groups" in warning
    assert not any(
        "promises little" in text for text in fit_operating_point(labels, logits, config).warnings
    )


def test_a_rate_out_of_reach_is_told_and_not_claimed() -> None:
    labels = np.repeat([0, 1], 20)
    logits = np.full(40, 60.0)  # every probability is stored as 1
    point = fit(labels, logits, "none", "fpr", fpr=0.05)
    assert point.false_positives == 20
    assert any("No threshold keeps" in text for text in point.warnings)


def test_a_threshold_stands_between_scores_and_midway() -> None:
    labels, logits = np.array([0, 0, 1, 1]), scipy.special.logit([0.1, 0.2, 0.6, 0.9])
    for criterion in ("youden", "f1", "fpr"):
        point = fit(labels, logits, "none", criterion, fpr=0.3 if criterion == "fpr" else None)
        assert point.threshold == pytest.approx(0.4, abs=1e-7)
        assert (point.false_positives, point.false_negatives) == (0, 0)


def test_equally_good_thresholds_resolve_to_the_fewest_false_alarms() -> None:
    labels, logits = np.array([0, 1, 0, 1]), scipy.special.logit([0.2, 0.4, 0.6, 0.8])
    point = fit(labels, logits, "none", "youden")
    assert point.threshold == pytest.approx(0.7, abs=1e-7)


def test_a_detector_no_better_than_chance_is_told() -> None:
    labels, logits = scores()
    point = fit(labels, -logits * 9, "none", "youden")
    assert any("chance" in text for text in point.warnings)


def test_a_fixed_threshold_stays() -> None:
    point = fit(*scores(), "temperature", "fixed", threshold=0.35)
    assert (point.threshold, point.criterion, point.promised_fpr) == (0.35, "fixed", None)


ROWS = st.lists(st.tuples(st.booleans(), st.floats(-50, 50, width=32)), min_size=2, max_size=60)


@given(
    rows=ROWS,
    criterion=st.sampled_from(operating_point.CRITERIA),
    method=st.sampled_from(["none", "temperature", "isotonic"]),
    max_risk=st.sampled_from([0.01, 0.1, 0.3]),
)
# Here 1 - p of two stored probabilities rounds to other sides of the edge.
@example(
    rows=[(False, 0.0), (False, -1.5), (True, 0.0), (True, 2.0), (True, -1.0)],
    criterion="youden",
    method="temperature",
    max_risk=0.01,
)
def test_what_was_promised_of_validation_holds_of_its_stored_probabilities(
    rows: list[tuple[bool, float]], criterion: str, method: str, max_risk: float
) -> None:
    labels = np.array([0, 1, *(int(label) for label, _ in rows)])
    logits = np.array([-1.0, 1.0, *(logit for _, logit in rows)])
    fpr = 0.2 if criterion == "fpr" else None
    point = fit(labels, logits, method, criterion, fpr=fpr, max_risk=max_risk)
    probabilities = stored(point, logits)
    called = is_positive(probabilities, point.threshold)
    assert point.false_positives == np.count_nonzero(called & (labels == 0))
    assert point.false_negatives == np.count_nonzero(~called & (labels == 1))
    low, high = point.unsure
    assert 0 <= low <= point.threshold <= high <= 1
    answered = ~unsure_flags(probabilities, point.unsure)
    assert answered.mean() >= operating_point.MIN_COVERAGE
    error = np.mean((called != (labels == 1))[answered])
    told = any("Too many wrong answers: " in text for text in point.warnings)
    assert told == (error > max_risk)
    if criterion != "fixed":
        assert point.threshold not in set(probabilities) - {0.0, 1.0}
    assert OperatingPoint.from_json(json.loads(json.dumps(point.to_json()))) == point


def test_the_band_is_the_narrowest_that_keeps_the_risk() -> None:
    labels, logits = scores(2000, gap=4)
    point = fit(labels, logits, "temperature", "youden", max_risk=0.02)
    probabilities = stored(point, logits)
    called = is_positive(probabilities, point.threshold)
    wrong = called != (labels == 1)
    answered = ~unsure_flags(probabilities, point.unsure)
    assert 0.5 < answered.mean() < 1
    assert wrong[answered].mean() <= 0.02
    sure = np.where(called, probabilities, 1 - probabilities).astype(np.float32)
    for cut in np.unique(sure):
        if (sure >= cut).sum() > answered.sum():
            assert wrong[sure >= cut].mean() > 0.02


def test_no_band_is_needed_where_errors_are_rare_enough() -> None:
    labels = np.repeat([0, 1], 50)
    point = fit(labels, (labels - 0.5) * 8, "temperature")
    assert point.unsure == (point.threshold, point.threshold)
    assert point.warnings == ()


def test_a_band_that_would_leave_out_more_than_half_is_capped_and_told() -> None:
    point = fit(*scores(gap=0.5), "temperature", max_risk=0.01)
    (warning,) = point.warnings
    assert warning == point.risk_warning
    assert "threshold.max_risk wants at most 1.00%, and even half of the images called" in warning


def test_without_a_risk_there_is_no_band() -> None:
    point = fit(*scores(gap=0.5), "temperature", max_risk=None)
    assert (point.max_risk, point.unsure) == (None, (point.threshold, point.threshold))
    assert point.warnings == ()
    assert OperatingPoint.from_json(json.loads(json.dumps(point.to_json()))) == point


def test_the_warning_of_an_earlier_version_is_known_and_replaced() -> None:
    labels, logits = scores(gap=1.0)
    point = fit(labels, logits, "none", max_risk=0.01)
    old = "Outside of the unsure band 3.00% of the validation images are called wrongly."
    found = replace(point, warnings=(old,))
    assert (found.risk_warning, found.keeps_risk) == (old, False)
    names = np.array(["real", "fake"])[labels].tolist()
    columns = {
        "path": [str(n) for n in range(len(labels))], "label": names,
        "split": ["val"] * len(labels), "source": ["s"] * len(labels),
    }  # fmt: skip
    predictions = predictions_table(
        table_from_columns(columns), logits, point.calibration.apply(logits)
    )
    assert with_other_band(found, predictions, get_task("deepfake"), 0.01) == point


def test_another_band_leaves_calibration_and_threshold_as_they_are() -> None:
    labels, logits = scores(gap=1.0)
    names = np.array(["real", "fake"])[labels].tolist()
    columns = {
        "path": [str(n) for n in range(len(labels))], "label": names,
        "split": ["val"] * len(labels), "source": ["s"] * len(labels),
    }  # fmt: skip
    strict = fit(labels, logits, "temperature", max_risk=0.01)
    assert strict.warnings
    predictions = predictions_table(
        table_from_columns(columns), logits, strict.calibration.apply(logits)
    )
    for max_risk in (0.3, None, 0.02):
        other = with_other_band(strict, predictions, get_task("deepfake"), max_risk)
        assert other == fit(labels, logits, "temperature", max_risk=max_risk)


def test_a_point_that_does_not_name_its_risk_aimed_at_one_in_a_hundred() -> None:
    values = fit(*scores(), "temperature").to_json()
    del values["max_risk"]
    assert OperatingPoint.from_json(values).max_risk == 0.01
    read: OperatingPoint = parse(OperatingPoint, json.loads(json.dumps(values)))
    assert read.max_risk == 0.01


@pytest.mark.parametrize(
    ("share", "error", "words"),
    [
        (
            0.52,
            0.052,
            "it answers 48.0% of the images, 5.2% of those wrongly, and calls the others",
        ),
        (0.0, 0.25, "it answers every image, 25.0% of them wrongly"),
        (1.0, None, "it answers no image"),
    ],
)
def test_what_it_does_in_use_is_said(share: float, error: float | None, words: str) -> None:
    assert in_use(share, error).startswith(words)


def test_the_promise_holds_on_new_images_about_as_promised() -> None:
    random = np.random.default_rng(1)
    labels = np.arange(40_000) % 2
    logits = random.normal(labels * 2.0 - 1, 1.2)
    seen, new = slice(0, 20_000), slice(20_000, None)
    point = fit(labels[seen], logits[seen], "temperature", "fpr", fpr=0.05)
    fpr, _ = rates(labels[new], is_positive(stored(point, logits[new]), point.threshold))
    assert fpr == pytest.approx(0.05, abs=0.006)  # two standard errors, of either half


def test_the_fit_does_not_depend_on_the_order_of_rows() -> None:
    labels, logits = scores(1500)
    order = np.random.default_rng(0).permutation(1500)
    for criterion in operating_point.CRITERIA:
        found = fit(labels[order], logits[order], "auto", criterion)
        assert found == fit(labels, logits, "auto", criterion)


def test_the_default_is_tuned_on_nothing() -> None:
    assert (DEFAULT.threshold, DEFAULT.calibration.method) == (0.5, "none")
    assert DEFAULT.unsure == (0.5, 0.5)
    assert "not tuned on anything" in DEFAULT.origin
    assert OperatingPoint.from_json(DEFAULT.to_json()) == DEFAULT


@pytest.mark.parametrize(
    ("criterion", "words"),
    [("youden", "true-positive minus"), ("f1", "F1"), ("fpr", "at most 0.01"), ("fixed", "given")],
)
def test_the_origin_says_what_it_was_fitted_to(criterion: str, words: str) -> None:
    labels, logits = scores()
    origin = fit(labels, logits, "none", criterion).origin
    assert words in origin
    assert f"{np.count_nonzero(labels):,} positive validation images" in origin


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "faceproof operating point 2"}, "no operating point of this version"),
        ({"format": None}, "no operating point of this version"),
        ({"note": 1}, "should not have"),
        ({"threshold": 1.2}, "makes no sense"),
        ({"threshold": float("nan")}, "makes no sense"),
        ({"unsure": [0.6, 0.7]}, "makes no sense"),
        ({"criterion": "luck"}, "makes no sense"),
        ({"calibration": {}}, "no calibration"),
    ],
)
def test_what_is_no_operating_point_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(FaceproofError, match=words):
        OperatingPoint.from_json(DEFAULT.to_json() | change)


def test_an_operating_point_that_lacks_something_is_refused() -> None:
    values = DEFAULT.to_json()
    del values["criterion"]
    with pytest.raises(FaceproofError, match="criterion"):
        OperatingPoint.from_json(values)


def test_a_criterion_without_its_number_takes_the_default() -> None:
    assert fit(*scores(), "none", "fpr").promised_fpr == 0.01
    assert fit(*scores(), "none", "fixed").threshold == 0.5


def test_wishes_that_make_no_sense_are_refused() -> None:
    labels, logits = scores(50)
    with pytest.raises(FaceproofError, match="criterion = 'best'"):
        fit(labels, logits, criterion="best")
    with pytest.raises(FaceproofError, match="must be a rate"):
        fit(labels, logits, criterion="fpr", fpr=0.0)
    for risk in (0.0, 1.0, 5.0):
        with pytest.raises(FaceproofError, match=r"max_risk = .* must be a rate"):
            fit(labels, logits, max_risk=risk)
    with pytest.raises(FaceproofError, match="from 0 to 1"):
        fit(labels, logits, criterion="fixed", threshold=2.0)
    with pytest.raises(FaceproofError, match=r"fpr = 0.01 changes nothing with .*=youden"):
        fit(labels, logits, criterion="youden", fpr=0.01)
    with pytest.raises(FaceproofError, match=r"value = 0.5 changes nothing with .*=fpr"):
        fit(labels, logits, criterion="fpr", threshold=0.5)
    with pytest.raises(FaceproofError, match="both classes; found 3 negative and 0 positive"):
        fit(np.zeros(3, np.int64), np.zeros(3), "none")
