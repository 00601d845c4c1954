"""The worst and the mean source or generator of validation."""

import logging

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.metrics import METRICS, better, metrics_shown
from faceproof.evaluation.part_metrics import PartMetric, check_parts, is_of_parts
from faceproof.task import get_task

TASK = get_task("deepfake")


@pytest.fixture
def scored():
    """Return an image table of 3 sources and 3 generators, its labels, and logits."""
    rng = np.random.default_rng(0)
    labels, source = rng.integers(0, 2, 300), rng.choice(["a", "b", "c"], 300)
    generator = np.where(labels == 1, rng.choice(["warp", "blend"], 300), "camera")
    generator[(labels == 1) & (source == "c")] = "paste"
    table = table_from_columns(
        {
            "path": [f"/{n}" for n in range(300)], "split": ["val"] * 300,
            "label": [TASK.classes[label] for label in labels],
            "source": source.tolist(), "generator": generator.tolist(),
        }
    )  # fmt: skip
    return table, labels, rng.normal(labels * (1 + (source == "a")), 1)


def test_sources_are_measured_apart_and_the_worst_or_the_mean_is_taken(scored):
    table, labels, logits = scored
    source = np.array(table["source"].to_pylist())
    areas = [roc_auc_score(labels[source == s], logits[source == s]) for s in "abc"]
    right = [accuracy_score(labels[source == s], logits[source == s] > 0) for s in "abc"]
    expected = {
        "worst_source_roc_auc": min(areas), "mean_source_roc_auc": np.mean(areas),
        "worst_source_accuracy": min(right), "mean_source_accuracy": np.mean(right),
    }  # fmt: skip
    for name, value in expected.items():
        assert PartMetric.find(name, table, TASK)(labels, logits) == pytest.approx(value)


def test_a_generator_is_measured_beside_the_real_images_of_its_sources(scored):
    table, labels, logits = scored
    source, generator = (np.array(table[name].to_pylist()) for name in ("source", "generator"))
    areas = {}
    for name in ("warp", "blend", "paste"):
        fakes = (generator == name) & (labels == 1)
        rows = fakes | ((labels == 0) & np.isin(source, source[fakes]))
        areas[name] = roc_auc_score(labels[rows], logits[rows])
    found = PartMetric.find("worst_generator_roc_auc", table, TASK)
    assert found.by_part(labels, logits) == pytest.approx(areas)  # and the camera is none
    assert found(labels, logits) == pytest.approx(min(areas.values()))


def test_the_rows_may_come_in_any_order_and_not_all(scored):
    table, labels, logits = scored
    rows = np.random.default_rng(1).permutation(300)[:200]
    found = PartMetric.find("mean_source_roc_auc", table, TASK)(labels[rows], logits[rows], rows)
    part = PartMetric.find("mean_source_roc_auc", table.take(rows), TASK)
    assert found == part(labels[rows], logits[rows])


def test_where_smaller_is_better_the_worst_is_the_largest(scored):
    table, labels, logits = scored
    values = PartMetric.find("worst_source_eer", table, TASK).by_part(labels, logits)
    worst = PartMetric.find("worst_source_eer", table, TASK)(labels, logits)
    assert worst == max(values.values())
    assert better("val/worst_source_eer") == "min"


def test_every_metric_of_training_can_be_of_parts(scored):
    for metric in metrics_shown("training"):
        name = f"val/worst_source_{metric.name}"
        assert is_of_parts(name)
        assert not is_of_parts(f"val/{metric.name}")
        assert better(name) == metric.better == METRICS[metric.name].better


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("val/worst_source_rocauc", "did you mean val/worst_source_roc_auc"),
        ("val/best_source_roc_auc", "cannot be monitored"),
        ("val/worst_video_roc_auc", "cannot be monitored"),
        ("train/worst_source_roc_auc", "cannot be monitored"),
    ],
)
def test_other_names_are_refused(name, said):
    with pytest.raises(FaceproofError, match=said):
        is_of_parts(name)


def test_a_source_of_one_class_does_not_count_and_is_named(scored, caplog):
    table, labels, logits = scored
    source = np.array(table["source"].to_pylist())
    kept = np.flatnonzero((source != "c") | (labels == 1))
    table, labels, logits = table.take(kept), labels[kept], logits[kept]
    found = PartMetric.find("mean_source_roc_auc", table, TASK)
    values = found.by_part(labels, logits)
    assert values["c"] is None
    assert found(labels, logits) == pytest.approx((values["a"] + values["b"]) / 2)
    with caplog.at_level(logging.WARNING):
        check_parts("val/mean_source_roc_auc", table, TASK)
    assert "does not count c: no ROC-AUC" in caplog.text
    check_parts("val/mean_source_accuracy", table, TASK)


def test_one_source_is_refused(scored):
    table, _, _ = scored
    one = table.filter(np.array(table["source"].to_pylist()) == "a")
    with pytest.raises(
        FaceproofError, match=r"two sources of validation or more; found a\. Choose by "
    ):
        check_parts("val/worst_source_roc_auc", one, TASK)
