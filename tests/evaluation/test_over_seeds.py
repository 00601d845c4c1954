"""Means over seeds: against scikit-learn and DeLong, and that chance is not called real."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from faceproof.evaluation.over_seeds import SeedNoise, mean_auc, mean_share, seed_noise
from faceproof.evaluation.statistics import auc_difference, auc_interval

Array = npt.NDArray[np.float64]

NONE = SeedNoise(0.0, 1)
POSITIVE = np.arange(200) % 2 == 1
UNITS = np.arange(200)


def scored(random: np.random.Generator, num_runs: int, spread: float, gap: float = 1.2) -> Array:
    """Return logits (R, N) of runs: what is hard is shared, and each has its own gap and noise."""
    hard = random.normal(0, 0.7, 200)
    gaps = gap + spread * random.normal(0, 1, (num_runs, 1))
    own = random.normal(0, 0.5, (num_runs, 200))
    return np.asarray(gaps * (POSITIVE - 0.5) + hard + own)


def test_the_value_is_the_mean_of_the_areas() -> None:
    random = np.random.default_rng(0)
    first, second = scored(random, 3, 0.2), scored(random, 2, 0.2)
    areas = [[roc_auc_score(POSITIVE, run) for run in runs] for runs in (first, second)]
    mean = mean_auc(first, NONE, POSITIVE, UNITS)
    assert mean is not None
    assert mean.value == pytest.approx(np.mean(areas[0]))
    difference = mean_auc(first, NONE, POSITIVE, UNITS, second, NONE)
    assert difference is not None
    assert difference.value == pytest.approx(np.mean(areas[0]) - np.mean(areas[1]))


@pytest.mark.parametrize("per_unit", [1, 4])
def test_of_one_run_each_and_no_noise_it_is_delongs_test(per_unit: int) -> None:
    random = np.random.default_rng(1)
    first, second = scored(random, 1, 0.0), scored(random, 1, 0.0, gap=1.5)
    units = UNITS // per_unit
    known = auc_difference(first[0], second[0], POSITIVE, units)
    found = mean_auc(first, NONE, POSITIVE, units, second, NONE)
    assert known is not None
    assert found is not None
    error = (known.interval[1] - known.interval[0]) / 2 / 1.959963984540054
    assert np.sqrt(found.image_variance) == pytest.approx(error)
    # Student's t, of as many units, is wider than the normal by a little.
    assert known.p_value < found.test().p_value < known.p_value + 0.05


def test_the_interval_of_a_single_run_is_about_that_of_its_area() -> None:
    (run,) = scored(np.random.default_rng(2), 1, 0.0)
    known = auc_interval(run[POSITIVE], run[~POSITIVE], UNITS[POSITIVE], UNITS[~POSITIVE])
    mean = mean_auc([run], NONE, POSITIVE, UNITS)
    assert mean is not None
    assert mean.interval() == pytest.approx(known, abs=0.012)


def test_the_noise_of_seeds_is_their_sample_variance_and_pooled_for_a_single_run() -> None:
    families = [[0.8, 0.82, 0.87], [0.7], [0.9, 0.91]]
    noise = seed_noise(families)
    assert noise[0] == pytest.approx((np.var(families[0], ddof=1), 2, False))
    assert noise[2] == pytest.approx((np.var(families[2], ddof=1), 1, False))
    pooled = (np.var(families[0], ddof=1) * 2 + np.var(families[2], ddof=1)) / 3
    assert noise[1] == pytest.approx((pooled, 3, True))
    with pytest.raises(ValueError, match="no configuration has two seeds"):
        seed_noise([[0.8], [0.9]])


def test_the_share_is_the_mean_over_runs_and_groups_widen_it() -> None:
    random = np.random.default_rng(3)
    right = [random.random(200) < 0.8 for _ in range(3)]
    alone = mean_share(right, NONE, UNITS)
    assert alone is not None
    shares = np.mean(right, axis=0)
    assert alone.value == pytest.approx(shares.mean())
    assert alone.image_variance == pytest.approx(np.var(shares, ddof=1) / 200)
    repeated = [np.repeat(run, 5) for run in right]
    videos = mean_share(repeated, NONE, np.repeat(UNITS, 5))
    assert videos is not None
    assert videos.image_variance == pytest.approx(alone.image_variance)


def test_what_does_not_vary_claims_no_certainty() -> None:
    perfect = [np.where(POSITIVE, 3.0, -3.0)] * 2
    mean = mean_auc(perfect, NONE, POSITIVE, UNITS)
    assert mean is not None
    low, high = mean.interval()
    assert high == 1.0
    assert 0.9 < low < 0.98
    same = mean_auc(perfect, NONE, POSITIVE, UNITS, perfect, NONE)
    assert same is not None
    assert same.test().p_value == 1.0
    assert same.test().interval[0] < 0 < same.test().interval[1]
    one_unit = np.where(POSITIVE, 0, UNITS + 1)
    assert mean_auc(perfect, NONE, POSITIVE, one_unit) is None
    assert mean_share([POSITIVE], NONE, np.zeros(200, np.int64)) is None


@pytest.mark.parametrize("sizes", [(3, 3), (3, 1), (2, 1)])
def test_equal_configurations_are_seldom_called_different(sizes: tuple[int, int]) -> None:
    """300 times two configurations, equal but for seeds and images.

    A test of the luckiest pair of runs calls many of these real.
    """
    random = np.random.default_rng(4)
    rejected = naive = 0
    for _ in range(300):
        both = scored(random, sum(sizes), 0.35)
        first, second = both[: sizes[0]], both[sizes[0] :]
        families = [
            [float(roc_auc_score(POSITIVE, run)) for run in runs] for runs in (first, second)
        ]
        one, other = seed_noise(families)
        mean = mean_auc(first, one, POSITIVE, UNITS, second, other)
        assert mean is not None
        rejected += mean.test().p_value < 0.05
        best, worst = first[np.argmax(families[0])], second[np.argmin(families[1])]
        known = auc_difference(best, worst, POSITIVE, UNITS)
        assert known is not None
        naive += known.p_value < 0.05
    assert rejected / 300 < 0.07
    assert naive / 300 > 0.3
