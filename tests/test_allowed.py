"""A configuration names parts of faceproof's and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import ConfigCompositionException

from faceproof.allowed import PARTS, VARIABLE, check_hydra, check_targets
from faceproof.errors import FaceproofError
from hydra_plugins.faceproof.guard import guard_hydra
from tests.jobs import CONF, REPOSITORY, train

HOSTILE = (
    "os.system", "builtins.eval", "subprocess.Popen", "faceproof.workflows.sweep.run_process",
    "faceproof.io.run_folder.write_text", "faceproof.data.demo.make.os.system", "torch.load", "torch.hub.load",
    "torch.optim.lr_scheduler.torch.load", "timm.create_model", "torch.optim.Adam.mro", 3, None,
)  # fmt: skip


@pytest.mark.parametrize("target", HOSTILE)
def test_what_could_do_harm_is_refused_however_deep(target):
    node = {"stages": [{"a": 1}, {"inner": {"_target_": target}}]}
    with pytest.raises(FaceproofError, match=r"at freeze\.stages\.1\.inner\._target_"):
        check_targets(node, "freeze.")


def test_every_configuration_of_ours_is_allowed():
    files = [*CONF.glob("*/*.yaml"), *(REPOSITORY / "experiments").glob("*.yaml")]
    assert len(files) > 40
    for file in files:
        if file.parent.name not in ("sweep", "hydra"):  # Hydra's own parts, which we do not build
            check_targets(yaml.safe_load(file.read_text()))


def test_every_allowed_part_is_there():
    from hydra.utils import get_object

    assert all(callable(get_object(name)) for name in PARTS)


def test_ones_own_parts_are_allowed_by_the_environment(monkeypatch):
    node = {"_target_": "mine.backbones.small"}
    for words in ("mine.", "other.thing, mine.backbones.small"):
        monkeypatch.setenv(VARIABLE, words)
        check_targets(node)
    for words in ("min", "mine.backbones", "", "mine.backbones.smaller"):
        monkeypatch.setenv(VARIABLE, words)
        with pytest.raises(FaceproofError, match=VARIABLE):
            check_targets(node)


def test_a_command_line_cannot_call_what_it_likes(small_faces, tmp_path):
    witness = tmp_path / "witness"
    words = ("data=face_or_not", f"data.root={small_faces}", "trainer=smoke")
    call = ("freeze._target_=os.system", f"+freeze.command='touch {witness}'")
    with pytest.raises(FaceproofError, match=r"names 'os\.system'"):
        train(tmp_path / "run", *words, *call)
    assert not Path(witness).exists()


FILE = {"class": "logging.FileHandler", "filename": "x"}
TO_HYDRA = [
    ({"callbacks": {"x": {"_target_": "logging.FileHandler"}}}, r"hydra\.callbacks\.x\._target_"),
    (
        {"callbacks": {"x": {"_target_": "faceproof.io.run_folder.write_text"}}},
        "no part of faceproof's",
    ),
    ({"sweeper": {"params": {"seed": {"_target_": "os.getcwd"}}}}, r"sweeper\.params\.seed"),
    ({"sweeper": {"sampler": {"_target_": "optuna.samplers.os.system"}}}, "sampler"),
    ({"sweeper": {"custom_search_space": "webbrowser.open"}}, "sweeper.custom_search_space"),
    ({"launcher": {"setup": [{"_target_": "os.getcwd"}]}}, r"launcher\.setup\.0"),
    ({"job_logging": {"handlers": {"x": {"()": "os.getcwd"}}}}, r"job_logging\.handlers\.x\.\(\)"),
    ({"job_logging": {"handlers": {"x": {"class": "mine.H"}}}}, "VARIABLE=mine.H"),
    ({"job_logging": {"handlers": {"x": {"class": ["mine.H"]}}}}, "a log is made of"),
    ({"job_logging": {"handlers": {"x": {**FILE, ".": {"a": 1}}}}}, "a log is made of"),
    ({"hydra_logging": {"formatters": {"x": {"()": "os.getcwd"}}}}, "hydra_logging"),
    ({"hydra_logging": {"filters": [{"x": "ext://antigravity"}]}}, r"filters\.0\.x"),
    ({"env_set": {VARIABLE: "os."}}, f"may not set {VARIABLE}"),
    ({"env_set": {"HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE": "os.system"}}, "may not set HYDRA"),
    ({"env_set": {"PYTHONPATH": "."}}, "may not set PYTHONPATH"),
]


@pytest.mark.parametrize(("hydra", "message"), TO_HYDRA)
def test_what_hydra_would_call_is_refused(hydra, message):
    with pytest.raises(FaceproofError, match=message.replace("VARIABLE", VARIABLE)):
        check_hydra(hydra)


def test_what_hydra_calls_of_ones_own_is_allowed_by_the_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, "mine.")
    handlers = {"a": {"class": "mine.Handler"}, "b": {"()": "mine.make"}, "c": FILE}
    check_hydra(
        {
            "callbacks": {"x": {"_target_": "mine.Callback"}},
            "job_logging": {"handlers": handlers, "version": 1},
            "sweeper": {"_target_": "x", "sampler": {"_target_": "optuna.samplers.TPESampler"}},
            "env_set": {"OMP_NUM_THREADS": "1"},
            "hydra_logging": None,
        }
    )


@pytest.fixture
def _guarded(monkeypatch):
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", ConfigLoaderImpl.load_configuration)
    guard_hydra()


PARTS_OF_HYDRA = sorted(CONF.glob("hydra/*/*.yaml"))


@pytest.mark.usefixtures("_guarded")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train", []),
        ("evaluate", ["run=x"]),
        ("train", ["hydra/job_logging=disabled", "hydra/hydra_logging=none"]),
        ("train", ["hydra/sweeper=basic", "hydra/launcher=basic"]),
        ("train", ["hydra.job_logging.handlers.file.filename=${hydra:runtime.output_dir}/a.log"]),
        ("train", ["+hydra.job.env_set.CUDA_VISIBLE_DEVICES=${hydra:job.num}"]),
        *(("train", [f"sweep={file.stem}"]) for file in sorted(CONF.glob("sweep/*.yaml"))),
        *(
            ("train", [f"hydra/{file.parent.name}={file.stem}", "trainer=cpu"])
            for file in PARTS_OF_HYDRA
            if file.stem != "slurm"  # wants its extra, and a number of devices
        ),
    ],
)
def test_hydra_s_own_parts_and_ours_are_allowed(name, words):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose(name, words)


@pytest.mark.usefixtures("_guarded")
def test_what_an_interpolation_stands_for_is_looked_at():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for words in (
            ["+evil={_target_:os.getcwd}", "+hydra.callbacks.x=${evil}"],
            ["+evil={x:{class:mine.Handler}}", "hydra.job_logging.handlers=${evil}"],
        ):
            with pytest.raises(ConfigCompositionException, match="error: the configuration names"):
                compose("train", words)


@pytest.mark.parametrize("words", [("train.py", "experiments=evil"), ("evaluate.py", "data=evil")])
def test_an_experiment_file_cannot_have_hydra_call_what_it_likes(words, tmp_path):
    witness = tmp_path / "witness"
    for group in ("experiments", "data"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "evil.yaml").write_text(
            "# @package _global_\nhydra: {callbacks: {x: {_target_: logging.FileHandler, "
            f"filename: {witness}}}}}}}\n"
        )
    program, word = words
    command = [sys.executable, str(REPOSITORY / program), "--config-dir", str(tmp_path), word]
    ended = subprocess.run(
        [*command, *(["run=x"] if program == "evaluate.py" else [])],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the configuration names 'logging.FileHandler' at")
    assert "Traceback" not in ended.stderr
    assert not witness.exists()
