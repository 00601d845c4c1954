import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.training.live_metrics import EpochMetrics, MeanLoss, live_metrics


def scores(seed=0, size=400, shift=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    return rng.normal(shift * (2 * labels - 1), 2).astype(np.float32), labels


def figures_of(logits, labels):
    found = live_metrics(torch.as_tensor(logits), torch.as_tensor(labels))
    return {name: value.item() for name, value in found.items()}


@pytest.mark.parametrize("seed", range(4))
def test_figures_agree_with_scikit_learn_and_with_the_evaluation(seed):
    logits, labels = scores(seed)
    verdicts = logits > 0
    values = logits.astype(np.float64)
    evaluated = WeightedScores(LabelledScores.from_arrays(labels, values, values, verdicts))
    assert figures_of(logits, labels) == pytest.approx(
        {
            "accuracy": sklearn.metrics.accuracy_score(labels, verdicts),
            "precision": sklearn.metrics.precision_score(labels, verdicts),
            "recall": sklearn.metrics.recall_score(labels, verdicts),
            "f1": sklearn.metrics.f1_score(labels, verdicts),
            "jaccard": sklearn.metrics.jaccard_score(labels, verdicts),
            "roc_auc": sklearn.metrics.roc_auc_score(labels, logits),
            "average_precision": sklearn.metrics.average_precision_score(labels, logits),
            "eer": METRICS["eer"](evaluated),
        },
        abs=1e-5,
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 9))
def test_no_figure_depends_on_the_batches(sizes, seed):
    logits, labels = (torch.as_tensor(values) for values in scores(seed, sum(sizes) + 2))
    labels[:2] = torch.tensor([0, 1])
    metric = EpochMetrics()
    for part, truth in zip(logits.split([*sizes, 2]), labels.split([*sizes, 2]), strict=True):
        metric.update(part, truth)
    whole, found = live_metrics(logits, labels), metric.compute()
    assert {name: found[name].item() for name in whole} == {
        name: value.item() for name, value in whole.items()
    }


def test_logits_within_zero_and_one_are_not_taken_for_probabilities():
    # torchmetrics by itself squeezes only batches that leave [0, 1]: 1.0 in one batch, 0.0 in two
    metric = EpochMetrics()
    metric.update(torch.tensor([0.9]), torch.tensor([0]))
    metric.update(torch.tensor([2.0]), torch.tensor([1]))
    assert metric.compute()["roc_auc"].item() == 1.0
    assert metric.compute()["accuracy"].item() == 0.5  # 0.9 is a logit: called positive


def test_large_logits_keep_their_order():
    found = figures_of(np.float32([30, 40, 50, 60]), np.array([0, 0, 1, 1]))
    assert found["roc_auc"] == 1.0
    assert found["eer"] == 0.0


def test_one_class_alone_leaves_ranking_undefined():
    found = figures_of(np.float32([1, 2, 3]), np.array([1, 1, 1]))
    assert np.isnan([found["roc_auc"], found["average_precision"], found["eer"]]).all()


def test_the_mean_loss_is_that_of_the_images_and_not_of_the_batches():
    metric = MeanLoss()
    metric.update(torch.tensor(1.0), 3)
    metric.update(torch.tensor(5.0), 1)
    assert metric.compute().item() == 2.0
    metric.reset()
    metric.update(torch.tensor(4.0), 2)
    assert metric.compute().item() == 4.0


def test_reset_forgets():
    metric = EpochMetrics()
    metric.update(torch.tensor([1.0, -1.0]), torch.tensor([0, 1]))
    metric.reset()
    metric.update(torch.tensor([1.0, -1.0]), torch.tensor([1, 0]))
    assert metric.compute()["roc_auc"].item() == 1.0
