"""A shell completes commands, options, groups, choices, settings and runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faceproof.cli.main import COMMANDS, PROGRAMS, complete, main
from tests.jobs import CHOICES

Ask = Callable[[str, str], list[str]]


def test_commands_and_their_options() -> None:
    assert {*PROGRAMS, *COMMANDS} <= set(complete([""]))
    assert complete(["ex"]) == ["explain", "explore", "export"]
    assert complete(["predict", "--det"]) == ["--detector"]
    assert complete(["predict", "photos", ""]) == []  # the shell's own: files


def test_groups_settings_and_choices() -> None:
    assert complete(["train", "opt"]) == ["optimizer.", "optimizer="]
    assert "optimizer.lr=" in complete(["train", "optimizer."])
    assert complete(["train", "model=vit"]) == ["model=vit_b16"]
    assert complete(["sweep", "freeze=none,last"]) == ["freeze=none,last_2"]
    assert complete(["train", "data="]) == [f"data={name}" for name in CHOICES["data"]]
    assert complete(["audit", "data=rea"]) == ["data=real_fake_folders", "data=real_vs_fake_140k"]
    assert complete(["evaluate", "rob"]) == ["robustness="]


def test_what_lies_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("conf/model/mine.yaml", "runs/a/config.yaml"):
        Path(file).parent.mkdir(parents=True)
        Path(file).touch()
    assert complete(["train", "model=mi"]) == ["model=mine"]
    assert complete(["evaluate", "run="]) == ["run=latest", "run=runs/a"]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Return what has a shell complete a line by its script."""
    program = tmp_path / "bin/faceproof"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m faceproof "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])

    def run(shell: str, code: str) -> list[str]:
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        done = subprocess.run(
            [shell, "-c", code], env=os.environ | {"PATH": path, "HOME": str(tmp_path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert not done.stderr
        return done.stdout.split()

    return run


# As each shell calls its script; zsh's own functions are there only where somebody types.
SHELLS = {
    "bash": """
source <(faceproof completion bash)
COMP_LINE='TYPED'; COMP_POINT=${#COMP_LINE}
_faceproof; echo "${COMPREPLY[@]}"
""",
    "zsh": """
compdef() { }; compadd() { print -l -- "$@" }; _files() { print FILES }
source <(faceproof completion zsh)
words=(TYPED); CURRENT=$#words; _faceproof
""",
    "fish": "faceproof completion fish | source; complete -C 'TYPED'",
}


@pytest.mark.parametrize(
    ("line", "found"),
    [("faceproof expl", {"explain", "explore"}), ("faceproof train model=vit", {"model=vit_b16"}),
     ("faceproof predict --det", {"--detector"})],
)  # fmt: skip
@pytest.mark.parametrize("shell", SHELLS)
def test_the_shells_complete(ask: Ask, shell: str, line: str, found: set[str]) -> None:
    words = {word for word in ask(shell, SHELLS[shell].replace("TYPED", line)) if len(word) > 2}
    if shell == "bash":  # which completes what stands behind the =
        found = {word.rpartition("=")[2] for word in found}
    assert words == found


@pytest.mark.parametrize(
    ("line", "found"),
    [("faceproof train model=", None), ("faceproof train data.root=in", "data.root=inside/"),
     ("faceproof predict in", "inside/")],
)  # fmt: skip
def test_fish_offers_files_where_faceproof_has_no_words(
    ask: Ask, line: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("inside").mkdir()
    words = set(ask("fish", SHELLS["fish"].replace("TYPED", line)))
    if found is None:
        assert words == {f"model={name}" for name in CHOICES["model"]}
    else:
        assert found in words


def test_no_other_shell_has_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err


def test_the_shells_are_named_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "--help"]) == 0
    assert "bash, zsh or fish" in capsys.readouterr().out
