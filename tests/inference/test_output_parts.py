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


@pytest.fixture(autouse=True)
def _every_file_is_there(monkeypatch):
    """Rows are of files that do not exist; each has its path as its stamp."""
    monkeypatch.setattr("faceproof.inference.objects.stamp_of_image", str)


def begun(out, path="a", **changes):
    rows = output_parts.Results(out, {"detector": "x", "backend": "torch"} | changes)
    rows.add([output_parts.Row(path, stamp=path)])
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


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_that_changed_since_is_judged_again(tmp_path, monkeypatch, suffix):
    out = tmp_path / f"out{suffix}"
    for name in ("a", "b", "c"):
        begun(out, path=name).close()
    new = {"b": "new"}
    monkeypatch.setattr(
        "faceproof.inference.objects.stamp_of_image", lambda path: new.get(path, path)
    )
    rows = output_parts.Results(out, {"detector": "x", "backend": "torch"})
    assert [row.path for row in rows.rows()] == ["a", "c"]
    assert rows.num_changed == 1
    rows.add([output_parts.Row("b", verdict="fake", stamp="new")])
    rows.flush()
    rows.close()
    again = output_parts.Results(out, {"detector": "x", "backend": "torch"})
    assert [row.path for row in again.rows()] == ["a", "c", "b"]
    again.finish()
    assert [(row["path"], row["verdict"] or None) for row in read(out)] == [
        ("a", None), ("c", None), ("b", "fake"),
    ]  # fmt: skip


def test_a_file_without_a_stamp_is_judged_again(tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    begun(out).close()
    monkeypatch.setattr("faceproof.inference.objects.stamp_of_image", lambda path: None)
    last = begun(out, path="b")
    last.close()
    rows = output_parts.Results(out, {"detector": "x", "backend": "torch"})
    assert not list(rows.rows())
    rows.close()


def test_planted_rows_are_refused(tmp_path):
    out, other = tmp_path / "out.csv", tmp_path / "other.csv"
    begun(out).close()
    begun(other, path="b", detector="y").close()
    folder, theirs = tmp_path / "out.csv.unfinished", tmp_path / "other.csv.unfinished"
    for names in (["00000.csv"], ["00000.csv", "00000.json"]):
        for name in names:  # of another detector
            (folder / f"1{name}").write_bytes((theirs / name).read_bytes())
        with pytest.raises(FaceproofError, match=r"100000\.csv is not what this detector gave"):
            begun(out)
    for name in ("100000.csv", "100000.json"):
        (folder / name).unlink()
    begun(out, path="b").close()
    text = (folder / "00000.csv").read_text()
    (folder / "00000.csv").write_text(text.replace("a", "z"))
    with pytest.raises(FaceproofError, match="not what this detector gave, or was changed"):
        begun(out)
    (folder / "about.json").unlink()
    with pytest.raises(FaceproofError, match="nothing says what gave it"):
        begun(out)
    output_parts.Results(out, {"detector": "x"}, overwrite=True).close()
    assert not list(folder.glob("0*"))
