import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from faceproof import app, programs
from faceproof.app import tasks
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from tests.jobs import REPOSITORY, evaluate, train

TINY = (
    "model=face_cnn",
    "model.input.size=16",
    "trainer=smoke",
    "loader.batch_size=8",
    "loader.num_workers=0",
    "logger=csv",
)


@pytest.fixture
def tiny(small_faces):
    return ("data=face_or_not", f"data.root={small_faces}", *TINY)


@pytest.fixture
def run(tiny, tmp_path):
    return train(tmp_path / "run", *tiny)


def command(*arguments, cwd):
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *(str(a) for a in arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def hydra_leaves_nothing():
    """Take back what Hydra's main function leaves in a process: its log and its configuration."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(before):
        handler.close()
    root.handlers[:], root.level = before, level
    HydraConfig.instance().cfg = None


@pytest.fixture
def refused(tmp_path, monkeypatch, hydra_leaves_nothing):
    """Return what runs a program below a folder and returns its one message."""
    monkeypatch.chdir(tmp_path)

    def run(program, *words):
        with pytest.raises(SystemExit) as ended:
            program(words)
        assert isinstance(ended.value.code, str)  # printed, with exit code 1
        assert ended.value.code.startswith("error: ")
        return ended.value.code

    return run


def test_the_two_commands_from_another_folder(tiny, tmp_path):
    trained = command(REPOSITORY / "train.py", *tiny, "hydra.run.dir=here", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "faceproof evaluate run=here" in trained.stdout
    assert "best epoch" in trained.stdout
    judged = command(REPOSITORY / "evaluate.py", "run=here", cwd=tmp_path)
    assert judged.returncode == 0, judged.stderr
    assert "report: here/evaluations/face_or_not-test/report.html" in judged.stdout
    assert (tmp_path / "here/evaluations/face_or_not-test/report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("optimizer.learning_rate=3",), "learning_rate"),
        (("model=efnet",), "efnet"),
        (("data=face_or_not", "data.root=nowhere"), "there is no folder"),
        (("data=table",), "data.file"),
        (("resume=nowhere",), "is not a run to use"),
    ],
)
def test_refusals_are_one_message_and_leave_nothing(arguments, message, tmp_path, refused):
    assert message in refused(programs.train, *arguments)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_evaluating_what_is_no_run_is_refused(tmp_path, refused):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "train.log").touch()
    assert "it holds train.log" in refused(programs.evaluate, "run=half")
    assert "no run below runs" in refused(programs.evaluate, "run=latest")


def test_configuration_and_help_need_no_heavy_library(tmp_path):
    code = (
        "import sys; sys.argv = ['train.py', '--cfg', 'job']\n"
        f"import runpy; runpy.run_path({str(REPOSITORY / 'train.py')!r}, run_name='__main__')\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'sklearn', 'scipy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules)\n"
        "import faceproof.cli.main\n"
        "assert not heavy & set(sys.modules)\n"
    )
    found = command("-c", code, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "effnet_lite_se" in found.stdout


def test_a_folder_that_holds_a_run_is_not_overwritten(run, tiny):
    before = run.best.read_bytes()
    with pytest.raises(FaceproofError, match="holds a run already; resume it by resume="):
        train(run.path, *tiny)
    run.last.unlink()  # to save room
    with pytest.raises(FaceproofError, match="holds a run already"):
        train(run.path, *tiny)
    assert run.best.read_bytes() == before


@pytest.mark.parametrize(
    "override",
    ["model=cnn3", "optimizer.lr=0.5", "seed=9", "data.root=elsewhere", "optimizer={lr: 1}"],
)
def test_a_resumed_run_keeps_its_configuration(run, override):
    with pytest.raises(FaceproofError, match="cannot be changed when a run is resumed"):
        train(run.path, f"resume={run.path}", override)


def test_a_resumed_run_takes_single_settings_and_its_own_choices(run):
    train(run.path, f"resume={run.path}", "model=face_cnn", "trainer.max_epochs=2")
    assert torch.load(run.last, weights_only=True)["epoch"] == 1
    assert "random initial weights" in run.record.read_text()


def test_evaluating_another_data_set_and_split(run, small_faces):
    folder = evaluate(
        run.path, "data=face_or_not", f"data.root={small_faces}", "split=val", "name=elsewhere",
        "loader.num_workers=0",
    )  # fmt: skip
    assert folder == run.path / "evaluations" / "elsewhere"
    report = json.loads((folder / "report.json").read_text())
    assert report["metrics"]["num_images"] == 8


def test_a_data_set_of_another_task_is_refused(run, small_faces):
    words = ("+data.labels.faces=real", "+data.labels.non-faces=fake")
    splits = tuple(f"+data.splits.{split}={split}" for split in ("train", "val", "test"))
    with pytest.raises(FaceproofError, match="was trained for the task face"):
        evaluate(
            run.path, "data=real_fake_folders", f"data.root={small_faces}",
            "data.layout='{split}/{label}/*'", *words, *splits,
        )  # fmt: skip


def test_a_split_without_images_is_refused(run):
    with pytest.raises(FaceproofError, match=r"no images in the split 'unlabelled'; found"):
        evaluate(run.path, "split=unlabelled")


def test_weights_of_another_network_are_refused(run):
    state = torch.load(run.best, weights_only=True)
    del state["state_dict"]["net.head.hidden.bias"]
    torch.save(state, run.best)
    with pytest.raises(FaceproofError, match=r"does not fit the run's own model[\s\S]*hidden.bias"):
        evaluate(run.path)


def test_unreadable_files_are_named_counted_and_left_out(tiny, small_faces, tmp_path):
    bad = small_faces / "train" / "faces" / "broken.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(FaceproofError, match=r"more than data.max_unreadable = 1.0%"):
        train(tmp_path / "refused", *tiny)
    assert not (tmp_path / "refused" / "best.ckpt").exists()
    run = train(tmp_path / "run", *tiny, "data.max_unreadable=0.2")
    assert "broken.jpg" in run.unreadable.read_text()
    assert json.loads(run.record.read_text())["unreadable"] == 1


@pytest.mark.parametrize(("allow", "trained"), [("false", False), ("true", True)])
def test_a_leak_across_splits_stops_training_unless_allowed(
    tiny, small_faces, tmp_path, allow, trained
):
    original = small_faces / "train" / "faces" / "0.jpg"
    (small_faces / "val" / "faces" / "again.jpg").write_bytes(original.read_bytes())
    folder = tmp_path / "run"
    options = (*tiny, f"data.allow_leaks={allow}")
    if trained:
        train(folder, *options)
    else:
        with pytest.raises(FaceproofError, match=r"leaks across its splits[\s\S]*allow_leaks=true"):
            train(folder, *options)
    assert (folder / "best.ckpt").exists() == trained
    assert "leak: identical files across splits, 1" in (folder / "record.json").read_text()
    assert json.loads((folder / "audit.json").read_text())["clear"] is False
    assert "again.jpg" in (folder / "audit.html").read_text()


def test_what_a_refused_run_left_does_not_stand_in_its_way(tiny, small_faces, tmp_path):
    image = small_faces / "train" / "faces" / "0.jpg"
    (small_faces / "val" / "faces" / "again.jpg").write_bytes(image.read_bytes())
    with pytest.raises(FaceproofError, match="leaks across"):
        train(tmp_path / "run", *tiny, "data.allow_leaks=false")
    assert train(tmp_path / "run", *tiny, "data.allow_leaks=true").best.is_file()


def test_a_refusal_removes_no_log_of_the_user_s(tmp_path, refused):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "precious.log").write_text("mine")
    refused(programs.train, "data=face_or_not", "data.root=nowhere", "hydra.run.dir=mine")
    assert (folder / "precious.log").read_text() == "mine"


def arriving(name):
    """Return what Hydra has of a folder when a shell has split the printed argument."""
    (word,) = shlex.split(RunFolder(name).argument("run"))
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return compose("evaluate", app.command_line([word])).run


@pytest.mark.parametrize(
    "name",
    [
        *("plain-1.2", "with space", "m=x,y", 'a "quote"', "runs/it's", "größe", "ключ", "日本"),
        *("12", "1e3", ".5", "-inf", "null", "True", "nan", "[a]", "{a: 1}", "a:b", "~a", "@b"),
        *("a${b}", "${oc.env:HOME}", "\\${b}", "\\\\${b}", "${", "$HOME", "%", "#", "*", "!x"),
        *("end\\", "end\\\\", 'a\\"b', 'a\\\\"', '\\${"', "a\\b", " a ", "a\nb", "'", '"', "(x)"),
        *("..", "../a", "./a", "a/null", "/", "/12"),
    ],
)
def test_a_folder_name_arrives_as_it_is_by_the_next_command(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir(parents=True, exist_ok=True)
    assert os.path.normpath(arriving(name)) == os.path.normpath(name)


@pytest.mark.parametrize("name", ["latest", "???"])
def test_a_folder_is_not_taken_for_a_word_of_the_command(name):
    assert arriving(name) == f"./{name}"


@given(st.text(alphabet="ab1.-\\\"'${}[]:=,~ \nß", min_size=1, max_size=8))
def test_any_folder_name_arrives_as_it_is(name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x", name)
        path.mkdir(parents=True, exist_ok=True)
        (word,) = shlex.split(RunFolder(path).argument("run"))
        (override,) = OverridesParser.create().parse_overrides(app.command_line([word]))
        arrived = str(OmegaConf.create({"run": override.value()}).run)
        assert arrived in (str(path), os.path.normpath(path))  # `..` as it is, or where it leads


def test_an_interrupted_command_ends_with_one_line(
    run, tmp_path, monkeypatch, capsys, hydra_leaves_nothing
):
    def interrupted(program, place, *words):
        def interrupt(*given, **more):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(f"faceproof.workflows.{place}", interrupt)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                program(words)
        assert ended.value.code == 130
        return capsys.readouterr().err.splitlines()[-1]

    monkeypatch.chdir(tmp_path)
    said = interrupted(programs.train, "train.build_network", "hydra.run.dir=new")
    assert said == "interrupted; no checkpoint had been written, so the same command starts anew"
    assert not (tmp_path / "new").exists()
    said = interrupted(programs.train, "resuming.recorded_data", "resume=run")
    assert said == "interrupted; resume it by: faceproof train resume=run"
    said = interrupted(programs.evaluate, "evaluate.recorded_data", "run=run")
    assert said == "interrupted"


DAMAGED = [b"", b"model: [1", b"- 1", b"12", b"\xff\xfe", b"\0", b"a: ${b", b"model: x\ndata: y"]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_configuration_is_refused_by_name(tmp_path, text):
    run = RunFolder(tmp_path)
    for file in (run.samples, run.last):
        file.touch()
    run.config.write_bytes(text)
    for use in (lambda: train(run.path, f"resume={run.path}"), lambda: evaluate(run.path)):
        with pytest.raises(FaceproofError, match=r"config\.yaml .*(?s:.*)copy the run again"):
            use()


def test_random_weights_are_asked_for_by_the_user_and_not_by_a_model(tiny, tmp_path, monkeypatch):
    frozen = (*tiny, "freeze=head_only")
    with pytest.raises(FaceproofError, match=r"say model\.weights=none"):
        train(tmp_path / "refused", *frozen)
    monkeypatch.setattr(tasks, "said_by", lambda *_: {"model.weights": "none"})
    assert train(tmp_path / "experiment", *frozen).best.is_file()
    monkeypatch.undo()
    assert train(tmp_path / "typed", *frozen, "model.weights=none").best.is_file()
