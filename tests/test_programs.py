import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from faceproof import programs
from faceproof.cli.main import main

SEALED = Path("/sys")  # nobody makes a folder there


def faceproof(*words, cwd):
    return subprocess.run(
        [sys.executable, "-P", "-m", "faceproof", *words],
        cwd=cwd, env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def composed(capsys, *words):
    """Return the configuration that a program would use."""
    main([*words, "--cfg", "job"])
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.skipif(not SEALED.is_dir(), reason="every folder can be written to")
@pytest.mark.parametrize("word", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_place_for_runs_that_cannot_be_written_to_is_refused_at_once(word, tmp_path):
    words = ["train", "-m", "seed=1,2"] if "sweep" in word else ["train"]
    found = faceproof(*words, f"{word}={SEALED / 'runs/a'}", cwd=tmp_path)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "/sys/runs" in found.stderr
    assert "cannot be written to" in found.stderr
    assert f"{word}=FOLDER" in found.stderr


def test_an_evaluation_that_is_refused_leaves_an_empty_folder_as_it_is(tmp_path):
    found = faceproof("evaluate", "run=latest", cwd=tmp_path)
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []  # and it is still there


@pytest.mark.parametrize("program", ["train", "sweep", "crossval", "evaluate"])
def test_help_says_what_each_group_and_choice_is(program, tmp_path, monkeypatch, capsys):
    own = tmp_path / "conf/data"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# Images of mine. From my camera.\nname: mine\n")
    (own / "_shared.yaml").write_text("name: shared\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([program, "--help"])
    assert not ended.value.code
    groups = capsys.readouterr().out.partition("settings, as")[0]
    assert "_shared" not in groups
    assert "_sets" not in groups
    assert max(map(len, groups.splitlines())) <= 100
    lines = dict(line.split(maxsplit=1) for line in groups.splitlines() if line.startswith("  "))
    assert lines["mine"] == "Images of mine"
    wanted = {"data=", "folder", "table"}
    if program != "evaluate":
        wanted |= {"freeze=", "gradual", "experiments=", "cnn3", "sweep=", "seeds"}
        assert lines["lora"].endswith("LoRA (Hu et al. 2021)")
        assert lines["sgd"] == "Stochastic gradient descent with Nesterov's momentum"
    assert wanted <= lines.keys()
    assert not [line for line in lines.values() if line.endswith(("...", "et al"))]


def test_a_file_of_the_users_own_comes_before_faceproofs(tmp_path, monkeypatch, capsys):
    (tmp_path / "conf/freeze").mkdir(parents=True)
    (tmp_path / "conf/freeze/none.yaml").write_text("stages: [{from_epoch: 3, train: head}]\n")
    (tmp_path / "conf/experiments").mkdir()
    (tmp_path / "conf/experiments/mine.yaml").write_text("# @package _global_\nseed: 41\n")
    monkeypatch.chdir(tmp_path)
    found = composed(capsys, "train", "experiments=mine")
    assert found["freeze"]["stages"] == [{"from_epoch": 3, "train": "head"}]
    assert found["seed"] == 41
    assert composed(capsys, "train", "experiments=face_cnn")["model"]["name"] == "face_cnn"


def test_a_conf_of_another_program_is_refused_by_name(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/train.yaml").write_text("lr: 1\n")
    found = faceproof("train", "--cfg", "job", cwd=tmp_path)
    assert found.returncode == 1
    assert "conf/train.yaml would take the place of faceproof's own settings" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("words", [["--cfg", "job"], ["--help"]])
def test_a_sweep_can_be_asked_what_it_would_do(words, tmp_path):
    found = faceproof("sweep", *words, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "effnet_lite_se" in found.stdout


@pytest.mark.skipif(not SEALED.is_dir(), reason="every folder can be written to")
def test_what_writes_nothing_may_begin_anywhere():
    for words in (["train", "--help"], ["train", "--cfg", "job"], ["evaluate", "--help"]):
        assert faceproof(*words, cwd=SEALED).returncode == 0


def test_a_task_finds_the_words_that_the_process_was_started_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = ["faceproof", "train", "data.root=My Faces"]
    monkeypatch.setattr(sys, "argv", list(typed))
    seen = []
    programs.start("train", lambda config: seen.append((list(sys.argv), config.data.root)),
                   sys.argv[2:])  # fmt: skip
    assert seen == [(typed, "My Faces")]
    assert sys.argv == typed


def test_a_sweep_is_a_training_with_several_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = []
    monkeypatch.setattr(programs, "start", lambda name, task, words: begun.append((name, words)))
    main(["sweep", "seed=1,2"])
    assert begun == [("train", ["-m", "seed=1,2"])]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["data=[a,b]"], ["data=[a,b]"]),
        (["--over", "generator", "seed=1"], ["hydra.sweeper.over=generator", "seed=1"]),
        (["seed=1", "--over=source"], ["seed=1", "hydra.sweeper.over=source"]),
    ],
)
def test_crossval_is_a_sweep_that_leaves_one_out(typed, words, monkeypatch):
    begun = []
    monkeypatch.setattr(programs, "start", lambda name, task, words: begun.append((name, words)))
    main(["crossval", *typed])
    assert begun == [("train", ["sweep=leave_one_out", *words])]


@pytest.mark.parametrize(
    ("typed", "said"),
    [(["--over"], "--over needs a value"), (["sweep=seeds"], "leave out sweep=seeds")],
)
def test_what_is_no_crossval_is_refused(typed, said):
    with pytest.raises(SystemExit, match=said):
        main(["crossval", *typed])
