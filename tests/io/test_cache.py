"""Arrays that are kept: found again, checked, bounded, and never half there."""

import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from faceproof.io import cache as kept
from faceproof.io.cache import Array, Wanted, keep, key_of

MANY = 10**9


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path))
    return tmp_path / "squares"


def squares(key: str = "a", rows: int = 100, agrees: bool = True) -> tuple[Wanted, list[int]]:
    """Return an array to be kept, and a list that grows when it is computed."""
    computed: list[int] = []

    def fill(values: Array) -> None:
        computed.append(len(values))
        values[:] = np.arange(len(values))[:, None] ** 2

    return Wanted("squares", key, (rows, 4), np.float32, fill, lambda values: agrees), computed


def test_what_was_computed_is_found_again(folder: Path) -> None:
    wanted, computed = squares()
    for _ in range(2):
        values = keep(wanted, MANY)
        assert values is not None
        assert values[7].tolist() == [49] * 4
        assert not values.flags.writeable
    assert computed == [100]
    assert [file.name for file in folder.iterdir()] == ["a.npy"]


def test_what_no_longer_agrees_is_computed_again(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(squares()[0], MANY)
    wanted, computed = squares(agrees=False)
    assert keep(wanted, MANY) is not None
    assert computed == [100]
    assert "is not what would be computed now" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_file_that_is_cut_short_is_computed_again(folder: Path, damage: bytes) -> None:
    keep(squares()[0], MANY)
    (folder / "a.npy").write_bytes(damage)
    wanted, computed = squares()
    values = keep(wanted, MANY)
    assert values is not None
    assert values[3].tolist() == [9] * 4
    assert computed == [100]


def test_a_file_whose_last_rows_are_missing_is_computed_again(folder: Path) -> None:
    keep(squares()[0], MANY)
    whole = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(whole[:-100])
    wanted, computed = squares()
    keep(wanted, MANY)
    assert computed == [100]
    assert (folder / "a.npy").read_bytes() == whole


def test_the_longest_unused_makes_way(folder: Path) -> None:
    for age, key in enumerate("cba"):
        keep(squares(key)[0], MANY)
        os.utime(folder / f"{key}.npy", (age, age))
    kept._in_use.clear()  # as in another process
    keep(squares("b")[0], MANY)  # is used now
    size = (folder / "a.npy").stat().st_size
    keep(squares("d")[0], 3 * size)
    assert sorted(file.stem for file in folder.iterdir()) == ["a", "b", "d"]


def test_what_a_process_uses_does_not_make_way_for_more_of_it(folder: Path) -> None:
    keep(squares("train")[0], MANY)
    size = (folder / "train.npy").stat().st_size
    assert keep(squares("val")[0], size + 100) is None
    assert [file.stem for file in folder.iterdir()] == ["train"]


def test_what_does_not_fit_is_not_kept_and_that_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted, computed = squares()
    with caplog.at_level(logging.WARNING):
        assert keep(wanted, 1000) is None
    assert not computed
    assert "cache.max_gb" in caplog.text
    assert not list(folder.iterdir())


def test_what_could_never_fit_pushes_nothing_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "ab":
        keep(squares(key)[0], MANY)
    monkeypatch.setattr(kept, "_in_use", set())  # as of another process
    size = (folder / "a.npy").stat().st_size
    assert keep(squares("c", 200)[0], size) is None
    assert sorted(file.stem for file in folder.iterdir()) == ["a", "b"]


def test_what_killed_processes_left_is_removed_and_what_is_being_filled_counts(
    folder: Path,
) -> None:
    keep(squares("a")[0], MANY)
    size = (folder / "a.npy").stat().st_size
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    dead, alive, far = (
        folder / f"{n}.npy.partial-{who}"
        for n, who in enumerate((f"{host}-{ended.pid}", f"{host}-{os.getppid()}", "elsewhere-1"))
    )
    an_hour_ago = time.time() - 3600
    for file in (dead, alive, far):
        file.write_bytes(bytes(size))
        os.utime(file, (an_hour_ago, an_hour_ago))
    assert keep(squares("b")[0], 3 * size) is None  # a is in use, and two are being filled
    assert not dead.exists()
    assert alive.exists()
    assert far.exists()
    assert keep(squares("b")[0], 4 * size) is not None


def test_a_computation_that_fails_leaves_nothing(folder: Path) -> None:
    def fail(values: Array) -> None:
        values[0] = 1
        raise OSError("an image has gone")

    with pytest.raises(OSError, match="has gone"):
        keep(Wanted("squares", "a", (3, 3), np.float32, fill=fail, agrees=bool), MANY)
    assert not list(folder.iterdir())


def test_keys_tell_apart_what_only_reads_the_same() -> None:
    assert key_of(["ab", "c"]) != key_of(["a", "bc"])
    assert key_of(["a", b"b"]) == key_of([b"a", "b"])
