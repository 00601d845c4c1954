"""Groups: one score for each, from the probabilities of its images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.groups import How, aggregate_groups, mixed_groups, unit_codes
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.predictions import SCHEMA, logits_of, predictions_table, probabilities_of
from faceproof.evaluation.scores import LabelledScores
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
REDUCE: dict[How, Callable[[Any], Any]] = {"mean": np.mean, "median": np.median, "max": np.max}


def table(
    labels: list[str | None],
    probabilities: list[float],
    groups: list[str | None],
    **columns: list[str | None],
) -> pa.Table:
    rows = table_from_columns(
        {
            "path": [f"/data/{number}.png" for number in range(len(labels))],
            "label": labels,
            "group": groups,
            **columns,
        }
    )
    return predictions_table(rows, np.zeros(len(labels)), np.array(probabilities))


@pytest.mark.parametrize("how", REDUCE)
def test_a_group_has_the_mean_median_or_maximum_of_its_probabilities(how: How) -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 40, 500)
    probabilities = random.random(500)
    labels: list[str | None] = [TASK.classes[code % 2] for code in codes]
    whole = table(labels, probabilities.tolist(), [f"v{code:02}" for code in codes])
    found = aggregate_groups(whole, how)
    assert found.predictions.schema == SCHEMA
    assert found.predictions["group"].to_pylist() == [f"v{code:02}" for code in range(40)]
    expected = [REDUCE[how](probabilities[codes == code]) for code in range(40)]
    assert probabilities_of(found.predictions) == pytest.approx(expected, abs=1e-6)
    shares = 1 / (1 + np.exp(-logits_of(found.predictions)))
    assert shares == pytest.approx(expected, abs=1e-6)
    assert found.predictions["label"].to_pylist() == [TASK.classes[code % 2] for code in range(40)]
    shuffled = whole.take(random.permutation(500))
    assert aggregate_groups(shuffled, how).predictions.equals(found.predictions)
    chunked = pa.concat_tables([whole.slice(0, 100), whole.slice(100)])
    assert aggregate_groups(chunked, how).predictions.equals(found.predictions)


def test_a_saturated_frame_does_not_outvote_the_rest() -> None:
    found = aggregate_groups(table(["real"] * 4, [1.0, 0.1, 0.1, 0.1], ["v"] * 4))
    assert probabilities_of(found.predictions) == pytest.approx([0.325])
    certain = aggregate_groups(table(["fake", "real"], [1.0, 0.0], ["a", "b"])).predictions
    assert np.isfinite(logits_of(certain)).all()


def test_images_without_a_group_are_left_out_and_counted() -> None:
    found = aggregate_groups(table(["real", "fake", "real"], [0.1, 0.9, 0.2], ["v", None, "v"]))
    assert found.num_without_group == 1
    assert found.predictions.num_rows == 1
    nothing = aggregate_groups(table(["real"], [0.1], [None]))
    assert (nothing.predictions.num_rows, nothing.num_without_group) == (0, 1)


def test_a_group_has_the_source_and_generator_that_all_its_images_have() -> None:
    found = aggregate_groups(
        table(
            ["fake", "fake", "fake", None, "real"],
            [0.5] * 5,
            ["a", "a", "b", "b", "c"],
            source=["x", "x", "x", "y", "y"],
            generator=["gan", "diffusion", "gan", None, None],
        )
    ).predictions
    assert found["source"].to_pylist() == ["x", None, "y"]
    assert found["generator"].to_pylist() == [None, "gan", None]
    assert found["label"].to_pylist() == ["fake", "fake", "real"]


def test_a_group_is_as_novel_as_the_median_of_its_images() -> None:
    whole = table(["real"] * 7, [0.1] * 7, ["a", "b", "a", "b", "a", "c", None])
    place = SCHEMA.get_field_index("novelty")

    def novelties(values: list[float | None]) -> list[float | None]:
        column = pa.array(values, pa.float32())
        found = aggregate_groups(whole.set_column(place, SCHEMA.field("novelty"), column))
        return list(found.predictions["novelty"].to_pylist())

    assert novelties([5, 1, 1, 2, 2, 9, 7]) == [2, 1.5, 9]
    assert novelties([5, 1, 1, None, 2, 9, 7]) == [2, None, 9]
    assert novelties([None] * 7) == [None] * 3


def test_a_group_of_both_classes_is_refused_by_name() -> None:
    mixed = table(["real", "fake", "real"], [0.1, 0.9, 0.2], ["id7", "id7", "id8"])
    assert mixed_groups(mixed) == ["id7"]
    with pytest.raises(FaceproofError, match="1 groups hold images of both classes, first id7"):
        aggregate_groups(mixed)
    with pytest.raises(FaceproofError, match="mean, median, max, share; found 'vote'"):
        aggregate_groups(mixed, "vote")  # type: ignore[arg-type]


def test_figures_of_groups_are_those_of_any_predictions() -> None:
    labels: list[str | None] = ["real", "real", "fake", "fake"]
    grouped = aggregate_groups(table(labels, [0.4, 0.7, 0.6, 0.3], ["a", "a", "b", "b"]))
    found = measure(grouped.predictions, TASK, 0.5)
    assert (found["num_images"], found["roc_auc"], found["accuracy"]) == (2, 0.0, 0.0)


def test_what_people_connect_is_one_unit() -> None:
    groups: list[str | None] = ["000", "000_003", "003", "777", None, None]
    connected: list[str | None] = ["a", "a", "a", None, None, "b"]
    predictions = table(["real"] * 6, [0.1] * 6, groups, component=connected)
    codes = unit_codes(predictions)
    assert len(set(codes[:3])) == 1
    assert len(set(codes)) == 4
    by_group = unit_codes(predictions.drop_columns(["component"]))
    assert len(set(by_group)) == 6
    levels = aggregate_groups(predictions).predictions
    assert levels["component"].to_pylist() == ["a", "a", "a", None]
    assert len(set(unit_codes(levels))) == 2
    assert LabelledScores.from_table(predictions, TASK, 0.5).num_units == 4
