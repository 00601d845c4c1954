"""Shards: the same bytes for the same images, in tar files that others read."""

import pickle
import subprocess
import sys
import tarfile
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from faceproof.data import DataSet
from faceproof.data.image_io import read_file
from faceproof.data.shards.reading import MIXED
from faceproof.data.shards.writing import open_writer
from faceproof.data.table import SCHEMA, select
from faceproof.errors import FaceproofError
from tests.small_shards import (
    SMALL,
    like,
    names,
    read_shards,
    write,
)


def test_every_image_is_there_with_its_bytes_and_its_columns(files: DataSet, written: Path) -> None:
    data = read_shards(written)
    plain = like(files.table, data.table)
    assert data.table.num_rows == files.table.num_rows == len(set(names(data.table)))
    for column in SCHEMA.names[1:]:
        assert data.table[column].to_pylist() == plain[column].to_pylist()
    for ours, theirs in zip(data.table["path"].to_pylist(), plain["path"].to_pylist(), strict=True):
        assert read_file(ours) == Path(theirs).read_bytes()


def test_splits_lie_apart_and_classes_lie_mixed(written: Path) -> None:
    data = read_shards(written)
    assert data.table["split"].to_pylist() == ["train"] * 32 + ["val"] * 12 + ["test"] * 12
    labels = select(data.table, "train")["label"].to_pylist()
    assert sum(a != b for a, b in pairwise(labels)) > 8


def test_the_same_images_give_the_same_shards(
    files: DataSet, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    write(files, str(tmp_path / "again"), SMALL)
    shard_names = sorted(file.name for file in written.glob("*.tar"))
    assert len(shard_names) > MIXED
    for name in [*shard_names, "samples.parquet", "file_statistics.parquet"]:
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def read_by_webdataset(shards: list[Path]) -> list[dict[str, Any]]:
    """Return the samples that the package finds, read apart because it leaves files open."""
    pytest.importorskip("webdataset")
    program = (
        "import pickle, sys, webdataset\n"
        "found = webdataset.WebDataset(sys.argv[1:], shardshuffle=False)\n"
        "plain = [{'key': one['__key__'], **{name: value for name, value in one.items() "
        "if not name.startswith('__')}} for one in found]\n"
        "sys.stdout.buffer.write(pickle.dumps(plain))"
    )
    call = [sys.executable, "-c", program, *map(str, shards)]
    found: list[dict[str, Any]] = pickle.loads(
        subprocess.run(call, check=True, capture_output=True).stdout
    )
    return found


def test_tar_and_webdataset_read_the_images(written: Path) -> None:
    paths = read_shards(written).table["path"].to_pylist()
    shards = sorted(written.glob("*.tar"))
    wanted = [read_file(path) for path in paths]
    members = []
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                assert (member.uid, member.gid, member.mtime, member.isfile()) == (0, 0, 0, True)
                content = archive.extractfile(member)
                assert content is not None
                members.append((member.name, content.read()))
    assert [content for _, content in members] == wanted
    folders = [path.split("/")[-3:-1] for path in paths]
    assert [name.split("/")[:-1] for name, _ in members] == folders
    found = read_by_webdataset(shards)
    assert [sample["jpg"] for sample in found] == wanted
    assert [int(sample["key"].split("/")[-1]) for sample in found] == list(range(len(paths)))
    labels = read_shards(written).table["label"].to_pylist()
    folder_of = {"face": "/faces/", "non_face": "/non-faces/"}
    for sample, label in zip(found, labels, strict=True):
        assert folder_of[label] in sample["key"]


@pytest.mark.parametrize(
    "name", ["a.b/photo.v2.JPG", "ü" * 90 + "/a.png", "x", "s/.jpg", "y/1.exe"]
)
def test_any_name_is_one_sample(name: str, tmp_path: Path) -> None:
    with open_writer(str(tmp_path / "set"), 1000) as writer:
        for image in (b"one", b"two"):
            writer.add(name, image)
        places = dict(writer._places)
        writer._finish_shard()
    shard = tmp_path / "set" / "shard-000000.tar"
    first, second = read_by_webdataset([shard])
    assert first.pop("key") != second.pop("key")
    assert [*first.values(), *second.values()] == [b"one", b"two"]
    whole = shard.read_bytes()
    assert [whole[place : place + 3] for place in places["offset"]] == [b"one", b"two"]


@pytest.mark.parametrize("sizes", [[10, 10, 10], [30, 5, 5], [5, 5, 50, 5], [21], [11, 11, 3, 4]])
def test_a_shard_is_full_where_the_next_image_would_exceed_it(
    sizes: list[int], tmp_path: Path
) -> None:
    with open_writer(str(tmp_path / "set"), 30) as writer:
        for size in sizes:
            writer.add("a.jpg", bytes(size))
        found = [list(run) for _, run in groupby(writer._places["shard"])]
    counted = [size + 4 for size in sizes]
    for run in found:
        part, counted = counted[: len(run)], counted[len(run) :]
        assert len(part) == 1 or sum(part) <= 30
        assert not counted or sum(part) + counted[0] > 30


def test_names_keep_no_folder_that_all_share_and_what_conditions_are_drawn_by(
    files: DataSet, written: Path
) -> None:
    stored = pa.parquet.read_table(written / "samples.parquet")["path"].to_pylist()
    assert all(name.count("/") == 2 for name in stored)
    assert sorted(stored) == sorted(names(files.table))


def test_a_target_in_use_is_refused(files: DataSet, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    for target in (tmp_path / "set", tmp_path / "set" / "mine.txt"):
        with pytest.raises(FaceproofError, match="holds something already"):
            write(files, str(target), SMALL)
    assert (tmp_path / "set" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("root", ["s3://bucket", "s3:///folder", "ftp://host/folder", "s3://b/"])
def test_places_that_are_none(files: DataSet, root: str) -> None:
    for call in (lambda: read_shards(root), lambda: write(files, root)):
        with pytest.raises(FaceproofError, match="is no place for shards"):
            call()
