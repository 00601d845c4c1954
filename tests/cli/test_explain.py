"""The explaining commands on the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from faceproof.cli.main import main
from faceproof.workflows import explain as workflow

NAMES = ("audit", "explain", "explore", "features", "spectra")


@pytest.mark.parametrize("seed", ["-1", str(2**32), "1.5", "x"])
@pytest.mark.parametrize("name", ["explain", "features"])
def test_a_seed_that_is_none_is_refused_on_the_command_line(name, seed, capsys):
    assert main([name, "runs/x", f"--seed={seed}"]) == 2
    assert seed in capsys.readouterr().err


def test_methods_are_separated_by_commas_and_sanity_can_be_switched(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("runs/x").mkdir(parents=True)
    seen = []
    monkeypatch.setattr("faceproof.cli.explain.explain", seen.append)
    assert main(["explain", "runs/x", "a.jpg", "--methods", "cam,occlusion", "--sanity"]) == 0
    assert main(["explain", "runs/x", "--methods=cam", "--no-sanity"]) == 0
    first, second = seen
    assert (first.maps().methods, first.images, first.sanity) == (
        ("cam", "occlusion"),
        ("a.jpg",),
        True,
    )
    assert (second.maps().methods, second.images, second.sanity) == (("cam",), (), False)
    assert workflow.ExplainConfig(first.subject).sanity is None


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_are_known_without_loading_a_library(name):
    program = (
        f"import sys, faceproof.cli.{name}; "
        "heavy = ('torch', 'matplotlib', 'sklearn', 'numpy', 'hydra'); "
        "sys.exit(any(name in sys.modules for name in heavy))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", ["explain", "features"])
def test_latest_is_the_newest_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/best.ckpt").touch()
    seen = []
    monkeypatch.setattr(f"faceproof.cli.{name}.{name}", seen.append)
    assert main([name, "latest"]) == 0
    assert seen[0].subject == Path("runs/x")
