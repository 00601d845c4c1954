import logging

import pytest

from faceproof.data.guess import guess_settings
from faceproof.data.sources import make_source, resolve
from faceproof.errors import FaceproofError


@pytest.fixture
def make_tree(tmp_path, make_images):
    """Return what makes folders of images of a few names each."""

    def make(folders, names=("a.jpg", "b.jpg")):
        for folder in folders:
            make_images(tmp_path / folder, list(names))

    return make


def guessed(root, **given):
    return guess_settings({"kind": "guess", "name": "mine", "root": str(root), **given})


@pytest.mark.parametrize(
    ("folders", "layout", "labels", "splits"),
    [
        (["Real", "FAKE/a/b"], "{label}/**", {"Real": "real", "FAKE": "fake"}, {}),
        (["0_real", "1_fake"], "{label}/**", {"0_real": "real", "1_fake": "fake"}, {}),
        (["RealFaces", "DeepFakes-2"], "{label}/**", {"RealFaces": "real", "DeepFakes-2": "fake"},
         {}),
        (["x/TRAIN/real", "x/TRAIN/fake", "x/Valid/real", "x/Valid/fake", "x/test/real",
          "x/test/fake"], "*/{split}/{label}/**", {"real": "real", "fake": "fake"},
         {"TRAIN": "train", "Valid": "val", "test": "test"}),
        (["real/train", "real/val", "fake/train", "fake/val"], "{label}/{split}/**",
         {"real": "real", "fake": "fake"}, {"train": "train", "val": "val"}),
        (["real_vs_fake/training_real", "real_vs_fake/training_fake"], "*/{label}/**",
         {"training_real": "real", "training_fake": "fake"}, {}),
        (["faces", "Non-Faces"], "{label}/**", {"faces": "face", "Non-Faces": "non_face"}, {}),
        (["no_face", "face"], "{label}/**", {"face": "face", "no_face": "non_face"}, {}),
        (["0", "1"], "{label}/**", {"0": "real", "1": "fake"}, {}),
    ],
)  # fmt: skip
def test_what_folders_mean(folders, layout, labels, splits, tmp_path, make_tree):
    make_tree(folders)
    found = guessed(tmp_path)
    assert (found["layout"], found["labels"], found["splits"]) == (layout, labels, splits)
    listed = make_source(found).list()
    assert listed.table.num_rows == 2 * len(folders)
    assert set(listed.table["label"].to_pylist()) == set(labels.values())


def test_what_was_guessed_is_said(tmp_path, make_tree, caplog):
    make_tree(["0", "1"], ["a.jpg"])
    with caplog.at_level(logging.WARNING):
        guessed(tmp_path)
    assert "guessed the layout {label}/**, in which 0 = real, 1 = fake" in caplog.text
    assert "the other way round, give data.labels.0=fake data.labels.1=real" in caplog.text


def test_validation_is_taken_from_training_where_there_is_none(tmp_path, make_tree, caplog):
    many = [f"{number}.jpg" for number in range(40)]
    folders = ("train/real", "train/fake", "test/real", "test/fake")
    make_tree(folders, many)
    found = guessed(tmp_path)
    assert found["splits"] == {"train": "auto", "test": "test"}
    assert "a part of train is taken" in caplog.text
    splits = make_source(found).list().table["split"].to_pylist()
    assert splits.count("test") == 80
    assert 5 <= splits.count("val") <= 20
    assert guessed(tmp_path, ratios={"train": 0.5, "val": 0.5})["splits"]["train"] == "train"


def test_what_is_given_stands_beside_the_guess(tmp_path, make_tree):
    make_tree(["Real", "Fake", "masks"], ["a.jpg"])
    with pytest.raises(FaceproofError, match=r"data\.labels\.masks=NAME"):
        make_source(guessed(tmp_path)).list()
    found = guessed(tmp_path, labels={"masks": None, "real": "real"}, generator="gan")
    assert found["labels"] == {"Fake": "fake", "masks": None, "real": "real"}
    assert found["generator"] == "gan"
    assert make_source(found).list().table.num_rows == 2
    assert guessed(tmp_path, labels={"masks": None}, task="deepfake")["task"] == "deepfake"


def test_folders_that_do_not_tell_are_refused_with_what_is_there(tmp_path, make_tree):
    make_tree(["cats", "dogs"], ["a.jpg"])
    with pytest.raises(FaceproofError, match=r"(?s)real/fake.*cats/.*data\.labels\.WORD=real"):
        guessed(tmp_path)
    with pytest.raises(FaceproofError, match="there is no folder"):
        guessed(tmp_path / "nowhere")


def test_a_guess_inside_a_combined_set_is_resolved(tmp_path, make_tree):
    make_tree(["Real", "Fake"], ["a.jpg"])
    one = {"kind": "guess", "name": "mine", "root": str(tmp_path)}
    sets = resolve({"kind": "combined", "sets": {"mine": one}})["sets"]
    assert sets["mine"]["kind"] == "folder"
    assert resolve({"kind": "demo"}) == {"kind": "demo"}
