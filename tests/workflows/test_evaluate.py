"""What a run promises by validation, and what becomes of it on other images."""

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from faceproof import app
from faceproof.data.loader_config import LoaderConfig
from faceproof.errors import FaceproofError
from faceproof.evaluation.config import EvaluateConfig
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import is_positive, probabilities_of, read_predictions
from faceproof.evaluation.video_point import read_video_point
from faceproof.io.run_folder import RunFolder
from faceproof.task import get_task
from faceproof.workflows import audit_on_ray, evaluate_on_ray, ray_cluster
from faceproof.workflows import evaluate as workflow
from faceproof.workflows.evaluate import limits_of, shortcuts_of
from faceproof.workflows.ray_cluster import Pool
from tests.conftest import write_images
from tests.jobs import compose_job, evaluate, train

FACE = get_task("face")
QUIET = ("loader.num_workers=0",)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    from tests.conftest import write_faces

    return write_faces(tmp_path_factory.mktemp("faces"), train=16, val=12, test=12)


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    return train(
        tmp_path_factory.mktemp("runs") / "run",
        "data=face_or_not", f"data.root={faces}", "model=face_cnn", "model.input.size=16",
        "trainer=cpu", "trainer.max_epochs=4", "loader.batch_size=8", "logger=csv", *QUIET,
    )  # fmt: skip


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_operating_point_is_fitted_on_validation_and_applied_unchanged(run):
    point = OperatingPoint.from_json(run.read_operating_point())
    validation = read_predictions(run.validation)
    assert validation.num_rows == 24
    assert all("/val/" in path for path in validation["path"].to_pylist())
    assert (point.num_negative, point.num_positive, point.criterion) == (12, 12, "youden")
    folder = evaluate(run.path, *QUIET)
    report, predictions = report_of(folder), read_predictions(folder / "predictions.parquet")
    assert report["threshold"] == point.threshold
    logits = predictions["logit"].to_numpy().astype(np.float64)
    assert probabilities_of(predictions) == pytest.approx(point.calibration.apply(logits), abs=1e-6)
    called = int(is_positive(probabilities_of(predictions), point.threshold).sum())
    assert report["num_called_positive"] == called


def test_every_figure_follows_from_the_predictions_alone(run):
    folder = evaluate(run.path, *QUIET)
    report = report_of(folder)
    found = measure(read_predictions(folder / "predictions.parquet"), FACE, report["threshold"])
    assert {name: report["metrics"][name] for name in found} == found


def test_another_aim_is_fitted_to_validation_too(run):
    before = run.operating_point.read_text()
    folder = evaluate(
        run.path, "threshold.criterion=fpr", "threshold.fpr=0.2", "name=strict", *QUIET
    )
    point = report_of(folder)["operating_point"]
    assert (point["criterion"], point["promised_fpr"], point["num_negative"]) == ("fpr", 0.2, 12)
    assert run.operating_point.read_text() == before
    with pytest.raises(FaceproofError, match="'best' must be one of youden, f1, fpr, fixed"):
        evaluate(run.path, "threshold.criterion=best", *QUIET)


def test_another_unsure_band_leaves_threshold_and_calibration_as_they_are(run):
    stored = run.read_operating_point()
    for word, max_risk in (("0.2", 0.2), ("null", None)):
        folder = evaluate(run.path, f"threshold.max_risk={word}", "name=band", *QUIET)
        point = report_of(folder)["operating_point"]
        assert point["max_risk"] == max_risk
        assert point["threshold"] == stored["threshold"]
        assert point["calibration"] == stored["calibration"]
    assert point["unsure"] == [stored["threshold"]] * 2
    folder = evaluate(run.path, "threshold.criterion=f1", "name=f1", *QUIET)
    assert report_of(folder)["operating_point"]["max_risk"] == stored["max_risk"] == 0.05
    with pytest.raises(FaceproofError, match=r"threshold.max_risk = 3 must be a rate"):
        evaluate(run.path, "threshold.max_risk=3", *QUIET)


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"limit_train_batches": 1.0, "max_steps": -1, "overfit_batches": 0}, []),
        ({"limit_train_batches": 1}, ["trainer.limit_train_batches=1"]),
        ({"limit_val_batches": 0.5, "max_steps": 9},
         ["trainer.limit_val_batches=0.5", "trainer.max_steps=9"]),
        ({"limit_val_batches": 0, "fast_dev_run": False, "max_time": None},
         ["trainer.limit_val_batches=0"]),
        (None, []),
    ],
)  # fmt: skip
def test_what_cut_a_training_short_is_found_in_its_settings(tmp_path, options, limits):
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"model": {}, "data": {}, "trainer": options})
    )
    assert limits_of(RunFolder(tmp_path)) == limits


def test_shortcuts_are_read_from_the_record():
    said = "file size alone predicts: the class"
    record = {"audit": [f"shortcut: file size, 1: {said}", "tiny images, 3: one side is below"]}
    assert shortcuts_of(record) == [said]
    assert shortcuts_of({"audit": None}) == []


def test_the_verdict_and_its_warnings_are_printed(run, capsys):
    evaluate(run.path, *QUIET)
    said = " ".join(capsys.readouterr().out.split())
    assert "In use it answers" in said
    assert "Few images: with 24 images" in said


def test_every_look_at_the_test_images_is_counted(run):
    lines = run.test_scorings.read_text().splitlines() if run.test_scorings.exists() else []
    evaluate(run.path, "split=val", *QUIET)
    for number in (1, 2):
        folder = evaluate(run.path, *QUIET)
        assert report_of(folder)["test_scorings"] == len(lines) + number
    added = [json.loads(line) for line in run.test_scorings.read_text().splitlines()[len(lines) :]]
    assert [line["images"] for line in added] == [24, 24]
    assert added[0]["data"] == ["face_or_not"]


def test_order_and_batch_size_change_no_figure(run, faces):
    first = report_of(evaluate(run.path, "loader.batch_size=5", "name=small", *QUIET))
    second = report_of(evaluate(run.path, "loader.batch_size=24", "name=large", *QUIET))
    for name, value in first["metrics"].items():
        assert second["metrics"][name] == pytest.approx(value, abs=1e-5), name


def test_several_data_sets_are_scored_at_one_threshold(run, faces, monkeypatch):
    monkeypatch.setenv("FACEPROOF_DATA", str(faces.parent))
    folder = evaluate(run.path, "data=[face_or_not,demo_faces]", *QUIET)
    report = report_of(folder)
    assert folder.name == "face_or_not+demo_faces-test"
    assert {row["value"] for row in report["by_source"]} == {"face_or_not", "demo_faces"}
    assert report["threshold"] == run.read_operating_point()["threshold"]
    with pytest.raises(FaceproofError, match="cannot be set for several data sets"):
        evaluate(run.path, "data=[face_or_not,demo_faces]", "data.max_unreadable=0.5", *QUIET)


def test_neutral_and_robustness_stand_beside_the_plain_figures(run):
    folder = evaluate(run.path, "neutral=jpeg", "robustness=quick", *QUIET)
    report = report_of(folder)
    plain = report["neutral"]["plain"]
    assert plain["accuracy"] == report["metrics"]["accuracy"]
    assert report["neutral"]["wrapped"]["kind"] == "neutral"
    kinds = [(row["kind"], row["level"]) for row in report["robustness"]]
    assert kinds[:3] == [("none", 0), ("jpeg", 75), ("jpeg", 30)]
    lowest = min(row["accuracy"] for row in report["robustness"])
    assert report["worst_corruption"]["accuracy"] == lowest
    damaged = pq.read_table(folder / "robustness.parquet")
    assert damaged.num_rows == 24 * (len(kinds) - 1)
    assert pq.read_table(folder / "neutral.parquet").num_rows == 24
    page = (folder / "report.html").read_text()
    assert "Both classes encoded alike" in page
    assert "Under image corruptions" in page


def test_damage_is_the_same_every_time(run):
    folders = [evaluate(run.path, "robustness=quick", f"name={n}", *QUIET) for n in ("one", "two")]
    tables = [pq.read_table(folder / "robustness.parquet") for folder in folders]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("option", ["neutral=png", "robustness=all"])
def test_unknown_conditions_are_refused(run, option):
    with pytest.raises(FaceproofError, match="must be one of"):
        evaluate(run.path, option, *QUIET)


def test_several_data_sets_by_the_real_command(run, faces):
    import subprocess
    import sys

    from tests.jobs import REPOSITORY

    done = subprocess.run(
        [sys.executable, REPOSITORY / "evaluate.py", f"run={run.path}", "data=[face_or_not]"],
        env=os.environ | {"FACEPROOF_DATA": str(faces.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "face_or_not-test/report.html" in done.stdout


def test_images_it_was_trained_on_are_left_out_wherever_they_lie(run, faces, tmp_path):
    copies = []
    for split, number in (("train", 5), ("test", 4)):
        for n in range(number):
            for label in ("faces", "non-faces"):
                copy = tmp_path / f"{split}-{label}-{n}.jpg"
                copy.write_bytes((faces / split / label / f"{n}.jpg").read_bytes())
                copies.append(f"{copy},{'face' if label == 'faces' else 'non_face'},test")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label,split", *copies]))
    folder = evaluate(run.path, "data=table", f"data.file={table}", "data.task=face", *QUIET)
    predictions = read_predictions(folder / "predictions.parquet")
    assert predictions.num_rows == 8
    assert all("test-" in path for path in predictions["path"].to_pylist())
    assert (
        report_of(folder)["skipped"]["Images skipped because the model saw them in training"] == 10
    )
    whole = evaluate(run.path, "split=all", *QUIET)
    assert read_predictions(whole / "predictions.parquet").num_rows == 24
    seen = [line for line in copies if "train-" in line]
    table.write_text("\n".join(["path,label,split", *seen]))
    with pytest.raises(
        FaceproofError, match=r"LEAK: .* saw all of these .* so no metric on them means anything"
    ):
        evaluate(run.path, "data=table", f"data.file={table}", "data.task=face", *QUIET)


def encoded_again(faces, split, folder, number):
    """Write images of a split by other encoders; return lines of a table."""
    from PIL import Image

    lines = []
    for label, word in (("face", "faces"), ("non_face", "non-faces")):
        for n in range(number):
            image = Image.open(faces / split / word / f"{n}.jpg")
            copy = folder / f"{split}-{word}-{n}.jpg"
            image.save(copy, "PNG" if n % 2 else "JPEG", quality=92)
            lines.append(f"{copy},{label},test")
    return lines


def test_training_images_encoded_again_are_left_out_and_named(run, faces, tmp_path, caplog):
    lines = [*encoded_again(faces, "train", tmp_path, 5), *encoded_again(faces, "val", tmp_path, 5)]
    table = tmp_path / "table.csv"
    own = ("data=table", f"data.file={table}", "data.task=face", *QUIET)
    table.write_text("\n".join(["path,label,split", *lines]))
    with pytest.raises(FaceproofError, match=r"all of these 20 images .*20 as near-duplicates"):
        evaluate(run.path, *own)
    table.write_text(
        "\n".join(["path,label,split", *lines, *encoded_again(faces, "test", tmp_path, 4)])
    )
    folder = evaluate(run.path, *own)
    assert read_predictions(folder / "predictions.parquet").num_rows == 8
    left_out = pq.read_table(folder / "left_out.parquet").to_pylist()
    assert [row["path"] for row in left_out] == [line.split(",")[0] for line in lines]
    assert {row["why"] for row in left_out} == {"near-duplicate"}
    for row in left_out:
        split, *word, number = Path(row["path"]).stem.split("-")
        assert row["seen"] == str(faces / split / "-".join(word) / f"{number}.jpg")
    skipped = report_of(folder)["skipped"]
    assert skipped["Images skipped because the model saw them in training"] == 20
    assert (
        skipped["Near-duplicates among the skipped images (encoded again, resized, brightened)"]
        == 20
    )
    assert "LEAK: 20 of 28 images skipped because the model saw them in training" in caplog.text


def test_another_sets_validation_split_hides_no_training_image(run, faces, tmp_path):
    table = tmp_path / "table.csv"
    lines = [
        *encoded_again(faces, "train", tmp_path, 3),
        *encoded_again(faces, "test", tmp_path, 3),
    ]
    text = "\n".join(["path,label,split", *lines]).replace(",test", ",val")
    table.write_text(text)
    options = ("data=table", f"data.file={table}", "data.task=face", "split=val", *QUIET)
    folder = evaluate(run.path, *options)
    paths = read_predictions(folder / "predictions.parquet")["path"].to_pylist()
    assert len(paths) == 6
    assert all("/test-" in path for path in paths)
    named = evaluate(run.path, "data=face_or_not", f"data.root={faces}", "split=val", *QUIET)
    assert read_predictions(named / "predictions.parquet").num_rows == 24


def test_a_run_of_before_says_that_near_duplicates_are_not_looked_for(run, tmp_path, caplog):
    old = tmp_path / "old"
    shutil.copytree(run.path, old)
    seen = pq.read_table(old / "seen.parquet")
    pq.write_table(seen.select(["path", "content"]), old / "seen.parquet")
    folder = evaluate(old, *QUIET)
    assert "of an earlier version, which stored no perceptual hashes" in caplog.text
    assert "perceptual hashes" in report_of(folder)["skipped"]["Not searched for"]
    assert not (folder / "left_out.parquet").exists()


def test_a_set_of_fakes_alone_is_scored_and_its_ranking_undefined(run, faces, tmp_path):
    table = tmp_path / "faces.csv"
    lines = [f"{faces}/test/faces/{n}.jpg,face,test" for n in range(6)]
    table.write_text("\n".join(["path,label,split", *lines]))
    folder = evaluate(run.path, "data=table", f"data.file={table}", "data.task=face", *QUIET)
    figures_found = report_of(folder)["metrics"]
    assert figures_found["roc_auc"] is None
    assert figures_found["precision"] is None
    assert figures_found["recall"] is not None


def test_some_frames_of_each_group(run, faces, tmp_path):
    table = tmp_path / "video.csv"
    lines = [
        f"{faces}/test/{folder}/{n}.jpg,{label},test,{label}"
        for folder, label in (("faces", "face"), ("non-faces", "non_face"))
        for n in range(9)
    ]
    table.write_text("\n".join(["path,label,split,group", *lines]))
    options = ("data=table", f"data.file={table}", "data.task=face", "frames=3", *QUIET)
    predictions = read_predictions(evaluate(run.path, *options) / "predictions.parquet")
    chosen = sorted({path.rsplit("/", 1)[1] for path in predictions["path"].to_pylist()})
    assert chosen == ["1.jpg", "4.jpg", "7.jpg"]


@pytest.fixture(scope="module")
def of_videos(tmp_path_factory):
    """A run on frames, three of each of 44 videos."""
    root = tmp_path_factory.mktemp("videos")
    lines = ["path,label,split,group,pair"]
    for split, number in (("train", 6), ("val", 10), ("test", 6)):
        for label, face in (("real", False), ("fake", True)):
            for video in range(number):
                name = f"{split}-{label}-{video}"
                seed = sum(map(ord, name))
                names = ["1.jpg", "2.jpg", "3.jpg"]
                for path in write_images(root / name, names, None, seed, face):
                    lines.append(f"{path},{label},{split},{name},{split}-{video}")
    (root / "table.csv").write_text("\n".join(lines))
    return train(
        root / "run", "data=table", f"data.file={root / 'table.csv'}", "model=face_cnn",
        "model.input.size=16", "trainer=cpu", "trainer.max_epochs=2", "loader.batch_size=8",
        "logger=csv", "video.rule=median", "data.allow_leaks=true", *QUIET,
    )  # fmt: skip


def test_the_rule_of_videos_is_fixed_on_validation_and_applied_unchanged(of_videos, capsys):
    point = read_video_point(of_videos)
    assert (point.rule, point.num_videos) == ("median", 20)
    report = report_of(evaluate(of_videos.path, *QUIET))
    assert report["group_level"]["video"]["point"] == point.to_json()
    assert report["group_level"]["video"]["metrics"]["num_images"] == 12
    said = " ".join(capsys.readouterr().out.split())
    assert "by video" in said
    assert "rule median, fixed on validation (20 videos)" in said
    assert report["pairs"]["num_pairs"] == report["pairs"]["num_units"] == 6
    assert "above_original" in said
    assert "Of 6 fake images or videos whose own original is here" in said


def test_another_aim_is_fitted_to_the_videos_of_validation_too(of_videos):
    words = ("threshold.criterion=fpr", "threshold.fpr=0.2", "name=strict", *QUIET)
    video = report_of(evaluate(of_videos.path, *words))["group_level"]["video"]["point"]
    assert (video["rule"], video["reason"]) == ("median", "set by video.rule=median")
    assert video["operating_point"]["promised_fpr"] == 0.2
    words = ("threshold.max_risk=null", "name=every", *QUIET)
    every = report_of(evaluate(of_videos.path, *words))["group_level"]["video"]["point"]
    threshold = read_video_point(of_videos).operating_point.threshold
    assert every["operating_point"]["threshold"] == threshold
    assert every["operating_point"]["unsure"] == [threshold, threshold]


def test_a_run_of_before_judges_videos_as_before(of_videos, tmp_path):
    run = RunFolder(shutil.copytree(of_videos.path, tmp_path / "run"))
    values = json.loads(run.operating_point.read_text())
    del values["video"]
    run.operating_point.write_text(json.dumps(values))
    level = report_of(evaluate(run.path, *QUIET))["group_level"]
    assert level["video"] is None
    assert set(level["by"]) == {"mean", "max"}


def test_settings_of_an_aim_without_an_aim_are_refused(run):
    with pytest.raises(FaceproofError, match="fpr, calibration would change nothing without"):
        evaluate(run.path, "threshold.fpr=0.2", "calibration=isotonic", *QUIET)


def test_an_order_of_training_is_refused():
    with pytest.raises(FaceproofError, match=r"loader\.sampler = 'paired' is for training"):
        EvaluateConfig("latest", loader=LoaderConfig(64, sampler="paired"))


def test_weights_that_change_after_they_were_loaded_are_noticed(run, tmp_path, monkeypatch):
    """Else the report would name the new weights over the scores of the old ones."""
    copied = tmp_path / "run"
    shutil.copytree(run.path, copied, ignore=shutil.ignore_patterns("evaluations"))
    make = workflow.make_scorer

    def then_changed(one, *rest):
        scorer = make(one, *rest)
        point = one.read_operating_point()
        one.best.write_bytes((copied / "last.ckpt").read_bytes())
        one.write_operating_point(point)  # as a training does that goes on meanwhile
        return scorer

    monkeypatch.setattr(workflow, "make_scorer", then_changed)
    with pytest.raises(FaceproofError, match="were changed while they were used"):
        evaluate(copied, *QUIET)
    assert not (copied / "evaluations").exists()


def test_a_cluster_gives_the_report_of_one_machine(run, one_by_one):
    words = ("neutral=jpeg", "robustness=quick", "loader.batch_size=5", *QUIET)
    here, there = evaluate(run.path, *words), evaluate(run.path, "engine=ray", "name=there", *words)
    for name in ("predictions.parquet", "neutral.parquet", "robustness.parquet"):
        assert pq.read_table(here / name).equals(pq.read_table(there / name))  # to the last bit
    reports = [report_of(folder) for folder in (here, there)]
    for report in reports:
        report.pop("test_scorings")  # one more
    assert reports[0] == reports[1]
    # 24 images in batches of 5, each as it is, re-encoded, and under each level of corruption.
    assert set(one_by_one) == set(range(len(one_by_one)))
    assert len(one_by_one) % 5 == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["engine=dask"], "engine = 'dask' must be local, ray or ray://HOST:PORT"),
        (["cluster.workers=2"], "cluster.* are settings of engine=ray, and engine is local; set"),
        (["engine=ray", "cluster.workers=0"], "cluster.workers = 0 must be 'auto' or a count"),
        (["engine=ray", "cluster.gpus_per_worker=1.5"], "must be a share up to 1"),
        (["engine=ray", "device=cuda"], "device = 'cuda' is not what a worker with"),
    ],
)
def test_what_has_no_meaning_for_a_cluster_is_refused(run, words, says):
    with pytest.raises(FaceproofError, match=re.escape(says)):
        evaluate(run.path, *words)


def test_a_cluster_needs_ray_and_the_same_weights(run, one_by_one, monkeypatch):
    config = EvaluateConfig(str(run.path), engine="ray")
    score_rows = evaluate_on_ray.make_cluster_scorer(run, FACE, config, [], "others")
    with pytest.raises(FaceproofError, match=r"has other weights on .* than where the command was"):
        score_rows(pq.read_table(run.samples).slice(0, 3), None)
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: None)
    with pytest.raises(FaceproofError, match=r"engine=ray needs the extra ray: pip install"):
        evaluate(run.path, "engine=ray", *QUIET)


@pytest.fixture
def one_by_one(monkeypatch):
    """Let this process do what the workers of a cluster do, and yield the numbers of the parts."""
    import torch

    from faceproof.performance import cores

    done = []

    def results(make, num_parts, pool, on):
        work = make()
        for number in reversed(range(num_parts)):  # in whatever order they end
            done.append(number)
            yield number, work(number)

    threads = torch.get_num_threads()
    pool = Pool(2, 2, 1, 0.0, "cluster.cpus_per_worker", {})
    for module in (evaluate_on_ray, audit_on_ray):
        monkeypatch.setattr(module, "pool_of", lambda *_: contextlib.nullcontext(pool))
        monkeypatch.setattr(module, "results_of_parts", results)
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: True)
    yield done
    cores._share = None
    torch.set_num_threads(threads)


def test_a_run_that_has_not_ended_says_so(run, tmp_path):
    half = tmp_path / "half of it"
    shutil.copytree(run.path, half)
    (half / "operating_point.json").unlink()
    command = rf"its training has not ended; .*faceproof train 'resume={half}'$"
    with pytest.raises(FaceproofError, match=command):
        app.evaluate(compose_job("evaluate", tmp_path, (f'run="{half}"', *QUIET)))


def test_resuming_a_moved_run_keeps_its_best_epoch_and_fits_anew(run, tmp_path):
    import torch

    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    record = json.loads((moved / "record.json").read_text())
    rows = [line.split(",") for line in (moved / "metrics.csv").read_text().splitlines()]
    place = rows[0].index("val/loss")
    rows[1 + record["best_epoch"]][place] = "0.0"  # no later epoch can be better
    (moved / "metrics.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    before = (moved / "best.ckpt").read_bytes()
    again = train(moved, f"resume={moved}", "trainer.max_epochs=6")
    assert again.best.read_bytes() == before
    assert torch.load(again.best, weights_only=True)["epoch"] == record["best_epoch"]
    assert read_predictions(again.validation).num_rows == 24
