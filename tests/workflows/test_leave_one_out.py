"""Leaving out one source or generator at a time, with tiny trainings inside this process."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.workflows.leave_one_out import LeaveOneOutConfig, LeftOut, leave_one_out
from faceproof.workflows.sweep import Program
from tests.jobs import evaluate, train
from tests.small_sources import SPLITS, TINY, write_sources


@pytest.fixture
def done(monkeypatch, tmp_path):
    """Let a sweep train and evaluate inside this process, and count what it does."""
    monkeypatch.chdir(tmp_path)
    calls = Counter()

    def here(command, log, lock, watch=None):
        what, folder, *words = command
        calls[(what, Path(folder).name, *[w for w in words if w.startswith("split")])] += 1
        log.touch()
        try:
            (train if what == "train" else evaluate)(Path(folder), *words)
        except FaceproofError as error:
            return str(error)
        return ""

    monkeypatch.setattr("faceproof.workflows.sweep.run_process", here)
    return calls


def program():
    return Program(
        train=lambda overrides, folder: ["train", str(folder), *overrides],
        evaluate=lambda folder, split: ["evaluate", str(folder), f"split={split}"],
        compare=lambda runs, folder: folder,
    )


def crossval(file, folder, over="source", names="abc", more=(), swept=()):
    words = (*TINY, f"data.file={file}", *more)
    runs = [LeftOut(name, (*words, f"leave_out.{over}={name}")) for name in names]
    return leave_one_out(folder, runs, swept, program(), LeaveOneOutConfig(over))


def rows_of(folder, over="source"):
    with (folder / f"leave_one_{over}_out.csv").open(newline="") as file:
        return {row[over]: row for row in csv.DictReader(file)}


def scores(run, evaluation, threshold):
    table = pq.read_table(run.evaluations / evaluation / "predictions.parquet")
    labels = np.array(table["label"].cast("string").to_pylist()) == "fake"
    called = table["probability"].to_numpy().astype(float) >= threshold
    return table, roc_auc_score(labels, table["logit"].to_numpy()), accuracy_score(labels, called)


def test_each_source_is_judged_by_a_run_that_never_saw_it(tmp_path, done, capsys):
    file, folder = write_sources(tmp_path / "world"), tmp_path / "sweep"
    assert crossval(file, folder)
    said = capsys.readouterr().out
    found = rows_of(folder)
    assert list(found) == ["a", "b", "c", "mean"]
    areas = []
    for name in "abc":
        run = RunFolder(folder / f"source-{name}")
        samples = pq.read_table(run.samples).to_pylist()
        assert {row["source"] for row in samples} == set("abc") - {name}
        seen = pq.read_table(run.seen).to_pylist()
        assert seen
        assert not [row for row in seen if f"/world/{name}/" in row["path"]]
        assert run.read_config()["leave_out"]["source"] == name
        threshold = run.read_operating_point()["threshold"]
        table, area, right = scores(run, "held_out", threshold)
        assert table["source"].to_pylist() == [name] * 2 * SPLITS["test"]
        assert all("/test" in path for path in table["path"].to_pylist())
        assert float(found[name]["roc_auc"]) == pytest.approx(area)
        assert float(found[name]["accuracy"]) == pytest.approx(right)
        home, area_home, _ = scores(run, f"{file.stem}-test", threshold)
        assert set(home["source"].to_pylist()) == set("abc") - {name}
        assert float(found[name]["home_roc_auc"]) == pytest.approx(area_home)
        areas.append(area)
    assert float(found["mean"]["roc_auc"]) == pytest.approx(np.mean(areas))
    (study,) = json.loads((folder / "leave_one_source_out.json").read_text())["studies"]
    assert study["worst"]["roc_auc"]["value"] == pytest.approx(min(areas))
    page = (folder / "leave_one_source_out.html").read_text()
    for text in (said, page):
        assert "On sources that it never saw the detector reaches a mean ROC-AUC of" in text
        assert "no statement about sources that are not in the" in " ".join(text.split())
    assert f"{np.mean(areas):.3f}" in page
    assert done == Counter(
        (what, f"source-{name}", *split)
        for name in "abc"
        for what, *split in (("train",), ("evaluate", "split=test"), ("evaluate", "split=held_out"))
    )


def test_the_same_command_after_a_kill_runs_nothing_twice(tmp_path, done, monkeypatch, capsys):
    file, folder = write_sources(tmp_path / "world"), tmp_path / "sweep"
    from faceproof.workflows import sweep

    here, killed = sweep.run_process, []

    def dying(command, *given, **more):
        if len(done) in (1, 4) and len(done) not in killed:
            killed.append(len(done))
            raise KeyboardInterrupt
        return here(command, *given, **more)

    monkeypatch.setattr(sweep, "run_process", dying)
    for _ in range(2):  # in the second training, and in the second evaluation
        with pytest.raises(KeyboardInterrupt):
            crossval(file, folder, names="ab")
    assert crossval(file, folder, names="ab")
    assert set(done.values()) == {1}
    assert len(done) == 6
    first = (folder / "leave_one_source_out.json").read_text()
    capsys.readouterr()
    assert crossval(file, folder, names="ab")
    assert set(done.values()) == {1}
    assert capsys.readouterr().out.count("finished before") == 2
    assert (folder / "leave_one_source_out.json").read_text() == first


def test_generators_are_judged_beside_the_same_real_images(tmp_path, done):
    file, folder = write_sources(tmp_path / "world", "a"), tmp_path / "sweep"
    assert crossval(file, folder, "generator", ("warp", "blend"))
    real = []
    for name, other in (("warp", "blend"), ("blend", "warp")):
        run = RunFolder(folder / f"generator-{name}")
        samples = pq.read_table(run.samples).to_pylist()
        assert {row["generator"] for row in samples} == {None, other}
        table = pq.read_table(run.evaluations / "held_out/predictions.parquet").to_pylist()
        assert {row["generator"] for row in table} == {None, name}
        real.append(sorted(row["path"] for row in table if row["label"] == "real"))
    assert real[0] == real[1] != []
    assert list(rows_of(folder, "generator")) == ["warp", "blend", "mean"]


def test_a_source_of_one_class_has_a_dash_for_roc_auc_and_does_not_count(tmp_path, done, capsys):
    file = write_sources(tmp_path / "world", classes={"b": ("fake",)})
    folder = tmp_path / "sweep"
    assert crossval(file, folder, names="ab")
    found = rows_of(folder)
    assert found["b"]["roc_auc"] == ""
    assert found["b"]["accuracy"] != ""
    assert found["mean"]["roc_auc"] == found["a"]["roc_auc"]
    assert "The mean is of 1 of 2 sources" in capsys.readouterr().out


def test_settings_that_vary_too_make_configurations(tmp_path, done, capsys):
    file, folder = write_sources(tmp_path / "world", "ab"), tmp_path / "sweep"
    words = (*TINY, f"data.file={file}")
    runs = [
        LeftOut(name, (*words, f"seed={seed}", f"leave_out.source={name}"))
        for seed in (0, 1)
        for name in "ab"
    ]
    leave_one_out(folder, runs, ["seed"], program(), LeaveOneOutConfig())
    with (folder / "leave_one_source_out.csv").open(newline="") as file:
        rows = [(row["seed"], row["source"]) for row in csv.DictReader(file)]
    assert rows == [(s, n) for s in "01" for n in ("a", "b", "mean")]
    assert "seed=1: on sources that it never saw" in capsys.readouterr().out
    assert "<h2>Configurations</h2>" in (folder / "leave_one_source_out.html").read_text()


def test_a_run_that_fails_is_named_and_the_others_are_in_the_table(tmp_path, done, capsys):
    file = write_sources(tmp_path / "world", "ab", {"b": {"train": 8, "test": 4}})
    folder = tmp_path / "sweep"
    assert not crossval(file, folder, names="ab")  # without a, nothing is left in val
    found = rows_of(folder)
    assert found["a"]["roc_auc"] == ""
    assert found["b"]["roc_auc"] != ""
    assert "leave_out leaves no image of class" in capsys.readouterr().out
