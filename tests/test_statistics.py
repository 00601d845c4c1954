import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from faceproof.statistics import auc_interval, share_interval, wilson


@pytest.mark.parametrize(("right", "total"), [(0, 5), (1, 7), (40, 50), (9, 9)])
def test_wilson_agrees_with_statsmodels(right, total):
    expected = proportion_confint(right, total, method="wilson")
    assert wilson(right / total, total) == pytest.approx(expected, abs=1e-9)


def test_frames_of_one_video_are_hardly_more_than_one_trial():
    rng = np.random.default_rng(0)
    videos = np.repeat(np.arange(40), 50)
    flags = np.repeat(rng.random(40) < 0.7, 50)
    low, high = share_interval(flags, videos)
    one_each = share_interval(flags[::50], np.arange(40))
    assert high - low == pytest.approx(one_each[1] - one_each[0], rel=0.1)


def test_the_auc_interval_covers_as_often_as_it_says():
    truth = stats.norm.cdf(1 / np.sqrt(2))
    covered, rows = [], np.arange(60)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        low, high = auc_interval(rng.normal(1, 1, 60), rng.normal(0, 1, 60), rows, rows + 60)
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.98
