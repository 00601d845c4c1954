import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from faceproof.statistics import auc_interval, placements


def sample(seed, num=60, shift=1.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], num)
    return labels, rng.normal(shift * labels, 1).round(1)  # rounded: ties


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_scikit_learn_s(seed):
    labels, scores = sample(seed)
    assert auc_interval(labels, scores)[0] == pytest.approx(roc_auc_score(labels, scores))


def test_placements_count_pairs():
    rng = np.random.default_rng(0)
    positives, negatives = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 20) * 1.0
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    above, below = placements(positives, negatives)
    assert above == pytest.approx(wins.mean(1))
    assert below == pytest.approx(wins.mean(0))


def test_the_interval_covers_as_often_as_it_says():
    truth = stats.norm.cdf(1 / np.sqrt(2))
    covered = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1], 60)
        _, low, high = auc_interval(labels, rng.normal(labels, 1))
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_perfect_scores_have_a_point():
    assert auc_interval(np.array([0, 0, 1, 1]), np.array([1.0, 2, 3, 4])) == (1.0, 1.0, 1.0)
