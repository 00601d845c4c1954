"""`faceproof explain` and `faceproof features` on the command line."""

import argparse
import subprocess
import sys

import pytest

from faceproof.cli.explain import add_commands


def command(*words):
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args([str(word) for word in words])
    return arguments.run(arguments)


@pytest.mark.parametrize("seed", ["-1", str(2**32), "1.5", "x"])
@pytest.mark.parametrize("name", ["explain", "features"])
def test_a_seed_that_is_none_is_refused_on_the_command_line(name, seed, capsys):
    with pytest.raises(SystemExit):
        command(name, "runs/x", f"--seed={seed}")
    assert f"'{seed}' is no seed; give a number from 0 to 4294967295" in capsys.readouterr().err


def test_the_commands_are_known_without_loading_torch():
    program = (
        "import argparse, sys; from faceproof.cli.explain import add_commands; "
        "add_commands(argparse.ArgumentParser().add_subparsers()); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
