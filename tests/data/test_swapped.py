"""Labels that say the opposite of their words are told; those that do not are left alone."""

import logging

import pytest

from faceproof.data.listing import FolderData, TableData
from faceproof.data.swapped import class_in, warn_of_swapped_labels
from faceproof.task import get_task
from tests.conftest import write_images


@pytest.mark.parametrize(
    ("word", "task", "named"),
    [
        ("real", "deepfake", "real"),
        ("Training_Fakes", "deepfake", "fake"),
        ("real-vs-fake", "deepfake", None),
        ("surreal", "deepfake", None),
        ("0", "deepfake", None),
        ("faces", "face", "face"),
        ("NON FACE", "face", "non_face"),
        ("non-faces", "face", "non_face"),
        ("objects", "face", None),
        ("no_face", "face", "non_face"),
        ("without faces", "face", "non_face"),
        ("not_real", "deepfake", None),
        ("non-fake", "deepfake", None),
    ],
)
def test_the_class_that_a_word_names(word, task, named):
    assert class_in(word, get_task(task)) == named


def test_ready_meanings_are_not_called_swapped(caplog):
    labels = {"real": "real", "original": "real", "celeb-synthesis": "fake", "0": "fake"}
    warn_of_swapped_labels(labels | {"fake": None}, get_task("deepfake"))
    warn_of_swapped_labels({"faces": "face", "non-faces": "non_face"}, get_task("face"))
    assert not caplog.records


def test_swapped_labels_of_a_folder_and_of_a_table_are_told(tmp_path, caplog):
    for label in ("real", "fake"):
        write_images(tmp_path / label, ["a.jpg", "b.jpg"])
    FolderData(
        name="mine", task="deepfake", root=str(tmp_path), layout="{label}/*",
        labels={"real": "fake", "fake": "real"},
    ).list()  # fmt: skip
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 2
    assert told[0].startswith("SWAPPED LABELS? data.labels.real=fake: the word says real")
    assert "write data.labels.real=real" in told[0]
    caplog.clear()
    (tmp_path / "images.csv").write_text("path,label\nreal/a.jpg,real\nfake/a.jpg,fake\n")
    TableData(
        name="mine", task="deepfake", file=str(tmp_path / "images.csv"), labels={"real": "fake"}
    ).list()
    assert "data.labels.real=fake" in caplog.text
