"""Which mistakes are shown, and what becomes of their images."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from faceproof.data.listing import DataSet
from faceproof.data.table import read_table, select, table_from_columns
from faceproof.evaluation.mistakes import (
    common_folder,
    mistakes,
    mistakes_plot,
    shown_paths,
    told_mistakes,
)
from faceproof.evaluation.predictions import (
    label_numbers,
    predictions_table,
    read_predictions,
)
from faceproof.io.run_folder import RunFolder
from faceproof.reports.mistake_images import (
    SIDE,
    log_mistakes,
    mistake_images,
    small_copies,
)
from faceproof.task import get_task
from faceproof.workflows.evaluate import evaluate_run
from tests.conftest import write_faces
from tests.jobs import train

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


def draw(folder, number, size=(320, 200)):
    for place in range(number):
        noise = np.random.default_rng(place).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{place}.jpg", quality=95)


def test_the_most_confident_mistakes_of_each_direction_come_first():
    found = mistakes(predictions(), TASK, 0.5)
    assert {name: rows["path"].to_pylist() for name, rows in found.items()} == {
        "fake called real": ["1.jpg", "2.jpg"],
        "real called fake": ["4.jpg", "3.jpg"],
    }
    assert mistakes(predictions(), TASK, 0.97)["real called fake"].num_rows == 0


def test_ties_are_in_the_order_of_their_names():
    table = predictions(["real"] * 4, [0.8] * 4)
    shuffled = table.take([2, 0, 3, 1])
    both = [mistakes(one, TASK, 0.5)["real called fake"] for one in (table, shuffled)]
    paths = [rows["path"].to_pylist() for rows in both]
    assert paths[0] == paths[1] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_a_mistake_is_told_with_the_probability_of_the_class_that_was_called():
    told = told_mistakes(predictions(), TASK, 0.5, number=1)
    assert [row["num"] for row in told.values()] == [2, 2]
    missed, alarm = (row["shown"][0] for row in told.values())
    assert (missed["label"], missed["called"], missed["generator"]) == ("fake", "real", "gan")
    assert missed["certainty"] == pytest.approx(0.9)
    assert (alarm["label"], alarm["called"], alarm["source"]) == ("real", "fake", "web")
    assert alarm["certainty"] == alarm["probability"] == pytest.approx(0.95)
    assert shown_paths(told) == ["1.jpg", "4.jpg"]


def test_small_copies_are_bounded_and_keep_their_shape(tmp_path):
    draw(tmp_path, 2)
    found = small_copies([f"{tmp_path}/0.jpg", f"{tmp_path}/1.jpg"])
    assert [pixels.shape for pixels in found.values()] == [(SIDE * 200 // 320, SIDE, 3)] * 2


def test_an_image_that_has_gone_is_named_and_left_out(tmp_path, caplog):
    draw(tmp_path, 5)
    (tmp_path / "1.jpg").unlink()
    (tmp_path / "3.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        found = mistake_images(predictions(folder=f"{tmp_path}/"), TASK, 0.5)
    assert set(found) == {f"{tmp_path}/2.jpg", f"{tmp_path}/4.jpg"}
    assert "1.jpg cannot be shown among the mistakes: the file is not there" in caplog.text
    assert "3.jpg cannot be shown among the mistakes: no image format" in caplog.text


def test_the_figure_shows_the_images_with_what_was_called(tmp_path):
    draw(tmp_path, 5)
    table = predictions(folder=f"{tmp_path}/")
    told = told_mistakes(table, TASK, 0.5)["fake called real"]
    figure = mistakes_plot("fake called real", told, mistake_images(table, TASK, 0.5))
    assert figure.get_suptitle() == "fake called real: 2 of 2, the most confident first"
    captions = [axes.get_xlabel() for axes in figure.axes]
    assert captions == ["90.0% real\ngan\n1.jpg", "60.0% real\ngan\n2.jpg"]
    assert figure.axes[0].get_images()[0].get_array().shape == (90, 144, 3)
    assert mistakes_plot("fake called real", told, {}) is None


def test_a_name_is_no_formula(tmp_path):
    draw(tmp_path, 1)
    (tmp_path / "0.jpg").rename(tmp_path / "a$_^_$.jpg")
    path = f"{tmp_path}/a$_^_$.jpg"
    table = predictions(["fake"], [0.1])
    table = table.set_column(table.schema.get_field_index("path"), "path", [[path]])
    told = told_mistakes(table, TASK, 0.5)["fake called real"]
    figure = mistakes_plot("fake called $_^_$", told, mistake_images(table, TASK, 0.5))
    assert figure.axes[0].get_xlabel().endswith("a$_^_$.jpg")
    figure.savefig(tmp_path / "figure.png")


def test_they_are_among_the_images_of_a_run_that_keeps_any(tmp_path):
    (tmp_path / "images").mkdir()
    draw(tmp_path / "images", 5)
    table = predictions(folder=f"{tmp_path}/images/")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.update_record(best_epoch=3)
    log_mistakes(run, "web-test", table, TASK, 0.5)
    assert not list(run.path.glob("events.*"))
    SummaryWriter(run.path).close()
    log_mistakes(run, "web-test", table, TASK, 0.5)
    log_mistakes(run, "sure", table, TASK, 0.97)  # one direction has none
    board = EventAccumulator(str(run.path)).Reload()
    tags = [f"mistakes/{name}" for name in (
        "web-test/fake_called_real", "web-test/real_called_fake", "sure/fake_called_real"
    )]  # fmt: skip
    assert sorted(board.Tags()["images"]) == sorted(tags)
    (image,) = board.Images(tags[0])
    assert (image.step, image.width > image.height > 100) == (3, True)


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


def test_an_evaluation_shows_them_and_survives_an_image_that_vanishes(tmp_path):
    faces = write_faces(tmp_path / "faces", train=8, val=8, test=8)
    run = train(
        tmp_path / "run",
        "data=face_or_not", f"data.root={faces}", "model=face_cnn", "model.input.size=16",
        "trainer=cpu", "trainer.max_epochs=1", "loader.batch_size=8", "loader.num_workers=0",
    )  # fmt: skip
    table = select(read_table(run.samples), "test")
    face = get_task("face")
    gone = table.filter(pc.equal(table["label"], "face"))["path"][0].as_py()

    def all_wrong(rows, condition=None):
        Path(gone).unlink()
        return np.where(label_numbers(rows, face) == 1, -9.0, 9.0)

    folder = evaluate_run(run, all_wrong, DataSet("face_or_not", face, table))
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
    wrong = mistakes(
        read_predictions(run.validation), face, run.read_operating_point()["threshold"]
    )
    there = {tag for tag in tags if tag.startswith("mistakes/validation/")}
    assert there == {
        f"mistakes/validation/{name}".replace(" ", "_") for name, rows in wrong.items() if len(rows)
    }
