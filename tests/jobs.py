"""Runs of train.py and evaluate.py inside the test process, as Hydra would start them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from faceproof import app
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder

REPOSITORY = Path(__file__).parents[1]
CONF = REPOSITORY / "conf"
CHOICES = {
    group.name: sorted(file.stem for file in group.glob("[!_]*.yaml"))
    for group in CONF.iterdir()
    if group.is_dir()
}


def compose_job(name: str, folder: Path, overrides: tuple[str, ...]) -> DictConfig:
    """Compose a configuration and tell Hydra's global state of it, as its main function does."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = app.command_line([*overrides, f"hydra.run.dir={folder}"])
        config = compose(name, words, return_hydra_config=True)
    with open_dict(config):
        config.hydra.runtime.output_dir = str(folder)
        config.hydra.mode = "RUN"
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


def train(folder: Path, *overrides: str) -> RunFolder:
    """Run train.py into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    app.train(compose_job("train", folder, overrides))
    return RunFolder(folder)


def evaluate(folder: Path, *overrides: str) -> Path:
    """Run evaluate.py on a run's folder and return the evaluation's; its plots are empty."""
    with empty_plots():
        return app.evaluate(compose_job("evaluate", Path.cwd(), (f"run={folder}", *overrides)))


@contextmanager
def empty_plots() -> Iterator[None]:
    """Draw a report's plots empty: they take most of the time, and show what the numbers say."""
    from matplotlib.figure import Figure  # not above: many tests need no report

    from faceproof.reports import report

    template = (Path(report.__file__).parent / "templates/report.html.j2").read_text("utf-8")
    plots = dict.fromkeys(re.findall(r'plot\("(\w+)"', template), Figure(figsize=(1, 1)))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(report, "draw", lambda *_: plots)
        yield


@contextmanager
def sweeps_here() -> Iterator[list[list[str]]]:
    """Let a sweep train and evaluate inside this process; yield the words of what it did.

    Hydra's own state, in whose main function the sweep may be, is put aside for each run.
    """
    done: list[list[str]] = []

    def here(command: list[str], log: Path, lock: object, watch: object = None) -> str:
        what, *words = command[command.index("faceproof") + 1 :]
        done.append([what, *words])
        log.touch()
        parts = (word.partition("=") for word in words)
        given = {key: value.strip("\"'") for key, _, value in parts}  # quoted for Hydra
        kept = [word for word in words if not word.startswith(("hydra.", "run=", "--config-name"))]
        kept = [word for word in kept if word not in ("train", "--config-name")]
        outer = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            if what == "train":
                train(Path(given["hydra.run.dir"]), *kept)
            else:
                evaluate(Path(given["run"]), "loader.num_workers=0", *kept)
        except FaceproofError as error:
            return str(error)
        finally:
            GlobalHydra.instance().hydra = outer
        return ""

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("faceproof.workflows.sweep.run_process", here)
        yield done
