"""`faceproof export` on the command line."""

import pytest

from faceproof.cli.main import run
from faceproof.errors import FaceproofError
from tests.small_runs import write_run


def command(*words):
    return run([str(word) for word in words])


def test_export_wants_a_run_or_two(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    with pytest.raises(FaceproofError, match="either RUN, or both --gate and --detector"):
        command("export", run, "--gate", run, "--to", tmp_path / "x")
    with pytest.raises(FaceproofError, match="either RUN, or both"):
        command("export", "--gate", run, "--to", tmp_path / "x")
    assert command("export", run, "--to", tmp_path / "artifact") == 0
    folder = tmp_path / "artifact"
    assert capsys.readouterr().out.splitlines() == [
        f"detector artifact: {folder}",
        "next:",
        f"  faceproof predict IMAGES --detector {folder} --out verdicts.csv",
        f"  faceproof serve {folder}",
    ]
    gate = write_run(tmp_path / "gate", "face")
    assert command("export", "--gate", gate, "--detector", run, "--to", tmp_path / "both") == 0


def test_latest_is_exported_and_allowed_code_stays_allowed_in_what_to_run_next(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs/a")
    assert command("export", "latest", "--to", "artifact", "--allow", "my_networks") == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "  faceproof predict IMAGES --detector artifact --out verdicts.csv --allow my_networks",
        "  faceproof serve artifact --allow my_networks",
    ]
