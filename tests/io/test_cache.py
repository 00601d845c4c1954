"""Arrays that are cached: found again, checked, bounded, and never half there."""

import gc
import logging
import os
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from faceproof.io import cache
from faceproof.io.cache import Array, CachedArray, load_or_compute, load_or_compute_json

MANY = 10**9


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path))
    return tmp_path / "squares"


def squares(key: str = "a", rows: int = 100, agrees: bool = True) -> tuple[CachedArray, list[int]]:
    """Return an array to be cached, and a list that grows when it is computed."""
    computed: list[int] = []

    def fill(values: Array) -> None:
        computed.append(len(values))
        values[:] = np.arange(len(values))[:, None] ** 2

    return CachedArray("squares", key, (rows, 4), np.float32, fill, lambda values: agrees), computed


def test_what_was_computed_is_found_again(folder: Path) -> None:
    wanted, computed = squares()
    for _ in range(2):
        values = load_or_compute(wanted, MANY)
        assert values is not None
        assert values[7].tolist() == [49] * 4
        assert not values.flags.writeable
    assert computed == [100]
    assert [file.name for file in folder.iterdir()] == ["a.npy"]


def test_what_no_longer_agrees_is_computed_again(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_or_compute(squares()[0], MANY)
    wanted, computed = squares(agrees=False)
    assert load_or_compute(wanted, MANY) is not None
    assert computed == [100]
    assert "is not what would be computed now" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_file_that_is_cut_short_is_computed_again(folder: Path, damage: bytes) -> None:
    load_or_compute(squares()[0], MANY)
    (folder / "a.npy").write_bytes(damage)
    wanted, computed = squares()
    values = load_or_compute(wanted, MANY)
    assert values is not None
    assert values[3].tolist() == [9] * 4
    assert computed == [100]


def test_a_file_whose_last_rows_are_missing_is_computed_again(folder: Path) -> None:
    load_or_compute(squares()[0], MANY)
    whole = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(whole[:-100])
    wanted, computed = squares()
    load_or_compute(wanted, MANY)
    assert computed == [100]
    assert (folder / "a.npy").read_bytes() == whole


def test_the_longest_unused_is_deleted(folder: Path) -> None:
    for age, key in enumerate("cba"):
        load_or_compute(squares(key)[0], MANY)
        os.utime(folder / f"{key}.npy", (age, age))
    cache._in_use.clear()  # as in another process
    load_or_compute(squares("b")[0], MANY)  # is used now
    size = (folder / "a.npy").stat().st_size
    load_or_compute(squares("d")[0], 3 * size)
    assert sorted(file.stem for file in folder.iterdir()) == ["a", "b", "d"]


def test_what_a_process_uses_is_not_deleted_for_more_of_it(folder: Path) -> None:
    load_or_compute(squares("train")[0], MANY)
    size = (folder / "train.npy").stat().st_size
    assert load_or_compute(squares("val")[0], size + 100) is None
    assert [file.stem for file in folder.iterdir()] == ["train"]


def test_what_does_not_fit_is_not_cached_and_that_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted, computed = squares()
    with caplog.at_level(logging.WARNING):
        assert load_or_compute(wanted, 1000) is None
    assert not computed
    assert "cache.max_gb" in caplog.text
    assert not list(folder.iterdir())


def test_what_could_never_fit_pushes_nothing_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "ab":
        load_or_compute(squares(key)[0], MANY)
    monkeypatch.setattr(cache, "_in_use", set())  # as of another process
    size = (folder / "a.npy").stat().st_size
    assert load_or_compute(squares("c", 200)[0], size) is None
    assert sorted(file.stem for file in folder.iterdir()) == ["a", "b"]


def test_what_killed_processes_left_is_removed_and_what_is_being_filled_counts(
    folder: Path,
) -> None:
    load_or_compute(squares("a")[0], MANY)
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
    # a is in use, and two are being filled
    assert load_or_compute(squares("b")[0], 3 * size) is None
    assert not dead.exists()
    assert alive.exists()
    assert far.exists()
    assert load_or_compute(squares("b")[0], 4 * size) is not None


def test_a_computation_that_fails_leaves_nothing(folder: Path) -> None:
    def fail(values: Array) -> None:
        values[0] = 1
        raise OSError("an image has gone")

    array = CachedArray("squares", "a", (3, 3), np.float32, fill=fail, agrees=bool)
    with pytest.raises(OSError, match="has gone"):
        load_or_compute(array, MANY)
    assert not list(folder.iterdir())


def test_no_array_is_open_when_its_file_is_renamed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows renames no file that is open or mapped."""
    allocated: list[weakref.ref[Array]] = []
    allocate = cache._allocate

    def noted(array: CachedArray, file: Path) -> Array:
        values = allocate(array, file)
        allocated.append(weakref.ref(values))
        return values

    def replace(self: Path, target: Path) -> None:
        gc.collect()
        assert allocated[0]() is None
        self.rename(target)

    monkeypatch.setattr(cache, "_allocate", noted)
    monkeypatch.setattr(Path, "replace", replace)
    assert load_or_compute(squares()[0], MANY) is not None
    assert allocated


def two(number: int) -> int:
    """Return a number that is cached below the word `two`, which is computed as `number`."""
    computed: int = load_or_compute_json(
        "square", "a", lambda: {"two": number}, lambda plain: plain["two"]
    )
    return computed


def test_plain_values_are_computed_once(folder: Path) -> None:
    assert (two(4), two(5)) == (4, 4)


@pytest.mark.parametrize("damaged", ['{"two": 4', "[]", '{"three": 4}', "4"])
def test_plain_values_that_cannot_be_read_are_computed_again_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    two(4)
    (folder / "a.json").write_text(damaged)
    assert (two(5), two(6)) == (5, 5)
    assert caplog.text.count("a.json cannot be read (") == 1
