"""Results on disk: written in parts, continued after a kill, joined at the end."""

import errno
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.inference import output_parts
from tests.workflows.test_predict import read


def begun(out, path="a", **changes):
    rows = output_parts.Results(out, {"detector": "x", "backend": "torch"} | changes)
    rows.add([output_parts.Row(path)])
    rows.flush()
    return rows


def test_two_detectors_are_never_mixed(tmp_path):
    begun(tmp_path / "out.csv").close()
    with pytest.raises(FaceproofError, match="was started with another detector or backend"):
        begun(tmp_path / "out.csv", detector="y")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_parts_are_joined_in_their_order(tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    for name in ("a", "b", "c"):
        begun(out, path=name).close()
    last = begun(out, path="d")
    assert [row.path for row in last.rows()] == ["a", "b", "c", "d"]
    last.finish()
    assert [row["path"] for row in read(out)] == ["a", "b", "c", "d"]
    assert [file.name for file in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_output_is_gone_on_with_whatever_its_names_hold(tmp_path, suffix):
    odd = ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c", "\n", '", "']
    out = tmp_path / f"out{suffix}"
    for name in odd:
        begun(out, path=f"a{name}b.jpg").close()
    last = begun(out, path="z")
    assert [row.path for row in last.rows()] == [*(f"a{name}b.jpg" for name in odd), "z"]
    last.close()


def test_parts_stand_until_the_whole_has_reached_the_disk(tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    last = begun(out)

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(FaceproofError, match="the disk is full"):
            last.finish()
    assert not out.exists()
    assert [row.path for row in last.rows()] == ["a"]
    last.finish()
    assert [row["path"] for row in read(out)] == ["a"]


def test_two_commands_do_not_write_one_file(tmp_path):
    first = begun(tmp_path / "out.csv")
    code = (
        "import sys; from pathlib import Path; "
        "from faceproof.inference.output_parts import Results; "
        "Results(Path(sys.argv[1]), {'detector': 'x', 'backend': 'torch'})"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "out.csv")]
    second = subprocess.run(words, capture_output=True, text=True)
    assert "another command is writing" in second.stderr
    first.close()
    subprocess.run(words, check=True)


def test_rows_are_written_when_time_has_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(output_parts, "SECONDS_PER_PART", 0.0)
    rows = begun(tmp_path / "out.csv")
    rows.add([output_parts.Row("b, with\na line")])
    assert len(rows.parts()) == 2
    assert [row.path for row in rows.rows()] == ["a", "b, with\na line"]
    rows.close()


def test_a_path_is_seen_in_either_form_of_its_accents(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "réel/é.jpg") for form in ("NFC", "NFD"))
    seen = output_parts.Seen()
    assert [seen.add(path) for path in (composed, decomposed, "a.jpg", "a.jpg")] == [
        True, False, True, False,
    ]  # fmt: skip
    both = [str(tmp_path / unicodedata.normalize(form, "é.jpg")) for form in ("NFC", "NFD")]
    for path in both:
        Path(path).touch()
    if len(list(tmp_path.iterdir())) == 2:  # where a system takes them for two files, they are
        assert [seen.add(path) for path in [*both, *both]] == [True, True, False, False]
