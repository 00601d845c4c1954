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
    given = {"train": 0.5, "val": 0.5, "test": None}
    found = guessed(tmp_path, ratios=given)
    assert found["ratios"] == {"train": 0.5, "val": 0.5}
    splits = make_source(found).list().table["split"].to_pylist()
    assert 25 <= splits.count("val") <= 55
    found = guessed(tmp_path, splits={"test": "val"})
    assert found["splits"] == {"train": "train", "test": "val"}


def test_what_is_given_stands_beside_the_guess(tmp_path, make_tree):
    make_tree(["Real", "Fake", "masks"], ["a.jpg"])
    with pytest.raises(FaceproofError, match=r"data\.labels\.masks=NAME"):
        make_source(guessed(tmp_path)).list()
    found = guessed(tmp_path, labels={"masks": None, "real": "real"}, generator="gan")
    assert found["labels"].items() >= {"Fake": "fake", "masks": None, "real": "real"}.items()
    assert found["generator"] == "gan"
    assert make_source(found).list().table.num_rows == 2
    assert guessed(tmp_path, labels={"masks": None}, task="deepfake")["task"] == "deepfake"


def test_folders_that_do_not_tell_are_refused_with_what_is_there(tmp_path, make_tree):
    make_tree(["cats", "dogs"], ["a.jpg"])
    with pytest.raises(FaceproofError, match=r"(?s)real/fake.*cats/.*data\.labels\.cats=NAME data"):
        guessed(tmp_path)
    with pytest.raises(FaceproofError, match="there is no folder"):
        guessed(tmp_path / "nowhere")


def test_a_guess_inside_a_combined_set_is_resolved(tmp_path, make_tree):
    make_tree(["Real", "Fake"], ["a.jpg"])
    one = {"kind": "guess", "name": "mine", "root": str(tmp_path)}
    sets = resolve({"kind": "combined", "sets": {"mine": one}})["sets"]
    assert sets["mine"]["kind"] == "folder"
    assert resolve({"kind": "demo"}) == {"kind": "demo"}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["real_train", "fake_train", "real_test", "fake_test"], r"\{label\}_\{split\}/\*\*"),
        (["fake", "other"], "folders that mean fake, and none that mean the other"),
        (["real", "fake/train"], "lie on different levels"),
        (["original", "Non-AI"], "folders that mean real, and none"),
    ],
)
def test_what_is_not_told_for_sure_is_refused(folders, message, tmp_path, make_tree):
    make_tree(folders)
    with pytest.raises(FaceproofError, match=message):
        guessed(tmp_path, task="deepfake")


def test_a_split_word_is_never_dropped(tmp_path, make_tree):
    folders = [f"{a}/{b}" for a in ("train", "test", "sample") for b in ("real", "fake")]
    make_tree(folders, [f"{number}.jpg" for number in range(9)])
    with pytest.raises(FaceproofError, match=r"(?s)'sample'.* is no split.*data\.splits\.sample"):
        make_source(guessed(tmp_path)).list()
    listed = make_source(guessed(tmp_path, splits={"sample": None})).list().table
    assert listed.num_rows == 36
    pairs = zip(listed["path"].to_pylist(), listed["split"].to_pylist(), strict=True)
    assert all(("/test/" in path) == (split == "test") for path, split in pairs)
    make_tree(["Train_Set/real", "Train_Set/fake"])
    assert guessed(tmp_path)["splits"]["Train_Set"] == "auto"


def test_into_what_the_training_images_are_divided_is_said(tmp_path, make_tree, caplog):
    make_tree(["Train/real", "Train/fake"], [f"{number}.jpg" for number in range(40)])
    listed = make_source(guessed(tmp_path)).list().table
    assert set(listed["split"].to_pylist()) == {"train", "val", "test"}
    assert "Train = train, val and test" in caplog.text
    assert "no test images" not in caplog.text
    caplog.clear()
    make_tree(["Test/real", "Test/fake"])
    guessed(tmp_path)
    assert "Test = test, Train = train and val" in caplog.text
    assert "auto" not in caplog.text


def test_folders_of_videos_stay_together_and_few_are_asked_about(tmp_path, make_tree, caplog):
    few = [f"{label}/vid{number}" for label in ("real", "fake") for number in range(2)]
    make_tree(few)
    assert guessed(tmp_path)["layout"] == "{label}/**"
    assert "'data.layout={label}/{group}/**'" in caplog.text
    make_tree([f"{label}/vid{number}" for label in ("real", "fake") for number in range(20)])
    listed = make_source(guessed(tmp_path)).list().table
    groups = set(zip(listed["group"].to_pylist(), listed["split"].to_pylist(), strict=True))
    assert len(groups) == 40


@pytest.mark.parametrize(
    "given", [{"task": "faces"}, {"ratios": 0.5}, {"labels": ["a"]}, {"root": " "}, {"rot": "x"}]
)
def test_settings_that_make_no_sense_are_refused_in_words(given, tmp_path, make_tree):
    make_tree(["real", "fake"])
    with pytest.raises(FaceproofError):
        guess_settings({"kind": "guess", "root": str(tmp_path), **given})


def test_a_set_is_named_after_its_folder(tmp_path, make_tree):
    make_tree(["My Faces (1)/real", "My Faces (1)/fake"])
    found = guess_settings({"kind": "guess", "root": str(tmp_path / "My Faces (1)")})
    assert make_source(found).list().name == "My-Faces-1"


def test_no_doubt_is_said_where_the_user_has_said_it(tmp_path, make_tree, caplog):
    make_tree(["0", "1"])
    guessed(tmp_path, labels={"0": "fake", "1": "real"})
    assert "the other way round" not in caplog.text


def test_a_folder_too_high_is_asked_about(tmp_path, make_tree):
    inside = [f"archive/set/{a}/{b}" for a in ("train", "test") for b in ("REAL", "FAKE")]
    make_tree(inside, [f"{number}.jpg" for number in range(9)])
    assert guessed(tmp_path)["layout"] == "*/*/{split}/{label}/**"  # one way: looked into
    make_tree(["archive/samples"])
    with pytest.raises(FaceproofError) as refusal:
        guessed(tmp_path)
    assert str(refusal.value).endswith(f"did you mean data.root={tmp_path}/archive/set?")
    assert guessed(tmp_path / "archive/set")["splits"] == {"train": "auto", "test": "test"}


def test_the_command_for_folders_that_do_not_tell_can_be_given(tmp_path, make_tree):
    make_tree(["set/cats", "set/dogs", "set/fake"], ["a.jpg"])
    with pytest.raises(FaceproofError) as refusal:
        guessed(tmp_path)
    (line,) = [line for line in str(refusal.value).splitlines() if "faceproof audit" in line]
    assert line.endswith("data.labels.cats=NAME data.labels.dogs=NAME data.labels.fake=fake")
    found = guessed(tmp_path, labels={"cats": "real", "dogs": None, "fake": "fake"})
    assert make_source(found).list().table.num_rows == 2
