"""Changes of what comes in are told from chance, and from what is too small to matter."""

import numpy as np
import pytest
from scipy import stats

from faceproof.errors import FaceproofError
from faceproof.evaluation.drift import (
    MAX_VALUES,
    MIN_DISTANCE,
    Change,
    Reference,
    compare,
    in_words,
    make_reference,
)
from faceproof.io.parse import parse


def drawn(shift=0.0, number=400, seed=0):
    return np.random.default_rng(seed).normal(shift, size=number)


def test_the_test_is_that_of_kolmogorov_and_smirnov():
    reference = make_reference({"logit": drawn()})
    (found,) = compare(reference, {"logit": drawn(0.5, seed=1)})
    expected = stats.ks_2samp(drawn(), drawn(0.5, seed=1), method="asymp")
    assert found.distance == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.counts
    assert found.median_now == np.median(drawn(0.5, seed=1))


def test_the_same_images_have_not_changed_and_p_values_are_corrected():
    columns = {"logit": drawn(), "novelty": drawn(seed=2)}
    reference = make_reference(columns)
    assert [one.p_value for one in compare(reference, columns)] == [1.0, 1.0]
    two = {"logit": drawn(0.5, seed=1), "novelty": drawn(seed=3)}
    alone = compare(make_reference({"logit": drawn()}), two)[0]
    assert compare(reference, two)[0].p_value == pytest.approx(min(1, 2 * alone.p_value))


def test_chance_alone_is_seldom_called_a_change():
    reference = make_reference({"logit": drawn(number=MAX_VALUES)})
    called = [
        compare(reference, {"logit": drawn(number=200, seed=seed)})[0].counts
        for seed in range(1, 200)
    ]
    assert np.mean(called) <= 0.06


def test_a_small_difference_of_many_images_does_not_count():
    reference = make_reference({"logit": drawn(number=50_000)})
    (found,) = compare(reference, {"logit": drawn(0.1, number=50_000, seed=1)})
    assert found.distance < MIN_DISTANCE
    assert not found.counts
    assert "no change that counts" in in_words(found)


def test_what_is_missing_is_left_out():
    columns = {"logit": drawn(), "novelty": None, "width": np.full(30, np.nan)}
    reference = make_reference(columns)
    assert list(reference.columns) == ["logit"]
    few = {"logit": np.r_[drawn(), np.full(9, np.nan)], "novelty": drawn()}
    (found,) = compare(reference, few)
    assert (found.name, found.num_images) == ("logit", 400)
    for short in ({}, {"logit": drawn(number=19)}):
        with pytest.raises(FaceproofError, match="has 20 values here and in validation: too few"):
            compare(reference, short)


def test_it_is_stored_thinned_and_read_again():
    values = drawn(number=5000)
    reference = make_reference({"logit": values})
    stored = reference.columns["logit"]
    assert len(stored) == MAX_VALUES
    assert reference.num_images == 5000
    assert (stored[0], stored[-1]) == pytest.approx((values.min(), values.max()))
    assert np.median(stored) == pytest.approx(np.median(values), abs=0.01)
    assert parse(Reference, reference.to_json()) == reference


@pytest.mark.parametrize(
    "columns",
    [
        {"logit": []},
        {"logit": [0.0] * (MAX_VALUES + 1)},
        {str(number): [0.0] for number in range(21)},
        {"logit": ["x"]},
    ],
)  # fmt: skip
def test_a_strangers_file_is_refused(columns):
    with pytest.raises(FaceproofError):
        parse(Reference, {"num_images": 5, "columns": columns})


def test_a_change_is_told_in_words():
    change = Change("file size", 30, 20_000.0, 1_234_567.0, 0.5, 1e-9)
    assert in_words(change) == (
        "file size: has changed (median 20,000 in validation, 1,234,567 now; distance 0.50, "
        "p below 0.001)"
    )
