"""MLflow, Weights & Biases and TensorBoard show the same of a real run, by real local stores."""

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceproof.errors import FaceproofError
from faceproof.evaluation.mistakes import find_mistakes
from faceproof.io.run_folder import RunFolder, read_epochs
from faceproof.training import boards
from faceproof.training.boards import Board, begun, check_boards, recorded_trackers
from faceproof.training.config import LoggerConfig
from faceproof.workflows.calibrate import log_mistakes
from tests.conftest import write_faces
from tests.evaluation.test_mistakes import TASK, predictions
from tests.jobs import evaluate, train
from tests.reports.test_image_grid import draw

TINY = (
    "data=face_or_not", "model=face_cnn", "model.input.size=16", "trainer=cpu",
    "trainer.max_epochs=2", "loader.batch_size=8", "loader.num_workers=0",
)  # fmt: skip
FIGURES = {"train/samples", "val/confusion", "val/roc"}
# SQLAlchemy's, of a word of MLflow's.
pytestmark = pytest.mark.filterwarnings("ignore:.*noload", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """Train and evaluate a run that all three are told of; return its folder and where they are."""
    pytest.importorskip("mlflow", reason="takes faceproof[mlflow]")
    pytest.importorskip("wandb", reason="takes faceproof[wandb]")
    place = tmp_path_factory.mktemp("tracked")
    faces = write_faces(place / "faces", train=8, val=8, test=8)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
        patched.setenv("WANDB_MODE", "offline")
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
        run = train(place / "run", *TINY, f"data.root={faces}", "logger=[tensorboard,mlflow,wandb]")
        folder = evaluate(run.path, "loader.num_workers=0")
        yield run, folder
        mlflow.set_tracking_uri(None)


def mlflow_run(run):
    import mlflow

    client = mlflow.MlflowClient()
    return client, client.get_run(recorded_trackers(run)["mlflow"])


def artifacts(client, number, place=""):
    """Yield the files of a run in MLflow."""
    for one in client.list_artifacts(number, place):
        if one.is_dir:
            yield from artifacts(client, number, one.path)
        else:
            yield one.path


def records_of(data):
    """Yield the records of a log of LevelDB's format, in blocks of 32 KiB behind a header."""
    at, begun = 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left  # the end of a block holds no record
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        begun += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield begun
            begun = b""


def wandb_records(folder):
    """Return what the offline folders of Weights & Biases hold."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in records_of(file.read_bytes()):
            found.append(wandb_internal_pb2.Record())
            found[-1].ParseFromString(data)
    return found


def wandb_curves(records):
    """Return the last value of each metric, and the summary, by name."""
    last, summary = {}, {}
    for record in records:
        items = [(last, record.history.item), (summary, record.summary.update)]
        for values, changed in items:
            for item in changed:
                name = item.key or "/".join(item.nested_key)
                values[name] = json.loads(item.value_json)
    return last, summary


def test_the_three_hold_the_same_curves(tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = tracked
    rows = read_epochs(run.metrics)
    board = EventAccumulator(str(run.path)).Reload()
    _, in_mlflow = mlflow_run(run)
    in_wandb, _ = wandb_curves(wandb_records(run.path.parent))
    names = {name for name in rows[-1] if name != "epoch" and rows[-1][name] is not None}
    assert {"train/loss", "val/loss", "val/roc_auc", "lr/head"} <= names
    for name in names:
        assert board.Scalars(name)[-1].value == pytest.approx(rows[-1][name], rel=1e-5), name
        assert in_mlflow.data.metrics[name] == pytest.approx(rows[-1][name], rel=1e-5), name
        assert in_wandb[name] == pytest.approx(rows[-1][name], rel=1e-5), name


def test_they_hold_the_settings_and_the_best_epoch(tracked):
    run, _ = tracked
    _, found = mlflow_run(run)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "run"
    assert (found.data.params["model"], found.data.params["trainer.max_epochs"]) == (
        "face_cnn",
        "2",
    )
    best = json.loads(run.record.read_text())["best"]["val/loss"]
    assert found.data.metrics["best/val/loss"] == pytest.approx(best)
    records = wandb_records(run.path.parent)
    _, summary = wandb_curves(records)
    assert summary["best/val/loss"] == pytest.approx(best)
    settings = {
        item.key: json.loads(item.value_json) for record in records
        for item in (*record.config.update, *record.run.config.update)
    }  # fmt: skip
    assert (settings["model"], settings["optimizer.lr"] > 0) == ("face_cnn", True)


def test_they_hold_the_figures_and_the_mistakes(tracked, tmp_path):
    run, _ = tracked
    (tmp_path / "images").mkdir()
    draw(tmp_path / "images", 5)
    table = predictions(folder=f"{tmp_path}/images/")
    log_mistakes(run, "web+test", find_mistakes(table, TASK, 0.5))
    client, found = mlflow_run(run)
    files = list(artifacts(client, found.info.run_id))
    assert {f"{name}/0000.png" for name in FIGURES} <= set(files)
    assert "val/confusion/0001.png" in files
    assert {"mistakes/web_test/fake_called_real", "mistakes/web_test/real_called_fake"} <= {
        os.path.dirname(file) for file in files
    }
    samples = client.download_artifacts(found.info.run_id, "train/samples/0000.png", str(tmp_path))
    assert np.asarray(Image.open(samples).convert("L")).std() > 10  # something is drawn
    media = {path.name for path in run.path.parent.glob("wandb/offline-run-*/files/media/**/*.png")}
    last, _ = wandb_curves(wandb_records(run.path.parent))
    assert all(last[f"{name}/_type"] == "image-file" for name in FIGURES)
    assert last["mistakes/web+test/fake_called_real/_type"] == "image-file"
    assert len(media) >= len(FIGURES)


def test_an_evaluation_adds_its_metrics_and_its_page(tracked):
    run, folder = tracked
    report = json.loads((folder / "report.json").read_text())["metrics"]
    client, found = mlflow_run(run)
    place = f"evaluations/{folder.name}"
    assert found.data.metrics[f"{place}/accuracy"] == pytest.approx(report["accuracy"])
    page = client.download_artifacts(found.info.run_id, f"{place}/report.html")
    assert Path(page).read_bytes() == (folder / "report.html").read_bytes()
    last, summary = wandb_curves(wandb_records(run.path.parent))
    assert summary[f"{place}/accuracy"] == pytest.approx(report["accuracy"])
    assert last[f"{place}/page/_type"] == "html-file"
    pages = list(run.path.parent.glob("wandb/offline-run-*/files/media/html/**/*.html"))
    assert pages
    assert len(recorded_trackers(run)) == 2
    numbers = {record.run.run_id for record in wandb_records(run.path.parent)} - {""}
    assert numbers == {recorded_trackers(run)["wandb"].rpartition("/")[2]}  # one run of theirs


def test_a_run_that_is_resumed_goes_on_in_the_same_places(tracked, tmp_path):
    run, _ = tracked
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy"))
    before = recorded_trackers(run)
    train(copy.path, f"resume={copy.path}", "trainer.max_epochs=3")
    assert recorded_trackers(copy) == before
    client, found = mlflow_run(copy)
    history = client.get_metric_history(found.info.run_id, "val/loss")
    assert len(history) == len(read_epochs(copy.metrics)) == 3


def test_a_run_of_somebody_else_is_evaluated_and_sent_nowhere(tracked, tmp_path, caplog):
    run, _ = tracked
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy"))
    client, _ = mlflow_run(run)
    before = len(client.search_runs([e.experiment_id for e in client.search_experiments()]))
    copy.update_record(trackers={"mlflow": "0" * 32, "wandb": "../../x", "other": "a"})
    assert recorded_trackers(copy) == {"mlflow": "0" * 32}
    with caplog.at_level("WARNING"):
        evaluate(copy.path, "loader.num_workers=0", "name=again")
    assert f"logged to mlflow as {'0' * 32}, but not by you" in caplog.text
    after = len(client.search_runs([e.experiment_id for e in client.search_experiments()]))
    assert after == before


def test_a_run_that_is_gone_from_its_store_is_told(tracked, tmp_path, caplog):
    run, _ = tracked
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy"))
    copy.update_record(trackers={"mlflow": "0" * 32})
    with begun([Begun("0" * 32)], copy, {}, {}):
        pass
    with caplog.at_level("WARNING"):
        evaluate(copy.path, "loader.num_workers=0", "name=again")
    assert "cannot be opened (MlflowException: Run with id=000" in caplog.text


class Begun(Board):
    """A board that has begun a run of this name in MLflow."""

    kind = "mlflow"

    def __init__(self, name):
        self.name = name

    def begin(self, values, choices):
        return self.name


def test_a_store_that_is_away_is_told_before_the_first_epoch(small_faces, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="takes faceproof[mlflow]")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/file/mlflow.db")
    try:
        with pytest.raises(FaceproofError, match=r"mlflow cannot be used \(.*MLFLOW_TRACKING_URI"):
            train(tmp_path / "run", *TINY, f"data.root={small_faces}", "logger=mlflow")
    finally:
        mlflow.set_tracking_uri(before)
    assert not (tmp_path / "run/last.ckpt").exists()


def test_a_run_that_fails_after_its_last_epoch_has_failed_in_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="takes faceproof[mlflow]")
    faces = write_faces(tmp_path / "faces", train=8, val=8)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")

    def fail(*_: object) -> None:
        raise FaceproofError("no threshold")

    words = (*TINY, f"data.root={faces}", "logger=mlflow", "trainer.max_epochs=1")
    try:
        with monkeypatch.context() as changed:
            changed.setattr("faceproof.workflows.train.store_operating_point", fail)
            with pytest.raises(FaceproofError, match="no threshold"):
                train(tmp_path / "run", *words)
        run = RunFolder(tmp_path / "run")
        assert mlflow_run(run)[1].info.status == "FAILED"
        train(run.path, f"resume={run.path}")
        assert mlflow_run(run)[1].info.status == "FINISHED"
    finally:
        mlflow.set_tracking_uri(None)


def test_a_store_that_goes_away_ends_the_logging_and_not_the_training(caplog):
    def fail(*_):
        raise OSError("the server is gone")

    board = boards.Board()
    board.kind = "mlflow"
    board.attempt(fail, 1)
    board.attempt(fail, 2)
    assert caplog.text.count("no more of this run is logged to mlflow: OSError: the server is") == 1


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_missing_extra_is_told_before_any_work(kind, small_faces, tmp_path, monkeypatch):
    monkeypatch.setattr(boards, "find_spec", lambda name: None)
    with pytest.raises(FaceproofError, match=rf"needs {kind}: pip install 'faceproof\[{kind}\]'"):
        train(tmp_path / "run", *TINY, f"data.root={small_faces}", f"logger=[csv,{kind}]")
    assert not list((tmp_path / "run").iterdir())


def test_nobody_logged_in_is_told_before_any_work(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="takes faceproof[wandb]")
    monkeypatch.setattr(wandb, "login", lambda prompt: False)
    config = LoggerConfig(wandb=True)
    wandb.setup().settings.mode = "online"
    try:
        with pytest.raises(FaceproofError, match="nobody is logged in: run wandb login, or set W"):
            check_boards(config)
    finally:
        wandb.setup().settings.mode = os.environ.get("WANDB_MODE", "online")


def test_what_is_not_asked_for_needs_no_extra(monkeypatch):
    asked = []
    monkeypatch.setattr(boards, "find_spec", asked.append)
    check_boards(LoggerConfig())
    check_boards(LoggerConfig(tensorboard=True))
    assert asked == []


@pytest.mark.parametrize("name", ["", "a/b", "../x", 3])
def test_a_project_has_a_plain_name(name):
    with pytest.raises(FaceproofError, match=r"project = .* must be a name of letters"):
        LoggerConfig(project=name)
