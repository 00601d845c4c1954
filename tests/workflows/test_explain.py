"""`faceproof explain` on a small run: which images, which measures, and what is written."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from faceproof.data.image_io import read_image
from faceproof.data.model_input import fit_image
from faceproof.data.run_tables import read_samples
from faceproof.data.table import select, table_from_columns
from faceproof.errors import FaceproofError
from faceproof.explain.attribution import attribute, find_layer
from faceproof.explain.config import MapConfig
from faceproof.explain.explanation import explain_rows
from faceproof.explain.loaded_detector import load_subject
from faceproof.io.atomic import CannotWriteError
from faceproof.workflows import explain as workflow
from faceproof.workflows.explain import ExplainConfig, explain, log_gallery, write
from faceproof.workflows.export import export_run
from faceproof.workflows.features import FeaturesConfig, features
from tests.explained_run import SIZE, TASK, make_explained_run
from tests.reports.test_explain_page import explained as shown_image
from tests.reports.test_explain_page import explanation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Make what train.py and evaluate.py leave, without training."""
    return make_explained_run(tmp_path_factory.mktemp("runs") / "small")


def explained(subject, images=(), **settings):
    return explain(ExplainConfig(subject, tuple(images), **settings))


def select_paths(run):
    return select(read_samples(run), "val")["path"].to_pylist()


def test_without_images_the_mistakes_are_explained_and_the_maps_measured(run, capsys):
    explained(run.path, sample=6, mistakes=2, methods=("cam",))
    out = run.path / "explanation"
    found = json.loads((out / "explanation.json").read_text())
    assert {one["section"] for one in found["images"]} == {"fake called real", "real called fake"}
    assert all(one["label"] != one["called"] for one in found["images"])
    assert found["layer"] == "backbone.blocks"
    measures = found["trust"]
    assert (measures["num_images"], list(measures["methods"])) == (6, ["cam"])
    assert 0 < measures["num_planted"] <= 6
    planted = measures["methods"]["cam"]["planted"]
    assert planted["num_images"] == measures["num_found"] > 0
    # One chance for the map and for the mask: the same random orders of the same images.
    assert planted["deletion"]["random_area"] == measures["mask_deletion"]["random_area"]
    assert planted["deletion"]["area"] != measures["mask_deletion"]["area"]
    text = capsys.readouterr().out
    assert "| small | class activation |" in text
    assert "effort thorough" in text
    assert f"page: {out / 'explanation.html'}" in text
    assert list(out.glob("events.*"))


def test_less_effort_is_less_of_everything_but_what_is_asked_for(run, tmp_path):
    common = {"methods": ("cam", "occlusion"), "effort": "least"}
    explained(run.path, **common, out=tmp_path / "least")
    explained(run.path, **common, sample=6, mistakes=1, out=tmp_path / "asked")
    least, asked = (
        json.loads((tmp_path / name / "explanation.json").read_text())
        for name in ("least", "asked")
    )
    assert (least["trust"]["num_images"], asked["trust"]["num_images"]) == (4, 6)
    sections = [[one["section"] for one in found["images"]] for found in (least, asked)]
    assert [len(words) // len(set(words)) for words in sections] == [2, 1]
    assert least["effort"]["name"] == asked["effort"]["name"] == "least"
    for found in (least, asked):
        (cam, _) = found["trust"]["methods"].values()
        assert (len(cam["stages"]), len(cam["deletion_curve"])) == (1, 5)


def test_the_same_seed_gives_the_same_numbers(run, tmp_path):
    for name in ("one", "two"):
        methods = ("cam", "integrated_gradients")
        explained(run.path, sample=2, mistakes=1, methods=methods, out=tmp_path / name)
    one, two = ((tmp_path / name / "explanation.json").read_text() for name in ("one", "two"))
    assert one == two


def test_images_that_are_named_get_what_the_detector_says_of_them(run, tmp_path, capsys):
    path = select_paths(run)[0]
    explained(run.path, (path,), methods=("cam",), out=tmp_path / "x")
    found = json.loads((tmp_path / "x" / "explanation.json").read_text())
    (one,) = found["images"]
    image = fit_image(read_image(path), SIZE, "bilinear").float()[None] / 255
    with torch.no_grad():
        logit = load_subject(run.path, "cpu").net(image).item()
    assert one["logit"] == pytest.approx(logit, abs=1e-5)
    assert (one["called"], one["label"]) == ("fake" if logit >= 0 else "real", None)
    assert found["trust"] is None
    assert "|" not in capsys.readouterr().out


def test_sanity_of_images_that_are_named(run, tmp_path, capsys):
    paths = tuple(select_paths(run)[:3])
    explained(run.path, paths, methods=("cam",), sanity=True, out=tmp_path / "x")
    found = json.loads((tmp_path / "x" / "explanation.json").read_text())
    assert found["trust"]["num_images"] == 3
    assert "those named" in capsys.readouterr().out


def test_images_are_named_by_folders_and_lists_too(run, tmp_path, capsys):
    for place, path in enumerate(select_paths(run)[:2]):
        (tmp_path / f"{place}.jpg").write_bytes(Path(path).read_bytes())
    (tmp_path / "Thumbs.db").touch()
    (tmp_path / "clip.mp4").touch()
    explained(run.path, (str(tmp_path),), methods=("cam",), out=tmp_path / "x")
    found = json.loads((tmp_path / "x" / "explanation.json").read_text())
    assert len(found["images"]) == 2
    said = capsys.readouterr().out
    assert "1 hidden file, or of systems and programs ('Thumbs.db')" in said
    assert "left out: 1 video" in said
    with pytest.raises(
        FaceproofError, match=r"there are no images in .*clip\.mp4; left out: 1 video"
    ):
        explained(run.path, (str(tmp_path / "clip.mp4"),), out=tmp_path / "y")


def test_maps_speak_for_the_positive_class_whatever_was_called(run):
    subject = load_subject(run.path, "cpu")
    rows = table_from_columns({"path": select_paths(run)})
    found = explain_rows(subject, rows, MapConfig(("cam",)))
    assert {one.called for one in found} == {"real", "fake"}
    images = np.stack([one.image for one in found])
    layer = find_layer(subject.net)
    wanted = attribute(subject.net, torch.from_numpy(images), "cam", layer)
    for one, expected in zip(found, wanted, strict=True):
        assert one.maps["cam"] == pytest.approx(expected, abs=1e-5)


def test_more_images_than_a_page_shows_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "MAX_IMAGES", 2)
    paths, options = tuple(select_paths(run)), {"methods": ("cam",), "out": tmp_path / "x"}
    with pytest.raises(FaceproofError, match=r"3 images .* name fewer, or set --mistakes lower"):
        explained(run.path, paths[:3], **options)
    with pytest.raises(FaceproofError, match="4 images"):
        explained(run.path, mistakes=2, **options)
    assert not (tmp_path / "x").exists()
    assert explained(run.path, paths[:2], **options).is_file()


def test_what_cannot_be_explained_is_refused(run, tmp_path):
    with pytest.raises(FaceproofError, match=r"neither a run .* nor a detector artifact"):
        explained(tmp_path)
    with pytest.raises(FaceproofError, match="'gradcam' must be one of cam, occlusion"):
        explained(run.path, methods=("gradcam",))
    with pytest.raises(FaceproofError, match=r"has no evaluation x; there are demo-test"):
        explained(run.path, evaluation="x", out=tmp_path / "x")
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(FaceproofError, match=r"a\.jpg cannot be explained"):
        explained(run.path, (str(tmp_path / "a.jpg"),), out=tmp_path / "x")
    with pytest.raises(FaceproofError, match="has no images in the split train"):
        features(FeaturesConfig(run.path, split="train", out=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_an_artifact_is_explained_like_its_run(run, tmp_path):
    export_run(run.path, tmp_path / "artifact")
    path = select_paths(run)[0]
    for subject, name in ((run.path, "of_run"), (tmp_path / "artifact", "of_artifact")):
        explained(subject, (path,), methods=("cam",), out=tmp_path / name)
    pages = [
        (tmp_path / name / "explanation.json").read_text() for name in ("of_run", "of_artifact")
    ]
    assert json.loads(pages[0])["images"] == json.loads(pages[1])["images"]
    with pytest.raises(FaceproofError, match="artifact and holds no evaluation"):
        explained(tmp_path / "artifact", out=tmp_path / "x")
    with pytest.raises(FaceproofError, match="artifact and names no images"):
        features(FeaturesConfig(tmp_path / "artifact", out=tmp_path / "x"))


def test_without_captum_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(workflow.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[explain\]'"):
        workflow.require_captum()


def test_the_gallery_goes_to_tensorboard(tmp_path):
    sections = ["fake called real", "fake called real", "real called fake"]
    with SummaryWriter(tmp_path) as writer:
        log_gallery(writer, [shown_image(section=name) for name in sections], TASK, step=3)
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()["images"]
    assert tags == ["fake_called_real/01", "fake_called_real/02", "real_called_fake/01"]
    (image,) = events.Images(tags[0])
    assert image.step == 3
    assert image.width > image.height > 100


def test_an_earlier_explanation_is_replaced_and_nothing_else(tmp_path):
    write(tmp_path / "out", explanation([shown_image(), shown_image()]))
    write(tmp_path / "out", explanation([shown_image()]))
    assert len(list((tmp_path / "out" / "plots").iterdir())) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(FaceproofError, match="holds something else"):
        write(tmp_path / "mine", explanation([shown_image()]))
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(FaceproofError, match=r"has not written there: thesis\.txt; move that away"):
        write(tmp_path / "out", explanation([shown_image()]))
    assert (tmp_path / "out" / "thesis.txt").is_file()


@pytest.mark.parametrize("before", [True, False])
def test_an_explanation_that_finds_no_room_leaves_the_earlier_one(tmp_path, monkeypatch, before):
    out = tmp_path / "out"
    if before:
        write(out, explanation([shown_image()]))
    there = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def fail(*given, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(CannotWriteError, match="could not be written: the disk is full") as told:
        write(out, explanation([shown_image()]))
    assert "partial" not in str(told.value)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == there
    assert list(tmp_path.iterdir()) == ([out] if before else [])
