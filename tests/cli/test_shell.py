"""From a dataclass of settings to a command: defaults, help, errors, and how fast it starts."""

import subprocess
import sys
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import ModuleType

import pytest
from cyclopts import CycloptsError

from faceproof.cli.main import COMMANDS, main, make_parser, run
from faceproof.cli.shell import shell
from faceproof.errors import FaceproofError


@dataclass(frozen=True)
class Settings:
    """Count things.

    Slowly.

    Attributes:
        things: what is counted.
        number: how many,
            on two lines.
        ratio: a share.
        fast: do it fast.
        shown: show it.
        allow: names.
    """

    things: tuple[str, ...]
    _: KW_ONLY
    number: int = 3
    ratio: float = 50e6
    fast: bool = False
    shown: bool = True
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.number < 0:
            raise FaceproofError(f"--number {self.number} must be a count from 0 on")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Return the settings that the command `count` was called with."""
    found: list[Settings] = []

    def command(config: Settings) -> int:
        found.append(config)
        return 3

    command.__module__ = "faceproof.cli.count"
    module = ModuleType(command.__module__)
    module.command = shell(example="faceproof count a b")(command)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "count", "count things")
    return found


def test_settings_come_from_the_words_and_defaults_from_the_dataclass(seen: list[Settings]) -> None:
    assert run(["count", "a", "--allow", "x", "b", "--allow=y", "--fast", "--no-shown"]) == 3
    assert run(["count", "a"]) == 3
    assert seen == [
        Settings(("a", "b"), fast=True, shown=False, allow=("x", "y")),
        Settings(("a",)),
    ]


def test_help_is_the_docstring_and_fits_eighty_columns(
    seen: list[Settings], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["count", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Count things." in text
    assert "  --number INT          how many, on two lines (default: 3)" in text
    assert "  --ratio FLOAT         a share (default: 50,000,000)" in text
    assert "  --fast                do it fast.\n" in text
    assert "  --shown, --no-shown   show it (default: True)" in text
    assert "example: faceproof count a b" in text
    assert "Attributes" not in text
    assert not seen


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["count"], "requires an argument"),
        (["count", "a", "--nubmer=2"], "Did you mean --number?"),
        (["count", "a", "--number=x"], 'unable to convert "x" into int'),
        (["count", "a", "--number=1.5"], 'unable to convert "1.5" into int'),
        (["predikt", "a"], 'Did you mean "predict"?'),
    ],
)
def test_what_is_misspelt_gets_a_hint(seen: list[Settings], words: list[str], message: str) -> None:
    with pytest.raises(CycloptsError) as caught:
        run(words)
    assert message in str(caught.value)
    assert main(words) == 2
    assert not seen


def test_what_the_dataclass_refuses_is_said_in_its_words(seen: list[Settings]) -> None:
    with pytest.raises(FaceproofError, match=r"^--number -1 must be a count from 0 on$"):
        run(["count", "a", "--number=-1"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_that_fits(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if "`" in line]  # names of the code mean nothing here
    assert lines[0].startswith(f"usage: faceproof {name}")
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(f"example: faceproof {name}") for line in lines)


def test_words_can_be_completed_in_a_shell(tmp_path: Path) -> None:
    script = make_parser().generate_completion(shell="bash")
    assert "predict" in script


def test_help_is_there_before_anything_heavy_is_loaded() -> None:
    code = (
        "import sys; from faceproof.cli.main import main; main(sys.argv[1:]); "
        "heavy = {'torch', 'numpy', 'pyarrow', 'hydra', 'matplotlib', 'PIL'} & set(sys.modules); "
        "sys.exit(f'{heavy} were loaded' if heavy else 0)"
    )
    for words in ([], ["predict"], ["fetch"], ["serve"], ["compare"], ["explain"], ["export"]):
        subprocess.run(
            [sys.executable, "-c", code, *words, "--help"], check=True, stdout=subprocess.DEVNULL
        )
