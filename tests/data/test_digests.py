"""Digests of files, which are those of the file statistics, and are cached until a file changes."""

import hashlib
from pathlib import Path

import pytest

from faceproof.audit.file_statistics import statistics_of_file
from faceproof.data import digests
from faceproof.data.digests import digests_of
from tests.conftest import write_images


def test_they_are_the_content_of_the_file_statistics(tmp_path: Path) -> None:
    (image,) = write_images(tmp_path, ["a.jpg"])
    assert digests_of([str(image)], "x") == [statistics_of_file(str(image))["content"].hex()]


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    paths = [str(tmp_path / name) for name in ("a", "none", ".")] + ["a\0b"]
    found = digests_of(paths, "x")
    assert found[0] == hashlib.blake2b(b"a", digest_size=16).hexdigest()
    assert found[1:] == [None, None, None]


def test_a_file_is_read_again_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    read, real = list[str](), digests._digest
    monkeypatch.setattr(digests, "_digest", lambda path: read.append(path) or real(path))
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_bytes(file.name.encode())
    paths = list(map(str, files))
    first = digests_of(paths, "x")
    assert digests_of(paths, "x") == first
    assert sorted(read) == paths
    files[0].write_bytes(b"changed")
    again = digests_of(paths, "x")
    assert again[0] != first[0]
    assert again[1] == first[1]
    assert sorted(read) == sorted([*paths, paths[0]])


def test_a_damaged_cache_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a").write_bytes(b"a")
    first = digests_of([str(tmp_path / "a")], "x")
    (cache,) = (tmp_path / "cache" / "digests").iterdir()
    cache.write_bytes(b"no Parquet")
    assert digests_of([str(tmp_path / "a")], "x") == first
    assert "it is computed again" in caplog.text
