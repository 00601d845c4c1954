"""What commands write where nobody says is ignored by git."""

import dataclasses
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from faceproof.cli.main import COMMANDS
from tests.jobs import REPOSITORY


def default_folders():
    """Yield the command and each folder that it writes to, or reads, by default."""
    for name in COMMANDS:
        for value in vars(import_module(f"faceproof.cli.{name}")).values():
            if not (dataclasses.is_dataclass(value) and value.__name__.endswith("Config")):
                continue
            for field in dataclasses.fields(value):
                made = field.default_factory
                default = field.default if made is dataclasses.MISSING else made()
                if isinstance(default, Path):
                    yield name, default
    hydra = yaml.safe_load((REPOSITORY / "conf/train.yaml").read_text())["hydra"]
    for kind in ("run", "sweep"):
        yield "train.py", Path(re.search(r"(\w+)/", hydra[kind]["dir"])[1])


def test_every_default_output_is_ignored(monkeypatch):
    monkeypatch.delenv("FACEPROOF_DATA", raising=False)
    found = dict.fromkeys(default_folders())
    assert {("audit", Path("audit")), ("train.py", Path("runs")), ("fetch", Path("data"))} <= set(
        found
    )
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    for command, folder in found:
        assert not folder.is_absolute(), command
        assert f"/{folder.parts[0]}/" in ignored, (command, folder)


@pytest.mark.parametrize("command", ["audit", "compare", "explore", "spectra"])
def test_the_commands_that_write_without_being_told_where_are_looked_at(command):
    assert command in {name for name, _ in default_folders()}
