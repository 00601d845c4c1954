"""What a result was computed from: every change of a file changes its stamp, and its digest."""

import hashlib
import os
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.io import stamps
from faceproof.io.stamps import digest_of, key_of, stamp_of


def test_keys_tell_apart_what_only_reads_the_same() -> None:
    assert key_of(["ab", "c"]) != key_of(["a", "bc"])
    assert key_of(["a", b"b"]) == key_of([b"a", "b"])


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="the system does not tell of holes")
@pytest.mark.parametrize("end", [b"", b"PAR1"])
def test_a_file_of_nothing_is_not_read_for_hours(tmp_path: Path, end: bytes) -> None:
    file = tmp_path / "a"
    with file.open("wb") as opened:
        opened.write(b"PAR1")
        opened.truncate(2**40)
        opened.seek(0, os.SEEK_END)
        opened.write(end)
    with pytest.raises(FaceproofError, match=r"a holds [\d,]+ bytes that were never written"):
        digest_of(file)
    with file.open("wb") as opened:  # a small hole is none
        opened.truncate(5000)
    assert digest_of(file) == hashlib.sha256(bytes(5000)).hexdigest()


def test_a_file_that_is_as_it_was_has_its_stamp(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    assert stamp_of(file) == stamp_of(str(file))
    assert stamp_of(file) is not None


def test_no_way_of_changing_a_file_keeps_its_stamp(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"one")
    status, seen = file.stat(), {stamp_of(file)}
    times = (status.st_atime_ns, status.st_mtime_ns)

    def in_place() -> None:
        file.write_bytes(b"two")

    def by_another() -> None:
        other.write_bytes(b"two")
        os.utime(other, ns=times)
        other.replace(file)

    def by_a_link() -> None:
        other.write_bytes(b"two")
        os.utime(other, ns=times)
        file.unlink()
        file.symlink_to(other)

    for number, change in enumerate((in_place, by_another, by_a_link), 2):
        change()
        os.utime(file, ns=times)
        assert file.stat().st_mtime_ns == status.st_mtime_ns
        seen.add(stamp_of(file))
        assert len(seen) == number


def test_a_file_that_may_change_without_a_trace_has_no_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    monkeypatch.setattr(stamps, "SETTLED", 60.0)
    os.utime(file, (0, 0))  # which does not make it old
    assert stamp_of(file) is None
    assert stamp_of(tmp_path / "missing") is None
    assert stamp_of("no\0path") is None


@pytest.mark.parametrize("settled", [0.0, 60.0])
def test_a_digest_is_that_of_the_bytes_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: float
) -> None:
    monkeypatch.setattr(stamps, "SETTLED", settled)
    file = tmp_path / "a"
    for content in (b"one", b"two", b"three"):
        (tmp_path / "b").write_bytes(content)
        (tmp_path / "b").replace(file)
        assert digest_of(file) == hashlib.sha256(content).hexdigest()
    assert digest_of(tmp_path / "missing") == digest_of(tmp_path) == ""


def test_bytes_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = digest_of(file)
    monkeypatch.setattr(stamps, "_read_digest", None)
    assert digest_of(file) == first
