import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from faceproof.evaluation.statistics import (
    auc_difference,
    auc_interval,
    holm,
    mcnemar,
    mean_change,
    share_difference,
    share_interval,
    swap_test,
    wilson,
)


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


def _correlated(rng, size=80, gap=1.0, videos=None):
    """Return labels and two score columns that err alike; frames of a video err alike too."""
    positive = np.arange(size) % 2 == 0 if videos is None else videos % 2 == 0
    units = np.arange(size) if videos is None else videos
    of_unit = rng.normal(0, 1, (units.max() + 1, 3))[units]
    noise = of_unit * 0.8 + rng.normal(0, 0.8, (size, 3))
    scores = [gap * positive + noise[:, 0] + noise[:, column] for column in (1, 2)]
    return positive, *scores, units


def _quadratic_delong(first, second, positive):
    """DeLong's comparison from the table of all pairs, as the paper writes it."""
    areas, above, below = [], [], []
    for scores in (first, second):
        pairs = scores[positive][:, None] - scores[~positive][None]
        wins = (pairs > 0) + 0.5 * (pairs == 0)
        areas.append(wins.mean())
        above.append(wins.mean(axis=1))
        below.append(wins.mean(axis=0))
    covariance = np.cov(above) / len(above[0]) + np.cov(below) / len(below[0])
    contrast = np.array([1, -1])
    error = np.sqrt(contrast @ covariance @ contrast)
    return areas[0] - areas[1], error


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_difference_is_delongs(seed):
    positive, first, second, units = _correlated(np.random.default_rng(seed))
    first = first.round(1)  # with ties
    value, error = _quadratic_delong(first, second, positive)
    found = auc_difference(first, second, positive, units)
    assert found.value == pytest.approx(value, abs=1e-12)
    expected = value - 1.959964 * error, value + 1.959964 * error
    assert found.interval == pytest.approx(expected, abs=1e-6)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(value) / error), rel=1e-9)


def test_the_auc_difference_depends_on_neither_the_rows_order_nor_their_scale():
    positive, first, second, units = _correlated(np.random.default_rng(3))
    found = auc_difference(first, second, positive, units)
    order = np.random.default_rng(4).permutation(len(first))
    shuffled = auc_difference(first[order], second[order], positive[order], units[order])
    assert shuffled == found
    assert auc_difference(np.exp(first), 7 * second, positive, units) == found
    turned = auc_difference(second, first, positive, units)
    assert (turned.value, turned.p_value) == pytest.approx((-found.value, found.p_value))


def test_with_groups_the_error_of_the_auc_difference_is_that_of_a_jackknife_over_groups():
    videos = np.repeat(np.arange(60), 5)
    positive, first, second, units = _correlated(np.random.default_rng(0), 300, videos=videos)
    found = auc_difference(first, second, positive, units)

    def area(scores, rows):
        pos, neg = scores[rows & positive], scores[rows & ~positive]
        return (pos[:, None] > neg[None]).mean()

    kept = [area(first, units != unit) - area(second, units != unit) for unit in range(60)]
    error = np.sqrt(59 / 60 * ((kept - np.mean(kept)) ** 2).sum())
    assert (found.interval[1] - found.interval[0]) / 2 / 1.96 == pytest.approx(error, rel=0.05)


def test_the_test_of_auc_difference_rejects_equals_as_often_as_it_says():
    for videos in (None, np.repeat(np.arange(80), 4)):
        size = 80 if videos is None else 320
        p_values = []
        for seed in range(600):
            columns = _correlated(np.random.default_rng(seed), size, videos=videos)
            p_values.append(auc_difference(*(columns[n] for n in (1, 2, 0, 3))).p_value)
        assert 0.03 <= np.mean(np.array(p_values) < 0.05) <= 0.075


def test_two_perfect_rankings_are_equal_but_not_beyond_doubt():
    positive = np.arange(40) % 2 == 0
    first, second = positive + np.arange(40) / 100, positive + np.arange(40)[::-1] / 100
    found = auc_difference(first, second, positive, np.arange(40))
    assert (found.value, found.p_value) == (0, 1)
    assert found.interval[0] < -0.1
    assert found.interval[1] > 0.1
    worst = auc_difference(first, -first, positive, np.arange(40))
    assert worst.value == 1
    assert worst.p_value < 1e-5
    assert worst.interval[0] > 0.5
    assert auc_difference(first, second, np.arange(40) == 0, np.arange(40)) is None


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (0, 1), (3, 9), (40, 22), (7, 7)])
def test_mcnemar_agrees_with_statsmodels(won, lost):
    expected = statsmodels_mcnemar([[10, won], [lost, 5]], exact=True).pvalue
    assert mcnemar(won, lost) == pytest.approx(expected, abs=1e-12)
    first, second = np.repeat([True, False], [won, lost]), np.repeat([False, True], [won, lost])
    if won + lost:
        found = share_difference(first, second, np.arange(won + lost))
        assert found.p_value == pytest.approx(expected, abs=1e-12)


def test_the_swap_test_counts_all_swaps():
    rng = np.random.default_rng(0)
    for _ in range(20):
        leads = rng.integers(-4, 6, 9)
        signs = np.array(list(itertools.product((-1, 1), repeat=9)))
        share = np.mean(np.abs(signs @ np.abs(leads)) >= abs(leads.sum()))
        assert swap_test(leads) == pytest.approx(share, abs=1e-9)


def test_the_interval_of_a_share_difference_is_bonett_and_prices_without_groups():
    first = np.repeat([True, True, False, False], [50, 12, 5, 33])
    second = np.repeat([True, False, True, False], [50, 12, 5, 33])
    found = share_difference(first, second, np.arange(100))
    won, lost = 13 / 102, 6 / 102
    half = 1.959964 * np.sqrt((won + lost - (won - lost) ** 2) / 102)
    assert found.value == pytest.approx(0.07)
    assert found.interval == pytest.approx((won - lost - half, won - lost + half), abs=1e-6)
    agreed = share_difference(first, first, np.arange(100))
    assert (agreed.value, agreed.p_value) == (0, 1)
    assert agreed.interval[0] < 0 < agreed.interval[1]


@pytest.mark.parametrize("frames", [1, 6])
def test_the_comparison_of_shares_holds_what_it_says(frames):
    videos = np.repeat(np.arange(80), frames)
    rejected, covered, covered_unequal = [], [], []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        shared = rng.normal(0, 1, (80, 3))[videos]
        own = shared[:, 1:] + rng.normal(0, 0.7, (len(videos), 2))
        first, second = (shared[:, 0] + own[:, column] > -0.5 for column in (0, 1))
        found = share_difference(first, second, videos)
        rejected.append(found.p_value < 0.05)
        covered.append(found.interval[0] <= 0 <= found.interval[1])
        third = shared[:, 0] + own[:, 1] > 0.5
        spread = np.sqrt(2.49)
        truth = stats.norm.cdf(0.5 / spread) - stats.norm.cdf(-0.5 / spread)
        low, high = share_difference(first, third, videos).interval
        covered_unequal.append(low <= truth <= high)
    assert 0.015 <= np.mean(rejected) <= 0.07  # an exact test of few rows stays below its level
    assert 0.93 <= np.mean(covered) <= 0.985
    assert 0.92 <= np.mean(covered_unequal) <= 0.985


def test_holm_agrees_with_statsmodels():
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 30):
        p_values = (rng.random(size) ** 3).tolist()
        expected = multipletests(p_values, method="holm")[1]
        assert holm(p_values) == pytest.approx(expected)
    assert holm([]) == []


def test_holm_errs_in_one_family_of_twenty_at_most():
    wrong = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        shared = rng.normal(0, 1, 60)
        scores = [shared + rng.normal(0, 1, 60) for _ in range(4)]
        positive = np.arange(60) % 2 == 0
        pairs = itertools.combinations(scores, 2)
        found = [auc_difference(*pair, positive, np.arange(60)).p_value for pair in pairs]
        wrong.append(min(holm(found)) < 0.05)
    assert np.mean(wrong) <= 0.07


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_change_without_groups_is_judged_by_student_s_test(seed):
    changes = np.random.default_rng(seed).normal(0.3, 1, 40)
    found = mean_change(changes, np.arange(40))
    once = stats.ttest_1samp(changes, 0)
    assert found.value == pytest.approx(changes.mean())
    assert found.p_value == pytest.approx(once.pvalue)
    assert found.interval == pytest.approx(tuple(once.confidence_interval()))
    again = mean_change(np.repeat(changes, 5), np.repeat(np.arange(40), 5))
    assert again.p_value == pytest.approx(found.p_value)
    assert again.interval == pytest.approx(found.interval)


def test_a_mean_change_of_one_unit_cannot_be_judged():
    assert mean_change(np.ones(40), np.zeros(40, np.int64)) is None
    same = mean_change(np.ones(40), np.repeat(np.arange(4), 10))
    assert (same.value, same.p_value) == (1, 2 * 0.5**4)
    assert mean_change(np.zeros(4), np.arange(4)).p_value == 1
