"""The mistakes of an evaluation: in its report and in the run's TensorBoard images."""

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from faceproof.data.listing import DataSet
from faceproof.data.run_tables import read_samples
from faceproof.data.table import select
from faceproof.evaluation.config import EvaluateConfig
from faceproof.evaluation.mistakes import find_mistakes, mistake_rows
from faceproof.evaluation.predictions import label_numbers, read_predictions
from faceproof.io.run_folder import RunFolder
from faceproof.task import get_task
from faceproof.workflows.calibrate import log_mistakes
from faceproof.workflows.evaluate import evaluate_run
from tests.conftest import write_faces
from tests.evaluation.test_mistakes import TASK, predictions
from tests.jobs import train
from tests.reports.test_image_grid import draw


def test_they_are_among_the_images_of_a_run_that_keeps_any(tmp_path):
    (tmp_path / "images").mkdir()
    draw(tmp_path / "images", 5)
    table = predictions(folder=f"{tmp_path}/images/")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.update_record(best_epoch=3)
    log_mistakes(run, "web-test", find_mistakes(table, TASK, 0.5))
    assert not list(run.path.glob("events.*"))
    SummaryWriter(run.path).close()
    log_mistakes(run, "web-test", find_mistakes(table, TASK, 0.5))
    log_mistakes(run, "sure", find_mistakes(table, TASK, 0.97))  # one direction has none
    board = EventAccumulator(str(run.path)).Reload()
    tags = [f"mistakes/{name}" for name in (
        "web-test/fake_called_real", "web-test/real_called_fake", "sure/fake_called_real"
    )]  # fmt: skip
    assert sorted(board.Tags()["images"]) == sorted(tags)
    (image,) = board.Images(tags[0])
    assert (image.step, image.width > image.height > 100) == (3, True)


def test_an_evaluation_shows_them_and_survives_an_image_that_vanishes(tmp_path):
    faces = write_faces(tmp_path / "faces", train=8, val=8, test=8)
    run = train(
        tmp_path / "run",
        "data=face_or_not", f"data.root={faces}", "model=face_cnn", "model.input.size=16",
        "trainer=cpu", "trainer.max_epochs=1", "loader.batch_size=8", "loader.num_workers=0",
    )  # fmt: skip
    table = select(read_samples(run), "test")
    face = get_task("face")
    gone = table.filter(pc.equal(table["label"], "face"))["path"][0].as_py()

    def all_wrong(rows, corruption=None):
        Path(gone).unlink()
        return np.where(label_numbers(rows, face) == 1, -9.0, 9.0), None

    config = EvaluateConfig(str(run.path))
    folder = evaluate_run(run, config, all_wrong, DataSet("face_or_not", face, table))
    told = json.loads((folder / "report.json").read_text())["mistakes"]
    assert {name: rows["num"] for name, rows in told.items()} == {
        "face called non_face": 8,
        "non_face called face": 8,
    }
    text = (folder / "report.html").read_text()
    assert text.count("data:image/jpeg") == 15
    assert text.count('<p class="none">no image</p>') == 1
    assert Path(gone).name in text
    board = EventAccumulator(str(run.path)).Reload()
    tags = board.Tags()["images"]
    for direction in ("face_called_non_face", "non_face_called_face"):
        (image,) = board.Images(f"mistakes/face_or_not-test/{direction}")
        assert image.step == run.read_record()["best_epoch"]
    wrong = mistake_rows(
        read_predictions(run.validation), face, run.read_operating_point()["threshold"]
    )
    there = {tag for tag in tags if tag.startswith("mistakes/validation/")}
    assert there == {
        f"mistakes/validation/{name}".replace(" ", "_") for name, rows in wrong.items() if len(rows)
    }
