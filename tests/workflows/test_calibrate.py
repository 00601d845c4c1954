import numpy as np
import pytest

from faceproof.data.table import table_from_columns
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.novelty import NoveltyPoint
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import predictions_table, sigmoid
from faceproof.io.run_folder import RunFolder
from faceproof.task import get_task
from faceproof.training.summary import print_end
from faceproof.workflows.calibrate import verdict, warnings
from tests.small_runs import write_run


@pytest.mark.parametrize(
    ("unsure", "said"),
    [
        ((0.5, 0.5), "in use it answers every image, 25.0% of them wrongly; measured"),
        ((0.3, 0.6), "in use it answers 75.0% of the images, 0.0% of those wrongly"),
    ],
)  # fmt: skip
def test_the_verdict_says_what_was_measured(unsure, said):
    """Logits -3 and 0.2 are real, 1 and 3 fake: one of four is called wrongly, by 0.55."""
    columns = {
        "path": list("abcd"), "label": ["real", "real", "fake", "fake"], "split": ["val"] * 4,
        "source": ["s"] * 4,
    }  # fmt: skip
    logits = np.array([-3, 0.2, 1, 3])
    predictions = predictions_table(table_from_columns(columns), logits, sigmoid(logits))
    point = OperatingPoint(Calibration(), 0.5, unsure=unsure)
    found = verdict(predictions, get_task("deepfake"), point)
    assert found.startswith(f"ROC-AUC 1.000; {said}")
    assert "measured on the 4 validation images" in found


def test_the_verdict_counts_strange_images_as_unsure():
    columns = {
        "path": list("abcd"), "label": ["real", "real", "fake", "fake"], "split": ["val"] * 4,
        "source": ["s"] * 4,
    }  # fmt: skip
    logits, novelties = np.array([-3, 0.2, 1, 3]), np.array([1.0, 4.0, 1.0, 1.0])
    predictions = predictions_table(table_from_columns(columns), logits, sigmoid(logits), novelties)
    point, limit = OperatingPoint(Calibration(), 0.5), NoveltyPoint(2.0, 0.05, 99, 99)
    found = verdict(predictions, get_task("deepfake"), point, limit)
    assert "in use it answers 75.0% of the images, 0.0% of those wrongly" in found


def test_a_training_warns_of_chance_and_of_what_the_operating_point_cannot_keep():
    labels = np.arange(40) % 2
    columns = {
        "path": [str(number) for number in range(40)], "split": ["val"] * 40,
        "label": [("real", "fake")[label] for label in labels], "source": ["s"] * 40,
    }  # fmt: skip
    table, task = table_from_columns(columns), get_task("deepfake")
    point = OperatingPoint(Calibration(), 0.5, warnings=("Too many wrong answers: 9%.",))
    of_videos = OperatingPoint(Calibration(), 0.5, warnings=("Validation has 2 videos.",))
    guessed = np.repeat([1.0, -1.0], 20)
    chance, *rest = warnings(
        predictions_table(table, guessed, sigmoid(guessed)), task, point, of_videos
    )
    assert chance.startswith("Not better than chance: the 95% interval of ROC-AUC, ")
    assert rest == ["Too many wrong answers: 9%.", "Validation has 2 videos."]
    right = labels * 4.0 - 2 + np.linspace(0, 1, 40)
    found = predictions_table(table, right, sigmoid(right))
    assert warnings(found, task, OperatingPoint(Calibration(), 0.5), None) == []
    swapped = predictions_table(table, -right, sigmoid(-right))
    assert warnings(swapped, task, point, None)[0].startswith("Worse than chance: ")


def test_the_warnings_stand_below_the_verdict(tmp_path, capsys):
    print_end(RunFolder(write_run(tmp_path / "run")), "ROC-AUC 0.5", ["Not better: a", "Too: b"])
    said = capsys.readouterr().out.splitlines()
    assert said[:4] == ["verdict: ROC-AUC 0.5", "Not better: a", "Too: b", "next:"]
