"""The folder of bounded size through which the shards of an object store pass."""

import errno
import os
from pathlib import Path

import pytest

from faceproof.data.image_io import read_file
from faceproof.data.shards import local_copies
from faceproof.data.shards.local_copies import VARIABLE
from faceproof.data.shards.reading import shard_set
from faceproof.errors import FaceproofError
from tests.small_shards import (
    forget,
    read_shards,
    upload,
)


def test_a_damaged_copy_of_an_object_is_fetched_again(
    written: Path, bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upload(written, f"{bucket}/set")
    there, here = read_shards(f"{bucket}/set"), read_shards(written)
    path, plain = (str(data.table["path"][0]) for data in (there, here))
    whole = read_file(path)
    for damage in (lambda file: file.write_bytes(b""), lambda file: os.truncate(file, 10)):
        for file in (tmp_path / "cache" / "shards").glob("*"):
            if file.suffix in (".tar", ".parquet"):
                damage(file)
        shard_set.cache_clear()
        caplog.clear()
        assert read_file(path) == whole == read_file(plain)
        assert read_shards(f"{bucket}/set").table.num_rows == 56
        assert caplog.text.count("on this machine is damaged; fetched again") == 2


def test_the_cache_stays_within_its_limit(
    written: Path,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upload(written, f"{bucket}/set")
    limit = 60_000
    monkeypatch.setenv(VARIABLE, str(limit / 1e9))
    kept = tmp_path / "cache" / "shards"
    data = read_shards(f"{bucket}/set")
    assert "FACEPROOF_SHARDS_GB = 6e-05 holds fewer than the 16 shards" in caplog.text
    total = sum(file.stat().st_size for file in written.glob("*.tar"))
    assert total > limit
    for _ in range(2):
        for path in data.table["path"].to_pylist():
            read_file(path)
            assert sum(file.stat().st_size for file in kept.iterdir()) <= limit
    monkeypatch.setenv(VARIABLE, "1e-6")
    forget()
    with pytest.raises(FaceproofError, match=r"FACEPROOF_SHARDS_GB allows 1e-06; raise it"):
        read_shards(f"{bucket}/set")
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(FaceproofError, match="must be a number of gigabytes above 0"):
        local_copies.max_bytes()


def test_the_cache_touches_nothing_but_its_own(
    written: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(written, f"{bucket}/set")
    monkeypatch.setenv(VARIABLE, str(60_000 / 1e9))
    monkeypatch.setenv(local_copies.FOLDER, str(tmp_path / "mine"))
    ours = tmp_path / "mine" / "faceproof-shards"
    (ours / "letters").mkdir(parents=True)
    foreign = [
        tmp_path / "mine" / "thesis.txt", tmp_path / "mine" / "thesis.partial-1",
        ours / "thesis.txt", ours / "thesis.partial-1", ours / "letters" / "first.txt",
    ]  # fmt: skip
    for file in foreign:
        file.write_bytes(bytes(100_000))

    def refused(*given: object) -> None:
        raise PermissionError(errno.EPERM, "another user's")

    monkeypatch.setattr("faceproof.data.shards.store.os.utime", refused)
    for _ in range(2):
        for path in read_shards(f"{bucket}/set").table["path"].to_pylist():
            read_file(path)
        forget()
    assert all(file.stat().st_size == 100_000 for file in foreign)
    assert len(list(ours.glob("*.tar"))) > 1
