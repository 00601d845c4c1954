"""`faceproof train -m`: runs through a kill with real processes, the rest pretended."""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from faceproof import app
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.words import for_hydra
from tests.jobs import CHOICES, REPOSITORY
from tests.small_sources import TINY, write_sources

TRAIN = REPOSITORY / "train.py"
CUSTOM = """
import os, signal, sys, time
from pathlib import Path
from torch.optim import SGD

class Slow(SGD):
    def step(self, *given, **more):
        third = "seed=2" in sys.argv and Path("sweep", "seed-2", "last.ckpt").exists()
        while third and Path("slow").exists():
            time.sleep(0.1)
        return super().step(*given, **more)

def kill(*given, **more):
    os.kill(os.getpid(), signal.SIGKILL)

def fail(*given, **more):
    raise MemoryError("no more of it")
"""


def leaderboard(folder):
    with (folder / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def until(condition, process):
    """Wait as long as the process lives: how long a step takes says how busy the machine is."""
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


@pytest.fixture
def begin(small_faces, tmp_path):
    """Return what starts `faceproof train -m ...` with tiny runs in a group of processes."""
    (tmp_path / "custom.py").write_text(CUSTOM)
    words = (
        "-m", "data=face_or_not", f"data.root={small_faces}", "model=face_cnn",
        "model.input.size=16", "trainer=smoke", "logger=csv", "loader.num_workers=0",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip

    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {"PYTHONPATH": path, "FACEPROOF_ALLOW": "custom"}
    started = []

    def start(*more):
        process = subprocess.Popen(
            [sys.executable, str(TRAIN), *words, *more],
            cwd=tmp_path, env=os.environ | environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_runs_killed_in_the_third_end_with_all_results_and_none_runs_twice(
    begin, tmp_path, is_long
):
    num = 6 if is_long else 4
    words = (
        f"seed={','.join(map(str, range(num)))}",
        "trainer.max_epochs=2",
        "optimizer=sgd",
        "optimizer.name=custom.Slow",
    )
    third = tmp_path / "sweep" / "seed-2"
    (tmp_path / "slow").touch()
    first = begin(*words)
    until((third / "last.ckpt").exists, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    (tmp_path / "slow").unlink()
    statuses = [row["status"] for row in leaderboard(tmp_path / "sweep")]
    assert statuses == ["finished"] * 2 + ["running"] + ["waiting"] * (num - 3)
    again = begin(*words)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert output.count("finished before") == 2
    assert output.count("resumes from its last.ckpt") == 1
    rows = leaderboard(tmp_path / "sweep")
    assert [row["status"] for row in rows] == ["finished"] * num
    assert [row["epochs"] for row in rows] == ["2"] * num
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values)
    jobs = [json.loads(file.read_text()) for file in (tmp_path / "sweep").glob("*/job.json")]
    assert sorted(len(job["attempts"]) for job in jobs) == [1] * (num - 1) + [2]


def test_a_run_that_is_killed_or_fails_does_not_end_the_others(begin, tmp_path):
    sweep = begin("optimizer.name=custom.kill,custom.fail")
    output, _ = sweep.communicate()
    assert sweep.returncode == 1
    assert "2 of 2 runs failed" in output
    reasons = {row["optimizer.name"]: row["reason"] for row in leaderboard(tmp_path / "sweep")}
    assert reasons["custom.kill"] == "the process was killed by SIGKILL (out of memory?)"
    assert "no more of it" in reasons["custom.fail"]


def test_one_command_from_runs_to_a_page(begin, tmp_path):
    sweep = begin("seed=0,1", "compare=true")
    output, _ = sweep.communicate()
    assert sweep.returncode == 0, output
    assert output.count("is evaluated on the test split") == 2
    page = (tmp_path / "sweep" / "comparison" / "comparison.html").read_text()
    assert "face_or_not" in page
    again = begin("seed=0,1")
    output, _ = again.communicate()
    assert output.count("finished before") == 2  # what comes after the runs makes no others


@pytest.fixture
def sweeping(tmp_path, monkeypatch):
    """Return what runs `train.py -m ...` here, with runs that finish at once.

    It returns the exit code; `started` lists the words of each run that began, and those that
    `failing` says yes to fail.
    """
    monkeypatch.chdir(tmp_path)

    def pretend(command, log, lock, watch=None):
        words = dict(word.lstrip("+").partition("=")[::2] for word in command if "=" in word)
        folder = OverridesParser.create().parse_override(f"x={words['hydra.run.dir']}").value()
        words["hydra.run.dir"] = OmegaConf.create({"x": folder}).x  # without its escapes
        sweep.started.append(words)
        if sweep.failing(words):
            return "it broke"
        run = RunFolder(words["hydra.run.dir"])
        value = float(words.get("optimizer.lr", 0)) + float(words.get("seed", 0))
        run.update_record(
            status="finished", monitor="val/loss", best_epoch=0, epochs=1, best={"val/loss": value}
        )
        run.write_operating_point({})
        return ""

    monkeypatch.setattr("faceproof.workflows.sweep.run_process", pretend)
    monkeypatch.setattr(app, "data_refusal", lambda config: sweep.refusal)

    def sweep(*words):
        monkeypatch.setattr(sys, "argv", [str(TRAIN), *words])
        try:
            runpy.run_path(str(TRAIN), run_name="__main__")
        except SystemExit as end:
            return end.code
        return 0

    sweep.started, sweep.failing, sweep.refusal = [], lambda words: False, ""
    return sweep


def only_sweep():
    (folder,) = Path("multirun").iterdir()
    return folder


def test_the_same_command_finds_its_folder_and_does_what_is_missing_or_failed(sweeping):
    sweeping.failing = lambda words: words["seed"] == "1"
    words = ("scheduler=plateau,none", "scheduler.patience=choice(1)")  # which one of them has
    assert sweeping("-m", *words, "seed=0,1") == 1
    assert len(sweeping.started) == 2  # what cannot be composed is not started
    rows = leaderboard(only_sweep())
    assert [row["status"] for row in rows] == ["finished"] + ["failed"] * 3
    reasons = {(row["scheduler"], row["seed"]): row["reason"] for row in rows}
    assert reasons["plateau", "1"] == "it broke"
    assert reasons["none", "0"].startswith("there is no setting scheduler.patience; ")
    sweeping.failing = lambda words: False
    assert sweeping("-m", "seed=0,1", *words) == 1
    assert [words["seed"] for words in sweeping.started] == ["0", "1", "1"]
    assert [row["status"] for row in leaderboard(only_sweep())] == ["finished"] * 2 + ["failed"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("model=resnet18,effnet_bO",),
            "there is no model=effnet_bO; did you mean model=effnet_b0?",
        ),
        (("lr=0.1,0.2",), "there is no setting lr; did you mean optimizer.lr?"),
        (("seed=0,1", "dataset=x"), "there is no setting dataset; did you mean data?"),
        (("+optimizer.lr=1,2", "optimizer=adam"), "optimizer.lr is a setting already; leave out"),
        (("sweep=grids",), "there is no sweep=grids; did you mean sweep=grid?"),
    ],
)
def test_what_no_run_can_have_is_refused_before_the_first_one(sweeping, words, message):
    answer = sweeping("-m", *words)
    assert answer.startswith(f"error: {message}")
    assert len(answer.splitlines()) == 1
    assert not sweeping.started
    assert not any(Path().iterdir())


@pytest.mark.parametrize("name", ["jürgen (1)", "a=b, [c] {d}", 'it\'s "$x" ~#', "😀 ${y}"])
def test_a_sweep_runs_and_is_resumed_below_any_folder(sweeping, tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    words = ("-m", "seed=0,1", "data=real_fake_folders", f"data.root={tmp_path / name}")
    assert sweeping(*words) == 0
    folders = {words["hydra.run.dir"] for words in sweeping.started}
    assert folders == {str(only_sweep().absolute() / f"seed-{seed}") for seed in (0, 1)}
    for file in only_sweep().glob("*/operating_point.json"):
        run = RunFolder(file.parent)
        run.config.write_text("model: {}\ndata: {}\n")
        for left in (run.last, run.samples):
            left.touch()
        file.unlink()
    sweeping.started.clear()
    assert sweeping(*words) == 0
    resumed = [app.command_line([f"resume={words['resume']}"]) for words in sweeping.started]
    assert resumed == [[f"resume={for_hydra(folder)}"] for folder in sorted(folders)]


def test_an_argument_of_a_network_of_one_s_own_is_swept(sweeping):
    own = ("model=own", "model.backbone.name=custom.net")
    assert sweeping("-m", *own, "model.backbone.width=8,16") == 0
    assert [words["model.backbone.width"] for words in sweeping.started] == ["8", "16"]
    rows = leaderboard(only_sweep())
    widths = {row["folder"]: row["model.backbone.width"] for row in rows}
    assert widths == {"width-8": "8", "width-16": "16"}


def test_several_folders_are_swept(sweeping, tmp_path):
    folders = ["a (1)", "réel", "b,c"]
    words = ",".join(f'"{folder}"' if "," in folder else folder for folder in folders)
    assert sweeping("-m", "data=real_fake_folders", f"data.root={words}") == 0
    assert [words["data.root"] for words in sweeping.started] == [*map(for_hydra, folders)]


def test_an_experiment_brings_its_own_combinations(sweeping):
    assert sweeping("-m", "experiments=resnet50_vs_effnet") == 0
    runs = {(words["model"], words["trainer.max_epochs"]) for words in sweeping.started}
    assert len(runs) == len(sweeping.started) == 8
    assert all(words["experiments"] == "resnet50_vs_effnet" for words in sweeping.started)
    assert all(words["hydra.mode"] == "RUN" for words in sweeping.started)


def test_a_pattern_over_experiments_launches_them_all(sweeping):
    assert sweeping("-m", "experiments=glob(frozen_*)") == 0
    names = {words["experiments"] for words in sweeping.started}
    assert names == {f.stem for f in (REPOSITORY / "experiments").glob("frozen_*.yaml")}


def test_a_value_that_is_given_twice_makes_one_run(sweeping, capsys):
    assert sweeping("-m", "loader.batch_size=64,64,32") == 0
    assert [words["loader.batch_size"] for words in sweeping.started] == ["64", "32"]
    said = "loader.batch_size=64,64,32 gives 64 more than once, which makes one run"
    assert capsys.readouterr().out.count(said) == 1


def test_a_data_set_that_refuses_itself_ends_the_sweep_with_its_first_run(sweeping, capsys):
    sweeping.failing, sweeping.refusal = lambda words: True, "it broke"
    assert sweeping("-m", "model=resnet18,vit_b16", "seed=0,1") == 1
    assert len(sweeping.started) == 1
    assert "3 more runs have the same data" in capsys.readouterr().out


def test_an_option_of_the_trainer_is_swept_without_a_plus(sweeping):
    assert sweeping("-m", "trainer.max_steps=5,6") == 0
    assert [words["trainer.max_steps"] for words in sweeping.started] == ["5", "6"]
    assert (only_sweep() / "max_steps-5").is_dir()


def test_a_pattern_leaves_out_what_files_share(sweeping):
    assert sweeping("-m", "augment=glob(*)") == 0
    assert [words["augment"] for words in sweeping.started] == CHOICES["augment"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiments=glob(nothing*)"], "stands for nothing.*there are .*cnn3"),
        (["seed=range(3,3)"], "stands for nothing"),
        (["optimizer.lr=interval(0,1)"], "sweep=optuna"),
        (["sweep=grid,seeds"], "several sweeps"),
    ],
)
def test_what_makes_no_sweep_is_refused(sweeping, words, message):
    import re

    answer = sweeping("-m", *words)
    assert isinstance(answer, str)
    assert re.search(message, answer)
    assert not sweeping.started


@pytest.mark.parametrize(("name", "number"), [("seeds", 5), ("grid", 9)])
def test_ready_sweeps_with_and_without_the_flag(sweeping, name, number):
    assert sweeping(f"sweep={name}") == 0
    assert len(sweeping.started) == number
    assert sweeping("-m", f"sweep={name}") == 0
    assert len(sweeping.started) == number
    assert not any("sweep" in words for words in sweeping.started)


def test_the_command_line_stands_over_a_ready_sweep(sweeping):
    assert sweeping("-m", "sweep=seeds", "seed=7,8") == 0
    assert [words["seed"] for words in sweeping.started] == ["7", "8"]


def test_a_search_goes_on_to_its_number_of_trials(sweeping):
    pytest.importorskip("optuna", reason="needs the extra sweep")
    search = ("-m", "sweep=optuna", "hydra.sweeper.seed=1")
    assert sweeping(*search, "hydra.sweeper.n_trials=3") == 0
    assert len(sweeping.started) == 3
    assert all(words["scheduler"] == "plateau" for words in sweeping.started)
    assert all(0 <= float(words["augment.strength"]) <= 2 for words in sweeping.started)
    assert sweeping(*search, "hydra.sweeper.n_trials=3") == 0
    assert len(sweeping.started) == 3
    assert sweeping(*search, "hydra.sweeper.n_trials=5") == 0
    assert len({words["optimizer.lr"] for words in sweeping.started}) == 5
    rows = leaderboard(only_sweep())
    assert len(rows) == 5
    assert float(rows[0]["value"]) == min(float(w["optimizer.lr"]) for w in sweeping.started)


def test_a_failed_trial_does_not_end_the_search_and_is_tried_again(sweeping):
    pytest.importorskip("optuna", reason="needs the extra sweep")
    search = ("-m", "sweep=optuna", "hydra.sweeper.n_trials=3")
    sweeping.failing = lambda words: len(sweeping.started) == 2
    assert sweeping(*search) == 1
    first = sweeping.started
    assert len(first) == 3
    sweeping.failing, sweeping.started = lambda words: False, []
    assert sweeping(*search) == 0
    assert [words["hydra.run.dir"] for words in sweeping.started] == [first[1]["hydra.run.dir"]]
    assert [row["status"] for row in leaderboard(only_sweep())] == ["finished"] * 3


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("interval(0,2)", "FloatDistribution(high=2.0, log=False, low=0.0, step=None)"),
        (
            "tag(log,interval(1e-4,1))",
            "FloatDistribution(high=1.0, log=True, low=0.0001, step=None)",
        ),
        ("int(interval(1,8))", "IntDistribution(high=8, log=False, low=1, step=1)"),
        ("tag(log,int(interval(1,8)))", "IntDistribution(high=8, log=True, low=1, step=1)"),
        ("range(1,4)", "IntDistribution(high=4, log=False, low=1, step=1)"),
        ("range(2,8,2)", "IntDistribution(high=8, log=False, low=2, step=2)"),
        ("range(0,1,0.5)", "FloatDistribution(high=1.0, log=False, low=0.0, step=0.5)"),
        ("choice(a,'b c',1)", "CategoricalDistribution(choices=('a', '\"b c\"', '1'))"),
        ("head_only,none", "CategoricalDistribution(choices=('head_only', 'none'))"),
        ("[1,2],null", "CategoricalDistribution(choices=('[1,2]', 'null'))"),
    ],
)
def test_hydra_s_grammar_as_what_optuna_draws_from(text, drawn):
    pytest.importorskip("optuna", reason="needs the extra sweep")
    from hydra_plugins.faceproof.sweepers import distribution

    override = OverridesParser.create().parse_override(f"key={text}")
    assert str(distribution(override, None)) == drawn


def test_an_interval_without_room_is_refused():
    pytest.importorskip("optuna", reason="needs the extra sweep")
    from hydra_plugins.faceproof.sweepers import distribution

    override = OverridesParser.create().parse_override("key=tag(log,interval(0,1))")
    with pytest.raises(FaceproofError, match=r"interval\(0,1\)\) cannot be searched"):
        distribution(override, None)


def test_without_the_extra_a_search_says_what_to_install(sweeping, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'faceproof[sweep]'" in str(sweeping("-m", "sweep=optuna"))


@pytest.fixture
def left_out(monkeypatch):
    """Pretend to train and judge without each source or generator, and list what would be."""
    calls = []

    def pretend(folder, runs, swept, program, config):
        calls.append((runs, list(swept), config))
        return all(not program.check(run.overrides) for run in runs)

    monkeypatch.setattr("faceproof.workflows.leave_one_out.leave_one_out", pretend)
    return calls


def test_each_data_set_of_a_combined_one_is_left_out_in_turn(sweeping, left_out, world):
    words = ("sweep=leave_one_out", "data=[ciplab,deepfake_and_real,real_vs_fake_140k]", "seed=1,2",
             "model=resnet18")  # fmt: skip
    assert sweeping(*words) == 0
    ((runs, swept, config),) = left_out
    names = ["ciplab", "deepfake_and_real", "real_vs_fake_140k"]
    assert [run.name for run in runs] == names * 2
    assert (swept, config.over) == (["seed"], "source")
    for number, run in enumerate(runs):
        assert f"leave_out.source={run.name}" in run.overrides
        assert f"seed={1 + number // 3}" in run.overrides
        assert "model=resnet18" in run.overrides


def test_each_generator_is_left_out_in_turn_whatever_its_name(sweeping, left_out, tmp_path):
    table = tmp_path / "my table.csv"
    names = ["0 (a, b)", "réel's", "warp"]
    rows = [
        f'/{place}{k}.jpg,{"fake" if name else "real"},"{name}"'
        for place, name in enumerate(("", *names))
        for k in range(3)
    ]
    table.write_text("\n".join(["path,label,generator", *rows]))
    assert sweeping(
        "sweep=leave_one_out", "hydra.sweeper.over=generator", "data=table", f"data.file={table}"
    ) == 0  # fmt: skip
    ((runs, _, _),) = left_out
    assert [run.name for run in runs] == names
    parser = OverridesParser.create()
    found = [parser.parse_override(run.overrides[-1]) for run in runs]
    assert [one.value() for one in found] == names
    assert {one.key_or_group for one in found} == {"leave_out.generator"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=ciplab"], "data set ciplab has 1 source (ciplab), and to leave one out takes two"),
        (["hydra.sweeper.over=split"], "hydra.sweeper.over = 'split' must be one of source, gener"),
        (["leave_out.source=ciplab"], "leave_out.source is what the sweep goes over"),
        (["compare=true"], "compare = true compares runs on the same images"),
        (["modl=resnet18"], "there is no setting modl; did you mean model?"),
        (["data.root=/nowhere", "data=ciplab"], "/nowhere"),
    ],
)
def test_what_cannot_be_left_out_in_turn_is_refused(sweeping, left_out, world, words, message):
    answer = sweeping("sweep=leave_one_out", *words)
    assert message in answer
    assert "Traceback" not in answer
    assert not left_out


@pytest.mark.long
def test_a_crossval_that_is_killed_goes_on_and_runs_nothing_twice(tmp_path):
    """With real processes: killed in the second training."""
    file = write_sources(tmp_path / "world", "ab")
    command = [sys.executable, "-P", "-m", "faceproof", "crossval", *TINY, f"data.file={file}",
               "hydra.sweep.dir=sweep"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until((tmp_path / "sweep/source-b/config.yaml").exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "source-a: finished before" in done.stdout
    assert "reaches a mean ROC-AUC of" in done.stdout
    assert (tmp_path / "sweep/leave_one_source_out.html").is_file()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.stdout.count("finished before") == 2
    assert "is evaluated on" not in again.stdout
