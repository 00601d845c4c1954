"""Which mistakes are shown, and what is said of them."""

import numpy as np
import pytest

from faceproof.data.table import table_from_columns
from faceproof.evaluation.mistakes import (
    common_folder,
    find_mistakes,
    mistake_rows,
    shown_paths,
)
from faceproof.evaluation.predictions import predictions_table
from faceproof.task import get_task

TASK = get_task("deepfake")
LABELS = ["fake", "fake", "fake", "real", "real", "real", None]
PROBABILITIES = [0.9, 0.1, 0.4, 0.6, 0.95, 0.2, 0.99]


def predictions(labels=LABELS, probabilities=PROBABILITIES, folder=""):
    probabilities = np.array(probabilities)
    columns = {
        "path": [f"{folder}{number}.jpg" for number in range(len(labels))],
        "label": labels,
        "source": ["web"] * len(labels),
        "generator": ["gan" if label == "fake" else None for label in labels],
    }
    logits = np.log(probabilities / (1 - probabilities))
    return predictions_table(table_from_columns(columns), logits, probabilities)


def test_the_most_confident_mistakes_of_each_direction_come_first():
    found = mistake_rows(predictions(), TASK, 0.5)
    assert {name: rows["path"].to_pylist() for name, rows in found.items()} == {
        "fake called real": ["1.jpg", "2.jpg"],
        "real called fake": ["4.jpg", "3.jpg"],
    }
    assert mistake_rows(predictions(), TASK, 0.97)["real called fake"].num_rows == 0


def test_ties_are_in_the_order_of_their_names():
    table = predictions(["real"] * 4, [0.8] * 4)
    shuffled = table.take([2, 0, 3, 1])
    both = [mistake_rows(one, TASK, 0.5)["real called fake"] for one in (table, shuffled)]
    paths = [rows["path"].to_pylist() for rows in both]
    assert paths[0] == paths[1] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_a_mistake_is_told_with_the_probability_of_the_class_that_was_called():
    found = find_mistakes(predictions(), TASK, 0.5, number=1)
    assert [row.num for row in found.values()] == [2, 2]
    missed, alarm = (row.shown[0] for row in found.values())
    assert (missed.label, missed.called, missed.generator) == ("fake", "real", "gan")
    assert missed.certainty == pytest.approx(0.9)
    assert (alarm.label, alarm.called, alarm.source) == ("real", "fake", "web")
    assert alarm.certainty == alarm.probability == pytest.approx(0.95)
    assert shown_paths(found.values()) == ["1.jpg", "4.jpg"]


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["/a/b/c/1.jpg", "/a/b/d/2.jpg"], "/a/b/"),
        (["/a/bc/1.jpg", "/a/bd/2.jpg"], "/a/"),
        (["/a/1.jpg"], "/a/"),
        (["/a/1.jpg", "/b/1.jpg"], ""),
        (["1.jpg", "a/2.jpg"], ""),
        ([], ""),
    ],
)
def test_the_folder_that_files_share_is_said_once(paths, folder):
    assert common_folder(paths) == folder
