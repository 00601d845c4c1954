"""Ensembles of runs: evaluated and compared like any run."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.evaluation.operating_point import ThresholdConfig, read_operating_point
from faceproof.evaluation.predictions import logits_of, probabilities_of, read_predictions
from faceproof.evaluation.scored_runs import find_runs
from faceproof.evaluation.video_point import VideoConfig, fit_video_point, read_video_point
from faceproof.io.newest_runs import find_run
from faceproof.io.run_folder import RunFolder
from faceproof.task import get_task
from faceproof.workflows import evaluate as module
from faceproof.workflows.compare import compare
from faceproof.workflows.compare_config import CompareConfig
from faceproof.workflows.ensemble import ensemble
from faceproof.workflows.ensemble_config import EnsembleConfig
from tests.conftest import write_images
from tests.jobs import evaluate, train
from tests.small_sources import TINY, write_sources

QUIET = "loader.num_workers=0"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    from tests.conftest import write_faces

    return write_faces(tmp_path_factory.mktemp("faces"), train=12, val=10, test=10)


@pytest.fixture(scope="module")
def runs(faces, tmp_path_factory):
    """Two runs of different networks and input sizes, and one validated on other images."""
    folder = tmp_path_factory.mktemp("runs")
    words = (
        "data=face_or_not", f"data.root={faces}", "trainer=cpu", "trainer.max_epochs=3",
        "loader.batch_size=8", "logger=csv", "trainer.precision=32-true", QUIET,
    )  # fmt: skip
    small = train(folder / "small", *words, "model=face_cnn", "model.input.size=16")
    large = train(folder / "large", *words, "model=face_cnn", "model.input.size=24", "seed=1")
    others = "data.splits={train: val, val: train, test: test}"
    other = train(folder / "other", *words, "model=face_cnn", "model.input.size=16", others)
    for run in (small, large):
        evaluate(run.path, QUIET)
    return small, large, other


@pytest.fixture
def made(runs, tmp_path):
    small, large, _ = runs
    return ensemble(
        EnsembleConfig((small.path, large.path), out=tmp_path / "both", weights="fitted")
    )


def test_what_all_members_left_out_is_left_out_of_the_ensemble(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (*TINY, f"data.file={write_sources(tmp_path)}", "leave_out.source=[a]")
    members = [
        train(tmp_path / name, *words, f"seed={seed}", *more)
        for seed, (name, *more) in enumerate((["one"], ["two"], ["all", "leave_out.split=all"]))
    ]
    both = ensemble(EnsembleConfig(tuple(m.path for m in members[:2]), out=tmp_path / "both"))
    found = evaluate(both.path, "split=held_out", QUIET)
    rows = read_predictions(found / "predictions.parquet")
    assert rows["path"].to_pylist() == pq.read_table(members[0].held_out)["path"].to_pylist()
    mixed = ensemble(EnsembleConfig(tuple(m.path for m in members[1:]), out=tmp_path / "mixed"))
    with pytest.raises(FaceproofError, match=r"has no held_out\.parquet"):
        evaluate(mixed.path, "split=held_out", QUIET)


def scores(run):
    return read_predictions(run.evaluations / "face_or_not-test" / "predictions.parquet")


def test_its_scores_are_the_weighted_mean_of_its_members(runs, made):
    evaluate(made.path, QUIET)
    weights = [one["weight"] for one in json.loads(made.ensemble.read_text())["members"]]
    assert sum(weights) == pytest.approx(1)
    mean = sum(w * probabilities_of(scores(run)) for w, run in zip(weights, runs, strict=False))
    logits = logits_of(scores(made))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), mean, atol=1e-5)


def test_its_report_warns_of_what_its_members_are(made, monkeypatch):
    monkeypatch.setattr(module, "limits_of", lambda run: ["cut", run.path.name])
    monkeypatch.setattr(module, "shortcuts_of", lambda record: ["file size"])
    report = json.loads((evaluate(made.path, QUIET) / "report.json").read_text())
    assert report["limits"] == ["cut", "0-small", "1-large"]  # copies of the two
    assert report["shortcuts"] == ["file size"]


def test_its_threshold_comes_from_validation_without_an_image_scored(made):
    validation = read_predictions(made.validation)
    assert validation.num_rows == 20
    assert all("/val/" in path for path in validation["path"].to_pylist())
    assert made.read_operating_point()["num_positive"] == 10
    assert not made.test_scorings.exists()


def test_it_needs_nothing_of_its_members_folders(runs, made, tmp_path):
    moved = RunFolder(tmp_path / "elsewhere")
    shutil.move(made.path, moved.path)
    folder = evaluate(moved.path, QUIET)
    assert (folder / "report.html").is_file()
    assert moved.read_record()["model"] == "ensemble of face_cnn, face_cnn"


def test_it_is_compared_with_its_members(runs, made, tmp_path):
    evaluate(made.path, QUIET)
    small, large, _ = runs
    paths = [small.path, large.path, made.path]
    compare(CompareConfig(tuple(paths), out=tmp_path / "page", timing=False))
    found = json.loads((tmp_path / "page" / "comparison.json").read_text())
    costs = {row["folder"]: row["parameters"] for row in found["runs"]}
    assert costs[str(made.path)] == costs[str(small.path)] + costs[str(large.path)]
    assert len(found["pairs"]) == 3
    assert len({row["name"] for row in found["runs"]}) == 3


def test_its_members_are_no_runs_of_a_folder(runs, made, tmp_path):
    for run in runs[:2]:
        shutil.copytree(run.path, tmp_path / run.path.name)
    found = {run.path.name for run in find_runs([tmp_path])}
    assert found == {"small", "large", "both"}
    made.ensemble.touch()
    assert find_run("latest", tmp_path).path == made.path
    with pytest.raises(FaceproofError, match="is an ensemble itself"):
        ensemble(EnsembleConfig((made.path, runs[0].path), out=tmp_path / "x"))


def test_its_own_training_images_are_left_out_of_figures(made):
    swapped = "data.splits={train: test, val: null, test: null}"
    with pytest.raises(FaceproofError, match=r"LEAK: .* saw all of these"):
        evaluate(made.path, QUIET, "data=face_or_not", f"data.root={_root(made)}", swapped)


def _root(run):
    path = read_predictions(run.validation)["path"][0].as_py()
    return path.partition("/val/")[0]


def test_what_cannot_be_averaged_is_refused(runs, made, tmp_path):
    small, large, other = runs
    with pytest.raises(FaceproofError, match="validated on different images"):
        ensemble(EnsembleConfig((small.path, other.path), out=tmp_path / "x"))
    with pytest.raises(FaceproofError, match="holds something already"):
        ensemble(EnsembleConfig((small.path, large.path), out=made.path))
    with pytest.raises(FaceproofError, match="two runs or more"):
        ensemble(EnsembleConfig((small.path,), out=tmp_path / "x"))
    assert not (tmp_path / "x").exists()
    made.ensemble.write_text(json.dumps({"format": "another"}))
    with pytest.raises(FaceproofError, match="format 'another'"):
        evaluate(made.path, QUIET)


def change_weights(run):
    checkpoint = torch.load(run.best, weights_only=True)
    checkpoint["state_dict"]["net.head.logit.linear.bias"] += 1
    torch.save(checkpoint, run.best)


def test_a_run_whose_weights_are_not_those_of_its_scores_joins_none(runs, tmp_path):
    shutil.copytree(runs[0].path, tmp_path / "small")
    change_weights(RunFolder(tmp_path / "small"))
    with pytest.raises(FaceproofError, match=r"small/operating_point\.json was fitted to other"):
        ensemble(EnsembleConfig((tmp_path / "small", runs[1].path), out=tmp_path / "both"))
    assert not (tmp_path / "both").exists()


def test_runs_of_images_that_changed_between_them_join_none(runs, tmp_path):
    shutil.copytree(runs[0].path, tmp_path / "small")
    seen = pq.read_table(tmp_path / "small" / "seen.parquet").to_pydict()
    seen["content"] = [bytes(16) for _ in seen["content"]]
    pq.write_table(
        pa.table({"path": seen["path"], "content": pa.array(seen["content"], pa.binary(16))}),
        tmp_path / "small" / "seen.parquet",
    )
    with pytest.raises(FaceproofError, match="same names and other content"):
        ensemble(EnsembleConfig((tmp_path / "small", runs[1].path), out=tmp_path / "both"))


def test_an_ensemble_whose_member_was_changed_is_refused(made):
    change_weights(RunFolder(next((made.path / "members").iterdir())))
    with pytest.raises(FaceproofError, match=r"other weights .* faceproof ensemble"):
        evaluate(made.path, QUIET)


def test_its_rule_of_videos_comes_from_the_scores_that_it_combines(tmp_path):
    lines = ["path,label,split,group"]
    for split, number in (("train", 4), ("val", 10), ("test", 4)):
        for label, face in (("real", False), ("fake", True)):
            for video in range(number):
                name = f"{split}-{label}-{video}"
                paths = write_images(
                    tmp_path / name, [f"{name}-{n}.jpg" for n in (1, 2)], face=face
                )
                lines += [f"{path},{label},{split},{name}" for path in paths]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    words = (
        "data=table", f"data.file={tmp_path / 'table.csv'}", "data.allow_leaks=true",
        "model=face_cnn", "model.input.size=16", "trainer=cpu", "trainer.max_epochs=1",
        "loader.batch_size=8", "logger=csv", "video.rule=share", QUIET,
    )  # fmt: skip
    both = [train(tmp_path / f"run{seed}", *words, f"seed={seed}") for seed in (0, 1)]
    made = ensemble(EnsembleConfig(tuple(run.path for run in both), out=tmp_path / "ensemble"))
    found, task = read_video_point(made), get_task("deepfake")
    point = read_operating_point(made)
    validation = read_predictions(made.validation)
    alike = fit_video_point(
        validation, task, ThresholdConfig(), VideoConfig("share"), point.threshold
    )
    assert found == alike
    assert (found.rule, found.num_videos) == ("share", 20)
    report = json.loads((evaluate(made.path, QUIET) / "report.json").read_text())
    assert report["group_level"]["video"]["point"] == found.to_json()


CROP = {
    "config": {"detector": "retinaface", "margin": 0.17, "align": False, "size": None,
               "quality": None, "min_score": 0.8, "min_size": 24},
    "detector": "retinaface 1",
}  # fmt: skip


def test_its_members_see_one_crop_of_each_face(runs, tmp_path):
    copies = []
    for run in runs[:2]:
        shutil.copytree(run.path, tmp_path / run.path.name)
        copies.append(RunFolder(tmp_path / run.path.name))
        copies[-1].update_record(crop=CROP)
    paths = tuple(one.path for one in copies)
    made = ensemble(EnsembleConfig(paths, out=tmp_path / "alike"))
    assert made.read_record()["crop"] == CROP
    other = {**CROP, "config": {**CROP["config"], "min_size": 40}}  # frames no face otherwise
    copies[1].update_record(crop=other)
    ensemble(EnsembleConfig(paths, out=tmp_path / "alike too"))
    copies[1].update_record(crop={**CROP, "config": {**CROP["config"], "margin": 0.5}})
    with pytest.raises(FaceproofError, match=r"not cut out alike.*margin 0\.17.*margin 0\.5"):
        ensemble(EnsembleConfig(paths, out=tmp_path / "unlike"))
