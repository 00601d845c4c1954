"""Metrics of parts of the images, against those of each part alone."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.metrics as reference

from faceproof.errors import FaceproofError
from faceproof.evaluation import breakdown as parts
from faceproof.evaluation import statistics as confidence
from faceproof.evaluation.metrics import measure
from tests.evaluation.test_metrics import TASK, Array, random_scores, scored, sigmoid, table


@pytest.fixture(scope="module")
def scores() -> tuple[npt.NDArray[np.int64], Array]:
    return random_scores()


def test_class_report_agrees_with_sklearn(scores: tuple[npt.NDArray[np.int64], Array]) -> None:
    labels, logits = scores
    called = (sigmoid(logits) >= 0.4).astype(int)
    report = parts.class_report(scored(labels, logits, sigmoid(logits) >= 0.4).scores, TASK)
    expected = reference.classification_report(
        labels, called, target_names=TASK.classes, output_dict=True
    )
    words = {"macro average": "macro avg", "weighted average": "weighted avg"}
    assert list(report) == ["real", "fake", "macro average", "weighted average"]
    for name, row in report.items():
        for figure, value in asdict(row).items():
            key = "f1-score" if figure == "f1" else figure
            assert value == pytest.approx(expected[words.get(name, name)][key]), (name, figure)


def test_class_report_is_undefined_for_a_class_that_is_never_called() -> None:
    labels = np.repeat([0, 1], [6, 2])
    report = parts.class_report(scored(labels, np.full(8, -1.0)).scores, TASK)
    assert report["fake"] == parts.ClassRow(precision=None, recall=0.0, f1=0.0, support=2)
    assert report["macro average"].precision is None
    assert report["weighted average"].recall == pytest.approx(6 / 8)


def by_value(rows: list[parts.BreakdownRow]) -> Mapping[str | None, parts.BreakdownRow]:
    return {row.value: row for row in rows}


def test_breakdown_by_generator_compares_with_negatives_of_the_same_source() -> None:
    # In source a the gan is ranked above every real; in source b there is no real to compare with.
    predictions = table(
        np.array([1, 1, 0, 0, 1, 0]),
        np.array([3.0, -0.5, -1.0, -2.0, 1.0, 5.0]),
        source=["a", "a", "a", "a", "b", "c"],
        generator=["gan", "gan", None, None, "diffusion", None],
    )
    rows = parts.breakdown(predictions, TASK, 0.5, "generator")
    assert [row.value for row in rows] == ["gan", None, "diffusion"]  # least accurate first
    found = by_value(rows)
    assert found["gan"].recall == found["gan"].accuracy == 0.5
    assert found["gan"].roc_auc == 1.0  # against source c it would be less
    assert found["gan"].mean_probability == pytest.approx(sigmoid(np.array([3, -0.5])).mean())
    assert found["diffusion"].roc_auc is None
    assert found["diffusion"].specificity is None
    assert (found[None].num_images, found[None].num_positive) == (3, 0)
    assert (found[None].recall, found[None].roc_auc) == (None, None)


def test_breakdown_by_source_agrees_with_the_metrics_of_each_source(
    scores: tuple[npt.NDArray[np.int64], Array],
) -> None:
    labels, logits = scores
    source: list[str | None] = ["ab"[number % 3 == 0] for number in range(len(labels))]
    predictions = table(labels, logits, source=source)
    rows = parts.breakdown(predictions, TASK, 0.4, "source")
    assert sorted(row.accuracy or 0 for row in rows) == [row.accuracy for row in rows]
    for row in rows:
        chosen = np.array(source) == row.value
        alone = measure(table(labels[chosen], logits[chosen]), TASK, 0.4)
        for name in ("num_images", "accuracy", "recall", "specificity", "roc_auc"):
            assert getattr(row, name) == alone[name], name


def test_breakdown_refuses_a_column_it_does_not_know() -> None:
    with pytest.raises(FaceproofError, match="source, generator, group; found 'colour'"):
        parts.breakdown(table(np.array([0]), np.zeros(1)), TASK, 0.5, "colour")


def test_a_breakdown_with_a_value_for_every_few_rows_stays_quick() -> None:
    labels, logits = random_scores(60_000)
    groups: list[str | None] = [f"video{number // 6}" for number in range(len(labels))]
    rows = parts.breakdown(table(labels, logits, group=groups), TASK, 0.5, "group")
    assert len(rows) == 10_000
    assert sum(row.num_images for row in rows) == 60_000


def test_breakdown_rows_carry_their_intervals(
    scores: tuple[npt.NDArray[np.int64], Array],
) -> None:
    labels, logits = scores
    predictions = table(labels, logits, source=["ab"[number % 2] for number in range(len(labels))])
    for row in parts.breakdown(predictions, TASK, 0.5, "source"):
        assert row.accuracy is not None
        assert row.accuracy_interval == confidence.wilson(row.accuracy, row.num_images)
        assert row.roc_auc_interval is not None
        assert row.roc_auc is not None
        assert row.roc_auc_interval[0] < row.roc_auc < row.roc_auc_interval[1]


def test_worst_first_compares_within_a_source_or_not_at_all() -> None:
    # Source a has reals; b has fakes only; that of c are perfectly told from c's own one real.
    predictions = table(
        np.array([1, 1, 0, 0, 1, 1, 1, 0]),
        np.array([3.0, -0.5, -1.0, 2.0, -2.0, -1.0, 5.0, 4.0]),
        source=["a", "a", "a", "a", "b", "b", "c", "c"],
        generator=["gan", "gan", None, None, "gan", "gan", "gan", None],
    )
    rows = parts.worst_first(predictions, TASK, 0.5)
    found = {(row.source, row.generator): row for row in rows}
    accuracies = [row.accuracy for row in rows]
    assert accuracies == sorted(accuracies, key=lambda value: value or 0)
    assert (rows[0].source, rows[0].accuracy) == ("b", 0.0)
    assert found["b", "gan"].roc_auc is None
    assert found["b", "gan"].num_compared == 0
    assert found["b", "gan"].accuracy_interval == confidence.wilson(0.0, 2)
    assert (found["a", "gan"].roc_auc, found["a", "gan"].num_compared) == (0.75, 2)
    assert found["c", "gan"].roc_auc == 1.0  # against all reals pooled it would be no other
    assert found["c", "gan"].roc_auc_interval is None  # one against one says nothing
    assert found["a", None].roc_auc is None
    assert sum(row.num_images for row in rows) == 8


def test_worst_first_does_not_depend_on_the_order_of_rows(
    scores: tuple[npt.NDArray[np.int64], Array],
) -> None:
    labels, logits = scores
    predictions = table(
        labels,
        logits,
        source=["ab"[number % 2] for number in range(len(labels))],
        generator=["gan" if label else None for label in labels],
        group=[f"v{number // 7}" for number in range(len(labels))],
    )
    shuffled = predictions.take(np.random.default_rng(0).permutation(len(labels)))
    assert parts.worst_first(shuffled, TASK, 0.5) == parts.worst_first(predictions, TASK, 0.5)


def test_what_is_too_few_to_mean_anything_is_flagged_and_does_not_lead() -> None:
    """One image of generator a, wrong; twelve of b, of one video; twelve of c, two wrong."""
    labels = np.array([1] * 25 + [0] * 12)
    logits = np.array([-1.0] + [-1.0] * 12 + [1.0] * 10 + [-1.0] * 2 + [-1.0] * 12)
    predictions = table(
        labels,
        logits,
        generator=["a", *["b"] * 12, *["c"] * 12, *[None] * 12],
        group=[None, *["video"] * 12, *[None] * 24],
    )
    rows = parts.breakdown(predictions, TASK, 0.5, "generator")
    assert [(row.value, row.num_units, row.few) for row in rows] == [
        ("c", 12, False), (None, 12, False), ("a", 1, True), ("b", 1, True),
    ]  # fmt: skip
    cells = parts.worst_first(predictions, TASK, 0.5)
    assert [row.generator for row in cells] == ["c", None, "a", "b"]
    assert [row.few for row in cells] == [False, False, True, True]
