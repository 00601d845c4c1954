"""The limit of novelty keeps its promise, and says what it changes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.novelty import (
    NoveltyConfig,
    NoveltyPoint,
    combine_novelty,
    find_strange,
    fit_novelty_point,
    novelties_of,
    strange_flags,
)
from faceproof.evaluation.novelty_check import check_novelty
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.point_check import check_point
from faceproof.evaluation.predictions import (
    predictions_table,
    read_predictions,
    sigmoid,
    write_predictions,
)
from faceproof.io.parse import parse
from faceproof.settings import SettingError
from faceproof.task import get_task

TASK = get_task("deepfake")


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_a_new_image_is_strange_as_often_as_promised(rate):
    """On average over validations and new images, as split conformal prediction promises."""
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        point = fit_novelty_point(draw.gamma(2, size=300), rate, num_training=10)
        shares.append(strange_flags(draw.gamma(2, size=1000), point).mean())
    expected = (300 - np.ceil(301 * (1 - rate)) + 0.5) / 301  # midway between two of the ranks
    assert np.mean(shares) == pytest.approx(expected, abs=0.004)
    assert np.mean(shares) <= rate + 0.002


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_of_validation_itself_no_more_are_strange(values, rate):
    point = fit_novelty_point(np.array(values), rate, 10)
    assert strange_flags(np.array(values), point).mean() <= rate
    assert bool(point.warnings) == (np.ceil((len(values) + 1) * (1 - rate)) > len(values))


def test_too_few_images_promise_nothing_and_say_so():
    point = fit_novelty_point(np.arange(10.0), 0.05, 10)
    assert point.limit == pytest.approx(9 * (1 + 1e-4))
    assert point.promised == 1 / 11
    assert "as it is for at most 9.1% of images like the 10 of validation. " in point.origin
    assert "Validation has 10 images, and it takes 19" in point.warnings[0]
    assert not fit_novelty_point(np.arange(19.0), 0.05, 10).warnings


def test_no_image_of_validation_lies_on_the_limit():
    """Else the last bit, in which two programs differ, would decide on that image."""
    novelties = np.random.default_rng(0).gamma(2, size=200)
    point = fit_novelty_point(novelties, 0.05, 10)
    ranked = np.sort(novelties)
    assert point.limit == pytest.approx((ranked[190] + ranked[191]) / 2, rel=1e-6)
    for shift in (1 - 1e-6, 1 + 1e-6):
        flags = strange_flags(novelties * shift, point)
        assert flags.tolist() == strange_flags(novelties, point).tolist()
    equal = fit_novelty_point(np.full(50, 2.0), 0.05, 10)
    assert equal.limit == pytest.approx(2 * (1 + 1e-4))


def test_it_is_stored_and_read_again():
    point = fit_novelty_point(np.arange(19.0), 0.05, 10)
    assert parse(NoveltyPoint, point.to_json()) == point
    assert "at most 5.0% of images like the 19 of validation" in point.origin


@pytest.mark.parametrize(
    "change", [{"limit": -1.0}, {"rate": 0.0}, {"rate": 1.0}, {"num_images": 0}]
)
def test_one_that_makes_no_sense_is_refused(change):
    values = {"limit": 1.0, "rate": 0.05, "num_images": 5, "num_training": 5, "warnings": []}
    with pytest.raises(FaceproofError):
        parse(NoveltyPoint, values | change)


def test_a_rate_that_is_none_is_refused():
    assert NoveltyConfig().rate is None
    for rate in (0, 1, -1, "x"):
        with pytest.raises(SettingError, match="rate = "):
            NoveltyConfig(rate)


def table(novelties, labels=("real", "real", "fake", "fake"), sources="aabb"):
    columns = {
        "path": [f"{n}.jpg" for n in range(len(labels))], "label": list(labels),
        "split": ["test"] * len(labels), "source": list(sources),
    }  # fmt: skip
    logits = np.array([-3.0, 1.0, -1.0, 3.0])[: len(labels)]
    return predictions_table(table_from_columns(columns), logits, sigmoid(logits), novelties)


def test_the_table_keeps_novelty_or_null(tmp_path):
    known, unknown = table(np.array([1.0, 2.0, 3.0, 4.0])), table(None)
    assert novelties_of(known).tolist() == [1, 2, 3, 4]
    assert novelties_of(unknown) is None
    write_predictions(known, tmp_path / "a.parquet")
    assert read_predictions(tmp_path / "a.parquet").equals(known)
    write_predictions(
        unknown.drop_columns("novelty"), tmp_path / "b.parquet"
    )  # of earlier versions
    assert read_predictions(tmp_path / "b.parquet").equals(unknown)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(FaceproofError, match="a novelty that is no number"):
            table(np.array([1.0, bad, 1.0, 1.0]))


def test_members_are_averaged_and_one_that_does_not_know_leaves_none():
    first, second = np.array([1.0, 2.0]), np.array([3.0, 6.0])
    assert combine_novelty([first, second], [0.25, 0.75]).tolist() == [2.5, 5.0]
    assert combine_novelty([first, None], [0.5, 0.5]) is None


def test_strange_images_are_unsure_in_use():
    """Of four images one is in the band and wrong, one strange and wrong."""
    labels, units = np.array([0, 0, 1, 1]), np.arange(4)
    probabilities = np.array([0.1, 0.9, 0.45, 0.9])
    point = OperatingPoint(Calibration(), 0.5, unsure=(0.4, 0.6))
    band = check_point(labels, probabilities, units, point)
    both = check_point(labels, probabilities, units, point, np.array([0, 1, 0, 0], bool))
    assert (band.share_unsure, band.error_answered) == (0.25, pytest.approx(1 / 3))
    assert (both.share_unsure, both.error_answered) == (0.5, 0.0)
    assert both.error_all == band.error_all


def test_the_check_says_it_by_source_home_first():
    limit = NoveltyPoint(2.5, 0.05, 100, 100)
    predictions = table(np.array([1.0, 4.0, 1.0, 2.0]), sources="bbaa")
    found = check_novelty(predictions, TASK, OperatingPoint(Calibration(), 0.5), limit, ["b"])
    assert find_strange(predictions, limit).tolist() == [False, True, False, False]
    assert [(row.source, row.is_home) for row in found.by_source] == [("b", True), ("a", False)]
    home, other = found.by_source
    assert (home.num_images, home.num_strange, home.share) == (2, 1, 0.5)
    assert home.without.coverage == 1
    assert home.without.risk == 0.5
    assert (home.by_novelty.coverage, home.by_novelty.risk) == (0.5, 0.0)
    assert other.share == 0
    assert found.everything.num_images == 4
    assert found.everything.roc_auc == 0.75
    assert home.roc_auc is None


def test_without_labels_only_the_share_is_known():
    predictions = table(np.array([1.0, 4.0]), labels=[None, None], sources="aa")
    found = check_novelty(
        predictions, TASK, OperatingPoint(Calibration(), 0.5), NoveltyPoint(2.5, 0.05, 9, 9)
    )
    assert found.everything.share == 0.5
    assert found.everything.roc_auc is found.everything.by_novelty.coverage is None
    nothing = predictions.slice(0, 0)
    assert isinstance(nothing, pa.Table)
    assert (
        check_novelty(
            nothing, TASK, OperatingPoint(Calibration(), 0.5), NoveltyPoint(2.5, 0.05, 9, 9)
        )
        is None
    )
