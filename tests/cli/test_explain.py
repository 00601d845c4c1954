"""`faceproof explain` and `faceproof features` on a small run."""

import argparse
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from faceproof.artifact.export import export_run
from faceproof.audit.file_statistics import file_statistics_of
from faceproof.cli import explain as explain_commands
from faceproof.cli.explain import add_commands
from faceproof.data.demo.make import make_demo
from faceproof.data.image_io import read_image
from faceproof.data.model_input import fit_image
from faceproof.data.table import read_table, select, table_from_columns, write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation.operating_point import DEFAULT
from faceproof.evaluation.predictions import predictions_table, write_predictions
from faceproof.evaluation.scoring import score, sigmoid
from faceproof.explain.explanation import ExplainConfig, explain_rows
from faceproof.explain.sampling import sample_rows
from faceproof.explain.subject import load_subject
from faceproof.io.run_folder import RunFolder
from faceproof.models.build import build_network
from faceproof.task import get_task

TASK = get_task("deepfake")
SIZE = 32
NETWORK = {
    "_target_": "faceproof.models.make_detector",
    "backbone": {"_target_": "faceproof.models.backbones.face_cnn_backbone", "size": SIZE},
    "head": {"_target_": "faceproof.models.heads.HiddenHead", "_partial_": True, "num_hidden": 8},
    "input": {"size": SIZE, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Make what train.py and evaluate.py leave, without training."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    make_demo(folder.parent / "demo", TASK, num_per_class=12)
    images = sorted((folder.parent / "demo" / "pictures").glob("*/*/*.jpg"))
    rows = table_from_columns(
        {
            "path": [str(path) for path in images],
            "label": [path.parts[-3] for path in images],
            "generator": [path.parts[-2] for path in images],
            "source": ["demo"] * len(images),
            "split": ["val"] * len(images),
        }
    )
    made = RunFolder(folder)
    write_table(rows, made.samples)
    write_table(file_statistics_of(rows).select(["path", "content"]), made.seen)
    torch.manual_seed(0)
    net = build_network(NETWORK)
    with torch.no_grad():  # so that both classes are called
        net.head.logit.linear.weight *= 50
        logits = score(net, rows, TASK, num_workers=0)
        net.head.logit.linear.bias -= float(np.median(logits))
    torch.save({"state_dict": {f"net.{k}": v for k, v in net.state_dict().items()}}, made.best)
    config = {"model": {"name": "face_cnn", "network": NETWORK}, "data": {"task": "deepfake"}}
    made.config.write_text(yaml.safe_dump(config))
    made.write_operating_point(DEFAULT.to_json())
    made.update_record(data="demo")
    (made.evaluations / "demo-test").mkdir(parents=True)
    logits = score(net, rows, TASK, num_workers=0)
    table = predictions_table(rows, logits, sigmoid(logits))
    write_predictions(table, made.evaluations / "demo-test" / "predictions.parquet")
    return made


def command(*words):
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args([str(word) for word in words])
    return arguments.run(arguments)


def select_paths(run):
    return select(read_table(run.samples), "val")["path"].to_pylist()


def test_without_images_the_mistakes_are_explained_and_the_maps_measured(run, capsys):
    assert command("explain", run.path, "--sample", 6, "--mistakes", 2, "--methods=cam") == 0
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
    common = ("explain", run.path, "--methods=cam,occlusion", "--effort=least")
    command(*common, "--out", tmp_path / "least")
    command(*common, "--sample=6", "--mistakes=1", "--out", tmp_path / "asked")
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
        command(
            "explain",
            run.path,
            "--sample=2",
            "--mistakes=1",
            "--methods=cam,integrated_gradients",
            "--out",
            tmp_path / name,
        )
    one, two = ((tmp_path / name / "explanation.json").read_text() for name in ("one", "two"))
    assert one == two


def test_images_that_are_named_get_what_the_detector_says_of_them(run, tmp_path, capsys):
    path = select_paths(run)[0]
    command("explain", run.path, path, "--methods=cam", "--out", tmp_path / "x")
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
    paths = select_paths(run)[:3]
    command("explain", run.path, *paths, "--methods=cam", "--sanity", "--out", tmp_path / "x")
    found = json.loads((tmp_path / "x" / "explanation.json").read_text())
    assert found["trust"]["num_images"] == 3
    assert "those named" in capsys.readouterr().out


def test_maps_are_turned_to_the_called_class_or_to_the_positive_one(run):
    subject = load_subject(run.path, "cpu")
    rows = table_from_columns({"path": select_paths(run)})
    called = explain_rows(subject, rows, ExplainConfig(("cam",)))
    positive = explain_rows(subject, rows, ExplainConfig(("cam",), toward="positive"))
    assert {one.called for one in called} == {"real", "fake"}
    for one, other in zip(called, positive, strict=True):
        sign = 1 if one.called == "fake" else -1
        assert (one.maps["cam"] == sign * other.maps["cam"]).all()
        assert (one.toward, other.toward) == (one.called, "fake")


def test_features_are_drawn_and_written_for_the_projector(run, capsys):
    assert command("features", run.path, "--sample", 20) == 0
    found = json.loads((run.path / "features" / "features.json").read_text())
    assert found["num_images"] == 20
    assert set(found["nearest"]) == {"class", "generator"}
    assert (run.path / "features" / "projector_config.pbtxt").is_file()
    assert "nearest neighbour of the same class" in capsys.readouterr().out


def test_features_are_of_one_image_of_a_group(run, tmp_path):
    rows = read_table(run.samples)
    groups = [f"video {number // 4}" for number in range(rows.num_rows)]
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    copied = shutil.copytree(run.path, tmp_path / "run")
    write_table(table_from_columns(columns | {"group": groups}), copied / "samples.parquet")
    command("features", copied)
    found = json.loads((copied / "features" / "features.json").read_text())
    assert found["num_images"] == rows.num_rows // 4 == 6


def test_more_images_than_a_page_shows_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(explain_commands, "MAX_IMAGES", 2)
    paths, options = select_paths(run), ("--methods=cam", "--out", tmp_path / "x")
    with pytest.raises(FaceproofError, match=r"3 images .* name fewer, or set --mistakes lower"):
        command("explain", run.path, *paths[:3], *options)
    with pytest.raises(FaceproofError, match="4 images"):
        command("explain", run.path, "--mistakes=2", *options)
    assert not (tmp_path / "x").exists()
    assert command("explain", run.path, *paths[:2], *options) == 0


@pytest.mark.parametrize("seed", ["-1", str(2**32), "1.5", "x"])
@pytest.mark.parametrize("name", ["explain", "features"])
def test_a_seed_that_is_none_is_refused_on_the_command_line(name, seed, capsys):
    with pytest.raises(SystemExit):
        command(name, "runs/x", f"--seed={seed}")
    assert f"'{seed}' is no seed; give a number from 0 to 4294967295" in capsys.readouterr().err


def test_the_largest_seed_is_taken(run, tmp_path):
    out = tmp_path / "x"
    command("features", run.path, "--sample=8", f"--seed={2**32 - 1}", "--out", out)
    assert json.loads((out / "features.json").read_text())["seed"] == 2**32 - 1


def test_a_file_is_no_folder_to_write_to(run, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FaceproofError, match=r"file is a file; give --out a folder"):
            command("features", run.path, "--out", out)


def test_a_sample_takes_one_image_of_a_group(run):
    rows = table_from_columns(
        {"path": [f"{n}.jpg" for n in range(9)], "label": ["real"] * 9, "group": list("aaabbbccc")}
    )
    assert sorted(sample_rows(rows, 9, 0)["group"].to_pylist()) == ["a", "b", "c"]
    alone = table_from_columns({"path": [f"{n}.jpg" for n in range(9)], "label": ["real"] * 9})
    assert sample_rows(alone, 5, 0).num_rows == 5
    assert sample_rows(alone, 5, 0)["path"] == sample_rows(alone, 5, 0)["path"]


def test_what_cannot_be_explained_is_refused(run, tmp_path):
    with pytest.raises(FaceproofError, match=r"neither a run .* nor a detector artifact"):
        command("explain", tmp_path)
    with pytest.raises(FaceproofError, match="'gradcam' must be one of cam, occlusion"):
        command("explain", run.path, "--methods=gradcam")
    with pytest.raises(FaceproofError, match=r"has no evaluation x; there are demo-test"):
        command("explain", run.path, "--evaluation=x", "--out", tmp_path / "x")
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(FaceproofError, match=r"a\.jpg cannot be explained"):
        command("explain", run.path, tmp_path / "a.jpg", "--out", tmp_path / "x")
    with pytest.raises(FaceproofError, match="has no images in the split train"):
        command("features", run.path, "--split=train", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_an_artifact_is_explained_like_its_run(run, tmp_path):
    export_run(run.path, tmp_path / "artifact")
    path = select_paths(run)[0]
    for subject, name in ((run.path, "of_run"), (tmp_path / "artifact", "of_artifact")):
        command("explain", subject, path, "--methods=cam", "--out", tmp_path / name)
    pages = [
        (tmp_path / name / "explanation.json").read_text() for name in ("of_run", "of_artifact")
    ]
    assert json.loads(pages[0])["images"] == json.loads(pages[1])["images"]
    with pytest.raises(FaceproofError, match="artifact and holds no evaluation"):
        command("explain", tmp_path / "artifact", "--out", tmp_path / "x")
    with pytest.raises(FaceproofError, match="artifact and names no images"):
        command("features", tmp_path / "artifact", "--out", tmp_path / "x")


def test_the_commands_are_known_without_loading_torch():
    program = (
        "import argparse, sys; from faceproof.cli.explain import add_commands; "
        "add_commands(argparse.ArgumentParser().add_subparsers()); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_captum_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(explain_commands.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[explain\]'"):
        explain_commands.require_captum()


def test_features_need_no_captum(run, tmp_path):
    program = (
        "import argparse, sys; sys.modules['captum'] = None; "
        "from faceproof.cli.explain import add_commands; "
        "parser = argparse.ArgumentParser(); add_commands(parser.add_subparsers()); "
        f"found = parser.parse_args(['features', {str(run.path)!r}, '--sample=8', "
        f"'--out', {str(tmp_path / 'x')!r}]); sys.exit(found.run(found))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
