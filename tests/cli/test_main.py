"""The faceproof command: help worth reading, exit codes, and one message instead of a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from faceproof import __version__
from faceproof.app import config_root
from faceproof.cli.main import main
from faceproof.data import fetch as fetching
from faceproof.data.fetch import ORIGINS
from faceproof.data.table import table_from_columns
from faceproof.evaluation.evaluation_result import EvaluationContext, evaluate
from faceproof.evaluation.operating_point import DEFAULT
from faceproof.evaluation.predictions import predictions_table
from faceproof.io.run_folder import RunFolder, write_epochs
from faceproof.reports.report import write_report
from faceproof.task import TASKS


def test_help_names_the_commands_and_where_training_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "get the original of a ready data set" in text
    assert "train a detector" in text


def test_help_of_fetch_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in ORIGINS)
    assert "FACEPROOF_DATA" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"faceproof {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fetch"], ["nothing"], ["fetch", "ciplab", "--rot=x"]])
def test_what_is_no_command_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage: faceproof" in capsys.readouterr().err


def test_fetch_says_where_the_set_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetching, "fetch", lambda name, root: root / name)
    monkeypatch.setenv("FACEPROOF_DATA", str(tmp_path))
    assert main(["fetch", "ciplab"]) == 0
    assert capsys.readouterr().out == f"ciplab is in {tmp_path}/ciplab\n"
    monkeypatch.delenv("FACEPROOF_DATA")
    assert main(["fetch", "ciplab"]) == 0
    assert capsys.readouterr().out == "ciplab is in data/ciplab\n"


def test_a_refusal_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from faceproof.cli.main import main; sys.exit(main())",
    ]
    done = subprocess.run(
        [*command, "fetch", "celebdf", "--root", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("faceproof: celebdf is given out by its authors on request")
    assert "Traceback" not in done.stderr


def test_an_interrupted_command_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(name: str, root: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "fetch", interrupt)
    assert main(["fetch", "ciplab"]) == 130
    assert capsys.readouterr() == ("", "faceproof: interrupted\n")


def test_audit_writes_its_page_and_ends_with_its_verdict(
    small_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit", "data=face_or_not", f"data.root={small_faces}", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "face_or_not: 32 images: clear" in capsys.readouterr().out
    image = small_faces / "train" / "faces" / "0.jpg"
    (small_faces / "test" / "faces" / "copy.jpg").write_bytes(image.read_bytes())
    assert main(arguments) == 1
    assert "LEAK: identical files across splits (1): " in capsys.readouterr().out
    assert "copy.jpg" in (tmp_path / "audit.html").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data=nothing"], "there is no data=nothing; there are celebdf"),
        (["model=cnn3"], "is no setting of a data set"),
        (["data=face_or_not", "data.root=nowhere"], "there is no folder"),
    ],
)
def test_an_audit_that_cannot_be_made_ends_with_2(
    settings: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *settings]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """Return a folder of two runs that scored the same images; nothing was trained."""
    rng = np.random.default_rng(0)
    fake = np.arange(60) % 2
    rows = table_from_columns(
        {"path": [f"{n}.jpg" for n in range(60)], "label": [("real", "fake")[n] for n in fake]}
    )
    for seed in (0, 1):
        run = RunFolder(tmp_path / "sweep" / str(seed))
        run.evaluations.mkdir(parents=True)
        with initialize_config_dir(str(config_root() / "conf"), version_base="1.3"):
            config = compose("train", ["model=face_cnn", "data=ciplab", f"seed={seed}"])
        OmegaConf.resolve(config)
        run.config.write_text(OmegaConf.to_yaml(config))
        run.update_record(model="face_cnn", data="ciplab", choices={"model": "face_cnn"})
        run.write_operating_point(DEFAULT.to_json())
        write_epochs(run.metrics, [{"epoch": 0, "val/loss": 0.5, "val/roc_auc": 0.8}])
        logits = 3.0 * fake - 1.5 + rng.normal(0, 1, 60)
        context = EvaluationContext(
            "face_cnn on ciplab", TASKS["deepfake"], str(run.path), "face_cnn", "ciplab", "test",
            DEFAULT.threshold, DEFAULT.origin, operating_point=DEFAULT, num_resamples=100,
            detector=run.detector_digest,
        )  # fmt: skip
        predictions = predictions_table(rows, logits, 1 / (1 + np.exp(-logits)))
        found = evaluate(predictions, context)
        write_report(run.evaluations / "ciplab-test", predictions, found)
    return tmp_path / "sweep"


def test_compare_sets_the_runs_of_a_sweep_against_each_other(
    two_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(two_runs), "--out", str(out), "--no-timing"]) == 0
    printed = capsys.readouterr().out
    assert "2 runs on ciplab" in printed
    assert "2 runs on ciplab, over seeds" in printed
    assert "The runs differ only in their seed" in printed
    assert f"page: {out / 'comparison.html'}" in printed
    found = json.loads((out / "comparison.json").read_text())
    names = [row["name"] for row in found["runs"]]
    assert {row["parameters"] for row in found["runs"]} == {1_245_473}
    assert {row["multiply_adds"] for row in found["runs"]} == {56_254_592}
    assert found["device"] is None
    (configuration,) = found["configurations"]
    assert (configuration["name"], configuration["runs"]) == ("face_cnn", names)


def test_compare_refuses_with_the_reason_and_the_command(
    two_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", str(two_runs / "0"), str(two_runs / "1"), "--out", str(tmp_path / "o")]
    assert main([*arguments, "--evaluation", "hard"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("faceproof: 2 of 2 runs have no evaluation hard")
    assert f"faceproof evaluate run={two_runs / '0'} name=hard" in error
    assert main(["compare", str(two_runs / "0")]) == 2
    assert "needs two runs or more" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_help_needs_neither_torch_nor_hydra() -> None:
    code = (
        "import sys; from faceproof.cli.main import main\n"
        "main(['compare', '--help'])\n"
        "print(sorted({'torch', 'hydra', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the folder of a sweep" in " ".join(done.stdout.split())
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "photos"], "--detector needs a value: the artifact's folder, made by"),
        (["explain"], "SUBJECT needs a value: a run folder that faceproof train has written"),
        (["export"], "--to needs a value: the artifact's folder"),
    ],
)
def test_what_is_missing_is_named_as_in_the_help(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"faceproof: {said}")
    assert f"usage: faceproof {words[0]} --help" in shown
