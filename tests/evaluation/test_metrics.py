"""Every figure against an implementation that is not ours, and against what must hold of it."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import scipy.interpolate
import scipy.optimize
import sklearn.metrics as reference
import torch
import torchmetrics
import torchmetrics.classification as torch_reference
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.table import concat_tables, table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation import breakdown as parts
from faceproof.evaluation import metric_formulas as functions
from faceproof.evaluation import statistics as confidence
from faceproof.evaluation.metrics import METRICS, Metrics, better, measure
from faceproof.evaluation.point_check import realised_fpr
from faceproof.evaluation.predictions import Labels, predictions_table
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.task import TASKS, Task

TASK = TASKS["deepfake"]
SWAPPED = Task("swapped", negative="fake", positive="real")

Array = npt.NDArray[np.float64]
# Few distinct values, so that ties are the rule; two that a sigmoid would run together.
LOGITS = st.sampled_from([-40.0, -3.0, -1.0, -0.25, 0.0, 0.25, 1.0, 3.0, 30.0, 40.0])
ROWS = st.lists(st.tuples(st.booleans(), LOGITS), min_size=1, max_size=40)


def sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


def table(labels: npt.NDArray[np.int64], logits: Array, **columns: list[str | None]) -> pa.Table:
    rows = table_from_columns(
        {
            "path": [f"/data/{number}.png" for number in range(len(labels))],
            "label": [TASK.classes[label] for label in labels],
            **columns,
        }
    )
    return predictions_table(rows, logits, sigmoid(logits))


def scored(
    labels: Labels, logits: Array, called: npt.NDArray[np.bool_] | None = None
) -> WeightedScores:
    """Every image once; called positive above a logit of zero, or as given."""
    decided = logits > 0 if called is None else called
    with np.errstate(over="ignore"):
        return WeightedScores(LabelledScores.from_arrays(labels, logits, sigmoid(logits), decided))


def drawn(rows: list[tuple[bool, float]]) -> tuple[npt.NDArray[np.int64], Array]:
    return np.array([int(label) for label, _ in rows]), np.array([logit for _, logit in rows])


def random_scores(num_rows: int = 700) -> tuple[npt.NDArray[np.int64], Array]:
    """Scores with ties, and logits far beyond where a float32 sigmoid saturates."""
    random = np.random.default_rng(4)
    labels = (random.random(num_rows) < 0.3).astype(np.int64)
    logits = np.round(random.normal(labels * 2.0 - 1.0, 1.5), 1) * 12
    return labels, logits.astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def scores() -> tuple[npt.NDArray[np.int64], Array]:
    return random_scores()


@pytest.fixture(scope="module")
def found(scores: tuple[npt.NDArray[np.int64], Array]) -> Metrics:
    return measure(table(*scores), TASK, 0.4)


def test_figures_of_decisions_agree_with_sklearn(
    scores: tuple[npt.NDArray[np.int64], Array], found: Metrics
) -> None:
    labels, logits = scores
    called = (sigmoid(logits).astype(np.float32) >= 0.4).astype(int)
    assert found["num_images"] == 700
    assert found["num_real"] == np.count_nonzero(labels == 0)
    assert found["num_fake"] == np.count_nonzero(labels == 1)
    for name, expected in {
        "accuracy": reference.accuracy_score(labels, called),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, called),
        "precision": reference.precision_score(labels, called),
        "recall": reference.recall_score(labels, called),
        "specificity": reference.recall_score(labels, called, pos_label=0),
        "f1": reference.f1_score(labels, called),
        "jaccard": reference.jaccard_score(labels, called),
    }.items():
        assert found[name] == pytest.approx(expected, abs=1e-12), name
    cells = scored(labels, logits, sigmoid(logits) >= 0.4).confusion
    assert np.array_equal(cells, reference.confusion_matrix(labels, called))


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("roc_auc", torch_reference.BinaryAUROC(normalization=None)),
        ("average_precision", torch_reference.BinaryAveragePrecision(normalization=None)),
        (
            "tpr_at_1pct_fpr",
            torch_reference.BinarySensitivityAtSpecificity(0.99, normalization=None),
        ),
    ],
)
def test_figures_of_rank_agree_with_torchmetrics_fed_logits(
    scores: tuple[npt.NDArray[np.int64], Array],
    found: Metrics,
    name: str,
    metric: torchmetrics.Metric,
) -> None:
    metric.update(torch.tensor(scores[1]), torch.tensor(scores[0]))
    computed = metric.compute()
    expected = computed[0] if isinstance(computed, tuple) else computed
    assert found[name] == pytest.approx(float(expected), abs=1e-6)


def test_roc_auc_agrees_with_sklearn(scores: tuple[npt.NDArray[np.int64], Array]) -> None:
    assert METRICS["roc_auc"](scored(*scores)) == pytest.approx(
        reference.roc_auc_score(*scores), abs=1e-12
    )


def test_losses_agree_with_torch_and_sklearn(
    scores: tuple[npt.NDArray[np.int64], Array], found: Metrics
) -> None:
    labels, logits = scores
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits), torch.tensor(labels, dtype=torch.float64)
    )
    assert found["loss"] == pytest.approx(float(expected), rel=1e-12)
    squared_error = reference.brier_score_loss(labels, sigmoid(logits))
    assert found["brier"] == pytest.approx(squared_error, abs=1e-7)
    assert found["rmse"] == pytest.approx(math.sqrt(squared_error), abs=1e-7)


def test_equal_error_rate_is_where_a_root_finder_sees_the_rates_cross(
    scores: tuple[npt.NDArray[np.int64], Array],
) -> None:
    false_positives, true_positives, _ = reference.roc_curve(*scores)
    curve = scipy.interpolate.interp1d(false_positives, true_positives)
    crossing = scipy.optimize.brentq(lambda rate: 1 - rate - curve(rate), 0, 1)
    assert METRICS["eer"](scored(*scores)) == pytest.approx(crossing, abs=1e-9)


def test_loss_is_exact_where_probabilities_saturate() -> None:
    labels, logits = np.array([1, 0, 1]), np.array([800.0, 800.0, 40.0])
    assert METRICS["loss"](scored(labels, logits)) == pytest.approx(800 / 3, rel=1e-15)
    assert METRICS["loss"](scored(labels[2:], logits[2:])) == pytest.approx(math.exp(-40))


def test_ranks_are_those_of_logits_not_of_saturated_probabilities() -> None:
    labels, logits = np.array([0, 1, 0, 1]), np.array([30.0, 40.0, -40.0, 50.0])
    found = measure(table(labels, logits), TASK, 0.5)
    assert (found["roc_auc"], found["average_precision"], found["eer"]) == (1.0, 1.0, 0.0)


def test_tpr_at_fpr_allows_exactly_that_many_false_positives() -> None:
    negatives, positives = np.arange(200.0), np.array([198.5, 197.5, 196.5, -1.0])
    labels = np.repeat([0, 1], [200, 4])
    both = scored(labels, np.concatenate([negatives, positives]))
    assert functions.tpr_at_fpr(both, max_fpr=0.01) == 0.5  # 2 of 200 are above 197.5
    assert functions.tpr_at_fpr(both, max_fpr=0.0099) == 0.25


@given(rows=ROWS, seed=st.integers(0, 2**16))
def test_figures_do_not_depend_on_the_order_of_rows(
    rows: list[tuple[bool, float]], seed: int
) -> None:
    labels, logits = drawn(rows)
    order = np.random.default_rng(seed).permutation(len(labels))
    whole = table(labels, logits, source=["a" if logit > 0 else "b" for logit in logits])
    shuffled = whole.take(order)
    assert measure(shuffled, TASK, 0.5) == measure(whole, TASK, 0.5)
    for column in ("source", "generator"):
        in_order = parts.breakdown(whole, TASK, 0.5, column)
        assert parts.breakdown(shuffled, TASK, 0.5, column) == in_order


@given(rows=ROWS, cut=st.integers(0, 40))
def test_figures_do_not_depend_on_how_rows_were_batched(
    rows: list[tuple[bool, float]], cut: int
) -> None:
    labels, logits = drawn(rows)
    whole = table(labels, logits)
    pieces = concat_tables([table(labels[:cut], logits[:cut]), table(labels[cut:], logits[cut:])])
    chunked = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    expected = measure(whole, TASK, 0.5)
    assert measure(pieces, TASK, 0.5) == expected
    assert measure(chunked, TASK, 0.5) == expected


@given(rows=ROWS)
def test_swapping_the_classes_swaps_the_figures(rows: list[tuple[bool, float]]) -> None:
    labels, logits = drawn([(label, logit) for label, logit in rows if logit != 0])
    ours = measure(table(labels, logits), TASK, 0.5)
    swapped = measure(table(labels, -logits), SWAPPED, 0.5)
    for name in ("loss", "accuracy", "balanced_accuracy", "roc_auc", "eer", "brier"):
        # A probability is a float32, and its complement need not be one.
        assert ours[name] == pytest.approx(swapped[name], abs=1e-6), name
    assert (ours["recall"], ours["specificity"]) == (swapped["specificity"], swapped["recall"])


@given(rows=ROWS)
def test_every_figure_is_undefined_or_in_its_range(rows: list[tuple[bool, float]]) -> None:
    labels, logits = drawn(rows)
    found = measure(table(labels, logits), TASK, 0.5)
    for name, value in found.items():
        if value is not None and not name.startswith("num_"):
            assert 0 <= value <= (50 if name == "loss" else 1), name


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_is_undefined_and_never_perfect(label: int) -> None:
    labels, logits = np.full(5, label), np.array([4.0, 3.0, 2.0, 1.0, -1.0])
    found = measure(table(labels, logits), TASK, 0.5)
    comparing = ("balanced_accuracy", "precision", "f1", "jaccard", "roc_auc")
    for name in (*comparing, "average_precision", "eer", "tpr_at_1pct_fpr"):
        assert found[name] is None, name
    absent, present = ("specificity", "recall") if label else ("recall", "specificity")
    assert found[absent] is None
    assert found[present] == found["accuracy"] == (0.8 if label else 0.2)


def test_precision_is_undefined_where_nothing_is_called_positive() -> None:
    found = measure(table(np.array([0, 1]), np.array([-2.0, -1.0])), TASK, 0.5)
    assert found["precision"] is None
    assert (found["recall"], found["f1"]) == (0.0, 0.0)


def test_unlabelled_rows_are_in_no_figure() -> None:
    known = table(np.array([0, 1, 1]), np.array([-2.0, 1.0, -1.0]))
    unknown = predictions_table(table_from_columns({"path": ["/x.png"]}), np.ones(1), np.ones(1))
    both = concat_tables([known, unknown])
    assert measure(both, TASK, 0.5) == measure(known, TASK, 0.5)
    nothing = measure(unknown, TASK, 0.5)
    assert {name for name, value in nothing.items() if value is not None} == {
        "num_images",
        "num_real",
        "num_fake",
    }
    assert parts.breakdown(unknown, TASK, 0.5, "source") == []


def test_curves_refuse_one_class() -> None:
    with pytest.raises(FaceproofError, match="found 0 negative and 2 positive"):
        functions.roc_curve(scored(np.ones(2, np.int64), np.zeros(2)))
    with pytest.raises(FaceproofError, match="both classes"):
        functions.precision_recall_curve(scored(np.zeros(2, np.int64), np.zeros(2)))


def test_realised_fpr_counts_negatives_only_and_has_wilsons_interval() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    called = np.array([0.9, 0.1, 0.2, 0.5, 0.9, 0.1]) >= 0.5
    found = realised_fpr(called, labels, np.arange(6))
    assert (found.num_negative, found.num_false_positives, found.rate) == (4, 2, 0.5)
    assert found.interval == confidence.wilson(0.5, 4)
    nothing = realised_fpr(called[4:], labels[4:], np.arange(2))
    assert (nothing.rate, nothing.interval) == (None, None)


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val/loss", "min"), ("val/eer", "min"), ("val/roc_auc", "max")]
)
def test_which_way_is_better(monitor: str, mode: str) -> None:
    assert better(monitor) == mode


@pytest.mark.parametrize("monitor", ["test/loss", "train/loss", "loss", "val/brier"])
def test_only_validation_may_choose(monitor: str) -> None:
    with pytest.raises(FaceproofError, match="metrics of validation"):
        better(monitor)
