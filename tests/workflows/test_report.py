"""The scores of any detector, reported: the numbers, the threshold, and without torch."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference

from faceproof.cli.main import main
from faceproof.evaluation.evaluation_result import Evaluation
from faceproof.evaluation.operating_point import ThresholdConfig, fit_operating_point
from faceproof.evaluation.predictions import read_predictions
from faceproof.evaluation.subgroups import find_subgroups
from faceproof.task import TASKS
from faceproof.workflows import report as workflow
from tests.conftest import write_images

TONES = ("dark", "light")


def scores(num: int, seed: int, begin: int = 0) -> list[dict[str, object]]:
    random = np.random.default_rng(seed)
    rows = []
    for number in range(num):
        fake = number % 2
        tone = TONES[number // 2 % 2]
        logit = random.normal(1.5 * (2 * fake - 1) - 0.8 * fake * (tone == "dark"), 1)
        rows.append(
            {
                "path": f"img/{begin + number}.png", "label": ("real", "fake")[fake],
                "score": 1 / (1 + np.exp(-logit)), "generator": ("gan", "flow")[number // 4 % 2]
                if fake else "", "source": ("web", "lab")[number % 3 == 0], "tone": tone,
            }
        )  # fmt: skip
    return rows


def written(file: Path, rows: list[dict[str, object]]) -> Path:
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Rows of a table of scores in the folder one is in."""
    monkeypatch.chdir(tmp_path)
    rows = scores(200, 1)
    written(tmp_path / "mine.csv", rows)
    return rows


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Evaluation]:
    """What is reported, of which no page is drawn: that takes most of the time."""
    kept: list[Evaluation] = []
    monkeypatch.setattr(workflow, "write_report", lambda *given: kept.append(given[2]))
    return kept


def test_the_report_has_the_metrics_of_scikit_learn(table: list[dict[str, object]]) -> None:
    assert main(["report", "mine.csv", "--score", "probability", "--subgroups", "tone"]) == 0
    found = json.loads(Path("report/report.json").read_text())
    labels = [row["label"] == "fake" for row in table]
    values = np.array([row["score"] for row in table], float)
    expected = {
        "roc_auc": reference.roc_auc_score(labels, values),
        "average_precision": reference.average_precision_score(labels, values),
        "accuracy": reference.accuracy_score(labels, values >= 0.5),
        "brier": reference.brier_score_loss(labels, values),
    }
    metrics = found["metrics"]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert all(low <= expected[name] <= high for name in expected
               for low, high in [found["intervals"]["metrics"][name]])  # fmt: skip
    assert {row["value"] for row in found["by_source"]} == {"web", "lab"}
    assert {row["value"] for row in found["by_generator"]} == {None, "gan", "flow"}
    (subgroups,) = found["subgroups"]
    predictions = read_predictions(Path("report/predictions.parquet"))
    (again,) = find_subgroups(predictions, TASKS["deepfake"], 0.5)
    assert subgroups["gaps"]["roc_auc"]["difference"] == again.gaps["roc_auc"].difference
    for row in again.rows:
        here = np.array([one["tone"] == row.value for one in table])
        area = reference.roc_auc_score(np.array(labels)[here], values[here])
        assert row.roc_auc == pytest.approx(area)
    page = " ".join(Path("report/report.html").read_text().split())
    assert '<section id="subgroups">' in page
    assert "No threshold from validation" in page
    assert "Times this run" not in page
    assert "probabilities of fake, as the table has them" in page
    assert Path("report/tables/subgroups.csv").is_file()
    assert Path("report/tables/gaps.tex").is_file()


def test_without_validation_it_is_said_that_nothing_fixed_the_threshold(
    table: list[dict[str, object]], found: list[Evaluation], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "mine.csv", "--score", "probability"]) == 0
    assert "No threshold from validation" in capsys.readouterr().out
    numbers = found[0].to_json()
    assert numbers["threshold"] == 0.5
    assert numbers["threshold_origin"] == "0.5, by convention: none was fixed on validation"
    assert numbers["operating_point"] is None


@pytest.mark.parametrize("inside", [False, True])
def test_threshold_and_calibration_come_from_validation(
    inside: bool,
    table: list[dict[str, object]],
    found: list[Evaluation],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    validation = scores(160, 2, begin=1000)
    words = ["--score", "probability", "--threshold.criterion", "f1"]
    if inside:
        both = [{**row, "split": "test"} for row in table]
        both += [{**row, "split": "dev"} for row in validation]
        both += [{**row, "path": "t", "split": "train"} for row in table[:1]]
        written(tmp_path / "mine.csv", both)
    else:
        words += ["--validation", str(written(tmp_path / "val.csv", validation))]
    assert main(["report", "mine.csv", *words]) == 0
    labels = np.array([row["label"] == "fake" for row in validation], np.int64)
    values = np.array([row["score"] for row in validation], float)
    logits = np.log(values / (1 - values)).astype(np.float32)
    expected = fit_operating_point(labels, logits, ThresholdConfig(criterion="f1"))
    numbers = found[0].to_json()
    assert numbers["threshold"] == pytest.approx(expected.threshold)
    temperature = numbers["operating_point"]["calibration"]["temperature"]
    assert temperature == pytest.approx(expected.calibration.temperature)
    assert numbers["metrics"]["num_images"] == 200
    assert "No threshold from validation" not in capsys.readouterr().out
    if inside:
        assert numbers["skipped"] == {"Of the split train, not reported": 1}


def test_other_scores_of_the_same_ranking_have_the_same_area(
    table: list[dict[str, object]], found: list[Evaluation], tmp_path: Path
) -> None:
    for kind, change in (
        ("probability", lambda p: p), ("percent", lambda p: 100 * p),
        ("logit", lambda p: np.log(p / (1 - p))),
    ):  # fmt: skip
        rows = [{**row, "score": change(row["score"])} for row in table]
        written(tmp_path / "mine.csv", rows)
        assert main(["report", "mine.csv", "--score", kind]) == 0
    turned = [{**row, "score": 1 - row["score"]} for row in table]
    written(tmp_path / "mine.csv", turned)
    assert main(["report", "mine.csv", "--score", "probability", "--score-of", "real"]) == 0
    areas = [one.metrics["roc_auc"] for one in found]
    assert areas == pytest.approx([areas[0]] * 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what the scores in mine.csv are"),
        (["--score", "probability", "--subgroups", "age"], "no column age"),
        (["--score", "probability", "--subgroups", "generator"], "no further column"),
        (["--score", "probability", "--threshold.criterion", "f1"], "no scores of validation"),
        (["--score", "probability", "--validation", "mine.csv"], "images are in both"),
        (["--score", "probability", "--columns.file=path"], "'file', which is no column"),
        (["--score", "probability", "--columns.label=null"], "has a label"),
        (["--score", "chance"], "probability"),
        (["--score", "probability", "--images", "none.csv"], "there is no table at none.csv"),
        (["--score", "probability", "--task", "dog"], "there is no task 'dog'"),
    ],
)
def test_what_cannot_be_reported_is_refused(
    words: list[str], said: str, table: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "mine.csv", *words]) == 2
    assert said in capsys.readouterr().err
    assert not Path("report").exists()


def test_of_a_table_of_validation_its_split_val_is_taken(
    table: list[dict[str, object]],
    found: list[Evaluation],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["report", "mine.csv", "--score", "probability", "--validation", "val.csv"]
    rows = [{**row, "split": "val"} for row in scores(160, 2, begin=1000)]
    written(tmp_path / "val.csv", rows)
    assert main(words) == 0
    more = [{**row, "split": "test"} for row in table]  # those that are reported
    more += [{**row, "split": "train"} for row in scores(80, 3, begin=2000)]
    written(tmp_path / "val.csv", rows + more)
    assert main(words) == 0
    assert found[0].operating_point == found[1].operating_point
    written(tmp_path / "val.csv", more)
    assert main(words) == 2
    assert "no row of val in it; found test (200), train (80)" in capsys.readouterr().err


@pytest.mark.parametrize("inside", [False, True])
def test_frames_of_one_video_are_not_in_validation_and_in_what_is_reported(
    inside: bool,
    table: list[dict[str, object]],
    found: list[Evaluation],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["report", "mine.csv", "--score", "probability"]
    ours = [{**row, "group": f"v{n // 4}"} for n, row in enumerate(table)]
    for first, code in ((1000, 0), (49, 2)):
        theirs = [
            {**row, "group": f"v{first + n // 4}"} for n, row in enumerate(scores(160, 2, 1000))
        ]
        if inside:
            both = [{**row, "split": "test"} for row in ours]
            written(tmp_path / "mine.csv", both + [{**row, "split": "val"} for row in theirs])
            assert main(words) == code
        else:
            written(tmp_path / "mine.csv", ours)
            written(tmp_path / "val.csv", theirs)
            assert main([*words, "--validation", "val.csv"]) == code
    assert "1 values of group are in both" in capsys.readouterr().err
    assert len(found) == 1


def test_validation_of_one_class_is_refused(
    table: list[dict[str, object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for row in scores(80, 3, begin=500) if row["label"] == "fake"]
    written(tmp_path / "val.csv", rows)
    assert main(["report", "mine.csv", "--score", "probability", "--validation", "val.csv"]) == 2
    assert "both classes" in capsys.readouterr().err


def test_images_of_one_class_say_that_no_ranking_can_be_measured(
    table: list[dict[str, object]],
    found: list[Evaluation],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(tmp_path / "mine.csv", [row for row in table if row["label"] == "fake"])
    assert main(["report", "mine.csv", "--score", "probability"]) == 0
    assert found[0].metrics["roc_auc"] is None
    assert "Every image is fake" in capsys.readouterr().out


def test_images_that_are_there_are_shown(
    table: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    monkeypatch.setattr(workflow, "write_report", lambda *given: shown.append(len(given[3].images)))
    words = ["report", str(tmp_path / "mine.csv"), "--score", "probability"]
    assert main(words) == 0
    write_images(tmp_path / "img", [f"{number}.png" for number in range(200)])
    monkeypatch.chdir("/")  # paths start from the folder of the table
    assert main(words) == 0
    assert shown[0] == 0
    assert shown[1] > 0


def test_report_and_comparison_of_tables_need_no_torch(
    table: list[dict[str, object]], tmp_path: Path
) -> None:
    other = [{**row, "score": 0.5 + 0.4 * (row["score"] - 0.5)} for row in table]
    written(tmp_path / "other.csv", other)
    program = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'pytorch_lightning', 'torchmetrics'):\n"
        "    sys.modules[name] = None\n"
        "from faceproof.cli.main import main\n"
        "how = ['--score', 'probability', '--subgroups', 'tone']\n"
        "assert main(['report', 'mine.csv', *how]) == 0\n"
        "assert main(['compare', 'mine.csv', 'other.csv', *how]) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path("report/report.html").is_file()
    assert Path("comparison/comparison.html").is_file()
