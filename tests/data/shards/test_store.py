"""Shards in an object store."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from faceproof.audit import file_statistics
from faceproof.data import DataSet
from faceproof.data.datasets import ImageDataset
from faceproof.data.image_io import UnreadableImageError, read_file
from faceproof.data.loaders import make_loader
from faceproof.data.shards import store
from faceproof.data.shards.store import ObjectStore, ShardError
from faceproof.data.table import select
from faceproof.errors import FaceproofError
from faceproof.io.atomic import CannotWriteError
from tests.small_shards import (
    SMALL,
    assert_equal_batches,
    loader_of,
    names,
    read_shards,
    refusal,
    upload,
    write,
)
from tests.small_stores import both_stores


@both_stores
def test_folders_are_listed_one_by_one(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"something")
    root = ObjectStore(bucket)
    for name in ("z", "a/b/c.jpg", "a/b/d.jpg", "a/e.jpg", "ab/g/f.jpg"):
        root.put(tmp_path / "file", name)
    listed = root.lister("")
    assert listed("") == (["a", "ab"], ["z"])
    assert listed("a") == root.lister("a")("a") == (["b"], ["e.jpg"])
    assert listed("a/b") == ([], ["c.jpg", "d.jpg"])
    assert root.names_below("a") == ["a/b/c.jpg", "a/b/d.jpg", "a/e.jpg"]
    assert not ObjectStore(f"{bucket}/a").is_empty()
    assert not ObjectStore(f"{bucket}/ab").is_empty()  # which holds nothing but a folder
    assert ObjectStore(f"{bucket}/b").is_empty()


@both_stores
def test_an_object_store_gives_the_same_batches(
    files: DataSet, written: Path, bucket: str, tmp_path: Path
) -> None:
    assert f"{bucket}/some/set holds no shards" in refusal(f"{bucket}/some/set")
    write(files, f"{bucket}/some/set", SMALL)
    with pytest.raises(FaceproofError, match="holds something already"):
        write(files, f"{bucket}/some/set", SMALL)
    there, here = read_shards(f"{bucket}/some/set"), read_shards(written)
    assert names(there.table) == names(here.table)
    assert file_statistics.file_statistics_of(there.table)["content"].equals(
        file_statistics.file_statistics_of(here.table)["content"]
    )
    kept = tmp_path / "cache" / "shards"
    assert not list(kept.glob("*.tar"))  # nothing was fetched to know all that
    rows, wanted = (select(data.table, "train") for data in (there, here))
    for workers in (0, 2):
        found = list(loader_of(rows, there, workers))
        assert_equal_batches(found, list(loader_of(wanted, here)))
    in_order = make_loader(ImageDataset(there.table, there.task, 16, "bilinear"), 9, 1)
    assert torch.cat([batch.row for batch in in_order]).tolist() == list(range(56))
    assert {file.name.partition("-")[2] for file in kept.glob("*.tar")} == {
        file.name for file in written.glob("*.tar")
    }
    assert not list(kept.glob("*partial*"))


def test_a_full_disk_is_no_trouble_of_the_store(
    files: DataSet, written: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(written, f"{bucket}/set")
    data = read_shards(f"{bucket}/set")

    def fill(full: str) -> None:
        def opened(file: Path, mode: str = "r", *given: Any, **options: Any) -> Any:
            if mode == full and "shard-" in file.name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(file, mode, *given, **options)

        original = Path.open
        monkeypatch.setattr(Path, "open", opened)

    with monkeypatch.context() as monkeypatch:
        fill("r+b")  # where a part that was fetched is written
        for workers in (0, 1):
            with pytest.raises(CannotWriteError, match="could not be written: the disk is") as told:
                list(make_loader(ImageDataset(data.table, data.task, 16, "bilinear"), 4, workers))
            assert "Traceback" not in str(told.value)
    with monkeypatch.context() as monkeypatch:
        fill("wb")
        with pytest.raises(CannotWriteError, match=r"faceproof-shards could not .*disk is full"):
            write(files, f"{bucket}/new", SMALL)


def test_a_damaged_or_missing_object_is_named_and_not_kept(
    copied: Path, bucket: str, tmp_path: Path
) -> None:
    shard = copied / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\1")
    (copied / "shard-000001.tar").unlink()
    upload(copied, f"{bucket}/set")
    data = read_shards(f"{bucket}/set")
    paths = data.table["path"].to_pylist()
    with pytest.raises(UnreadableImageError, match=r"shard-000000\.tar is damaged"):
        read_file(paths[0])
    missing = next(path for path in paths if "shard-000001.tar@" in path)
    with pytest.raises(
        UnreadableImageError, match=r"shard-000001\.tar cannot be fetched: .*not exist"
    ):
        read_file(missing)
    kept = tmp_path / "cache" / "shards"
    assert not [file for file in kept.iterdir() if "shard-" in file.name]


def test_a_store_without_shards_or_that_is_gone_says_so(
    files: DataSet, written: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"{bucket}/nothing holds no shards" in refusal(f"{bucket}/nothing")
    upload(written, f"{bucket}/set")
    path = read_shards(f"{bucket}/set").table["path"][0].as_py()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(store, "ATTEMPTS", 1)
    store._connect.cache_clear()
    with pytest.raises(UnreadableImageError, match=r"cannot be fetched: .*127\.0\.0\.1(:| port )9"):
        read_file(path)
    for call in (
        lambda: read_shards(f"{bucket}/other"),
        lambda: write(files, f"{bucket}/new"),
    ):
        with pytest.raises(ShardError, match="check the URL, the credentials and AWS_ENDPOINT"):
            call()


@pytest.mark.parametrize(
    ("endpoint", "environment", "wanted"),
    [
        ("https://s3.amazonaws.com", {}, None),
        ("https://s3.amazonaws.com", {"https_proxy": "http://p:3128"}, "http://p:3128"),
        ("http://minio:9000", {"https_proxy": "http://p:3128"}, None),
        ("http://minio:9000", {"http_proxy": "http://p:3128", "no_proxy": "minio"}, None),
    ],
)
def test_the_proxy_is_that_of_the_environment(
    endpoint: str,
    environment: dict[str, str],
    wanted: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert store._proxy(endpoint) == wanted


def test_large_objects_come_in_parts_and_in_order(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART", 1000)
    (tmp_path / "large").write_bytes(content := os.urandom(12_345))
    store.ObjectStore(f"{bucket}/set").put(tmp_path / "large")
    store.ObjectStore(f"{bucket}/set").fetch("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_process_may_end_while_shards_are_fetched(written: Path, bucket: str) -> None:
    upload(written, f"{bucket}/set")
    program = (
        "import sys\n"
        "from faceproof.data.listing import ShardData\n"
        "from faceproof.data.shards.order import find_shards\n"
        "found = find_shards(ShardData('shards', 'face', sys.argv[1]).list().table['path'])\n"
        "next(found.fetching_ahead(found.order(0, 0)))\n"
    )
    call = [sys.executable, "-c", program, f"{bucket}/set"]
    ended = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
