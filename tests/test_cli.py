"""The faceproof command: help worth reading, exit codes, and one message instead of a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from faceproof import __version__, cli
from faceproof.cli import main
from faceproof.data.fetch import ORIGINS


def test_help_names_the_commands_and_where_training_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "get the original of a ready data set" in text
    assert "Training and evaluation are train.py and evaluate.py" in text


def test_help_of_fetch_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fetch", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in ORIGINS)
    assert "FACEPROOF_DATA" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"faceproof {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fetch"], ["nothing"], ["fetch", "ciplab", "--rot=x"]])
def test_what_is_no_command_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: faceproof" in capsys.readouterr().err


def test_fetch_says_where_the_set_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "fetch", lambda name, root: root / name)
    monkeypatch.setenv("FACEPROOF_DATA", str(tmp_path))
    assert main(["fetch", "ciplab"]) == 0
    assert capsys.readouterr().out == f"ciplab is in {tmp_path}/ciplab\n"
    monkeypatch.delenv("FACEPROOF_DATA")
    assert main(["fetch", "ciplab"]) == 0
    assert capsys.readouterr().out == "ciplab is in data/ciplab\n"


def test_a_refusal_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; from faceproof.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "fetch", "celebdf", "--root", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("faceproof: celebdf is given out by its authors on request")
    assert "Traceback" not in done.stderr


def test_audit_writes_its_page_and_ends_with_its_verdict(
    small_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit", "data=face_or_not", f"data.root={small_faces}", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "face_or_not: 32 pictures: clear" in capsys.readouterr().out
    picture = small_faces / "train" / "faces" / "0.jpg"
    (small_faces / "test" / "faces" / "copy.jpg").write_bytes(picture.read_bytes())
    assert main(arguments) == 1
    assert "LEAK: duplicates equal across splits, 1" in capsys.readouterr().out
    assert "copy.jpg" in (tmp_path / "audit.html").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data=nothing"], "Could not find 'data/nothing'"),
        (["model=cnn3"], "is no setting of a data set"),
        (["data=face_or_not", "data.root=nowhere"], "there is no folder"),
    ],
)
def test_an_audit_that_cannot_be_made_ends_with_2(
    settings: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *settings]) == 2
    assert message in capsys.readouterr().err
