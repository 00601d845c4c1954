"""The predictions table: what it accepts, what it refuses, and the threshold rule."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from faceproof.data.table import table_from_columns, write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import (
    SCHEMA,
    is_positive,
    label_numbers,
    labelled_rows,
    logits_of,
    predictions_table,
    probabilities_of,
    read_predictions,
    write_predictions,
)
from faceproof.task import TASKS


def images(labels: list[str | None]) -> pa.Table:
    count = len(labels)
    return table_from_columns(
        {
            "path": [f"/data/{number}.png" for number in range(count)],
            "label": labels,
            "split": ["test"] * count,
            "source": ["lab"] * count,
            "generator": ["gan" if label == "fake" else None for label in labels],
        }
    )


def test_table_joins_images_and_scores_in_their_order() -> None:
    table = predictions_table(
        images(["fake", "real", None]), np.array([2.0, -1.0, 0.0]), np.array([0.88, 0.27, 0.5])
    )
    assert table.schema == SCHEMA
    assert table["path"].to_pylist() == ["/data/0.png", "/data/1.png", "/data/2.png"]
    assert table["label"].to_pylist() == ["fake", "real", None]
    assert logits_of(table).tolist() == [2.0, -1.0, 0.0]
    assert probabilities_of(table) == pytest.approx([0.88, 0.27, 0.5], abs=1e-7)
    assert label_numbers(labelled_rows(table), TASKS["deepfake"]).tolist() == [1, 0]


def test_scores_are_read_without_loss_of_rank() -> None:
    close = np.array([30.0, np.nextafter(np.float32(30.0), np.float32(31.0))], np.float32)
    table = predictions_table(images(["real", "fake"]), close, np.ones(2))
    assert logits_of(table)[0] < logits_of(table)[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_counted_and_the_first_is_named(bad: float) -> None:
    with pytest.raises(FaceproofError, match=r"2 of 3 images have a logit.*first /data/1\.png"):
        predictions_table(
            images(["fake", "real", "real"]), np.array([0.0, bad, bad]), np.full(3, 0.5)
        )


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_probabilities_outside_their_range_are_refused(bad: float) -> None:
    with pytest.raises(FaceproofError, match=r"1 of 2 images have a probability outside \[0, 1\]"):
        predictions_table(images(["fake", "real"]), np.zeros(2), np.array([0.5, bad]))


def test_an_image_without_its_score_is_refused() -> None:
    with pytest.raises(FaceproofError, match="2 images came with 3 logits and 2 probabilities"):
        predictions_table(images(["fake", "real"]), np.zeros(3), np.zeros(2))


def test_written_predictions_are_read_back_equal(tmp_path: Path) -> None:
    table = predictions_table(images(["fake", None]), np.array([3.5, -2]), np.array([0.9, 0.1]))
    write_predictions(table, tmp_path / "predictions.parquet")
    assert read_predictions(tmp_path / "predictions.parquet").equals(table)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_a_file_that_is_no_predictions_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match="evaluate the run first"):
        read_predictions(tmp_path / "absent.parquet")
    write_table(images(["fake"]), tmp_path / "images.parquet")
    with pytest.raises(FaceproofError, match="lacks logit, probability and has path, label"):
        read_predictions(tmp_path / "images.parquet")


def test_bad_scores_are_refused_in_a_file_too(tmp_path: Path) -> None:
    table = predictions_table(images(["fake"]), np.zeros(1), np.zeros(1))
    bad = table.set_column(
        table.schema.get_field_index("logit"), "logit", pa.array([np.nan], pa.float32())
    )
    pyarrow.parquet.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(FaceproofError, match="not finite"):
        read_predictions(tmp_path / "bad.parquet")


def test_a_file_of_an_earlier_version_has_no_components(tmp_path: Path) -> None:
    table = predictions_table(images(["fake"]), np.zeros(1), np.zeros(1))
    pyarrow.parquet.write_table(table.drop_columns(["component"]), tmp_path / "old.parquet")
    assert read_predictions(tmp_path / "old.parquet").equals(table)


def test_labels_of_another_task_and_missing_labels_are_refused() -> None:
    table = predictions_table(images(["fake", None]), np.zeros(2), np.zeros(2))
    with pytest.raises(FaceproofError, match="hold fake, no label among their labels"):
        label_numbers(table, TASKS["face"])


def test_the_threshold_itself_is_positive() -> None:
    assert is_positive(np.array([0.4999, 0.5, 0.5001]), 0.5).tolist() == [False, True, True]


def test_a_stored_probability_is_compared_as_the_number_it_is() -> None:
    stored = np.array([0.7], np.float32)  # 0.69999998..., short of the threshold 0.7
    assert not is_positive(stored, 0.7)[0]
    assert is_positive(stored, float(stored[0]))[0]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(FaceproofError, match="from 0 to 1"):
        is_positive(np.zeros(1), threshold)
