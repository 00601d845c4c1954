"""Images read from shards are those of the files; damage is refused and named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from faceproof.audit import file_statistics
from faceproof.audit.audit import audit_data
from faceproof.augment.corruptions import neutral_corruption
from faceproof.data import DataSet, image_io
from faceproof.data.datasets import ImageDataset
from faceproof.data.image_io import UnreadableImageError, read_file
from faceproof.data.loaders import make_loader
from faceproof.data.shards.paths import find_member
from faceproof.data.shards.reading import INDEX, ShardSet, shard_set
from faceproof.data.table import concat_tables
from faceproof.errors import FaceproofError
from faceproof.inference.scoring import Scoring, score
from faceproof.models.backbones import face_cnn_backbone
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.heads import HiddenHead
from tests.small_shards import (
    like,
    read_shards,
    refusal,
    rewrite,
)


def test_what_the_audit_needs_is_known_without_looking(
    files: DataSet, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read_shards(written)
    wanted = file_statistics.file_statistics_of(like(files.table, data.table))
    monkeypatch.setattr(file_statistics, "statistics_of_file", None)
    monkeypatch.setattr(image_io, "read_member", None)
    found = file_statistics.file_statistics_of(data.table)
    assert found["path"].to_pylist() == data.table["path"].to_pylist()
    for column in set(found.column_names) - {"path", "stamp"}:
        assert found[column].to_pylist() == wanted[column].to_pylist()
    some = data.table.take([5, 3])
    assert file_statistics.file_statistics_of(some)["content"].to_pylist() == [
        wanted["content"][row].as_py() for row in (5, 3)
    ]
    plain = replace(files, table=like(files.table, data.table))
    ours, theirs = audit_data(data, found), audit_data(plain, wanted)
    assert (ours.findings, ours.balance) == (theirs.findings, theirs.balance)


def test_statistics_of_another_version_are_computed_from_the_shards(
    copied: Path, files: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    rewrite(copied, statistics_format=0)
    data = read_shards(copied)
    wanted = file_statistics.file_statistics_of(like(files.table, data.table))
    for _ in range(2):
        found = file_statistics.file_statistics_of(data.table)
        for column in ("content", "size", "suffix", "sharpness"):
            assert found[column].to_pylist() == wanted[column].to_pylist()
        monkeypatch.setattr(file_statistics, "statistics_of_file", None)  # remembered


def test_statistics_in_shards_are_read_once_and_not_cached(
    files: DataSet, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path))
    data, asked = read_shards(written), []
    original = ShardSet.file_statistics
    monkeypatch.setattr(
        ShardSet, "file_statistics", lambda of, version: asked.append(1) or original(of, version)
    )
    words = pa.array([f"source {row % 3}" for row in range(data.table.num_rows)])
    column = data.table.column_names.index("source")
    table = data.table.set_column(column, "source", words.dictionary_encode())
    files_too = concat_tables([table, files.table])
    found = file_statistics.file_statistics_of(files_too)
    assert found["path"].to_pylist() == files_too["path"].to_pylist()
    assert len(asked) == 1
    (memory,) = (tmp_path / f"file-statistics-{file_statistics.FORMAT}").iterdir()
    remembered = pa.parquet.read_table(memory)["path"].to_pylist()
    assert sorted(remembered) == sorted(files.table["path"].to_pylist())


def test_shards_out_of_reach_are_not_cached_as_unreadable(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    rewrite(copied, statistics_format=0)
    shard_set.cache_clear()
    data = read_shards(copied)
    away = tmp_path / "away"
    (copied / "shard-000001.tar").rename(away)
    assert file_statistics.file_statistics_of(data.table)["reason"].drop_null()
    away.rename(copied / "shard-000001.tar")
    assert (
        file_statistics.file_statistics_of(data.table)["reason"].null_count == data.table.num_rows
    )


def test_scores_are_those_of_the_files_bit_for_bit(files: DataSet, written: Path) -> None:
    torch.manual_seed(0)
    how = ImageInput(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    net = Detector(face_cnn_backbone(16), lambda n: HiddenHead(n, 4), how)
    rows = read_shards(written).table
    for condition in (None, neutral_corruption("jpeg")):
        found = [
            score(net, table, files.task, Scoring(8, 0, "cpu", condition))
            for table in (rows, like(files.table, rows))
        ]
        assert np.array_equal(*found)


def test_shards_that_cannot_be_used_say_why(copied: Path, tmp_path: Path) -> None:
    assert f"{tmp_path} holds no shards: shards.json is not there" in refusal(tmp_path)
    assert "are of task face; set data.task=face" in refusal(copied, "deepfake")
    rewrite(copied, format=1)
    assert "are of format 1, and this version reads format 2" in refusal(copied)
    (copied / INDEX).write_text("{")
    assert "shards.json cannot be read" in refusal(copied)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000, "{}", "[]", '{"format": 2}', '{"format": NaN}',
        '{"format": 2, "name": 1, "task": [], "images": "x", "unreadable": 0, '
        '"statistics_format": 1, "tables": {}, "shards": []}',
        " " * 60_000_000,
    ],
)  # fmt: skip
def test_an_index_of_no_sense_is_refused(copied: Path, text: str) -> None:
    (copied / INDEX).write_text(text)
    assert "shards.json cannot be read" in refusal(copied)


def test_damage_is_named(copied: Path) -> None:
    shard = copied / "shard-000001.tar"
    whole = shard.read_bytes()
    data = read_shards(copied)
    path = next(path for path in data.table["path"].to_pylist() if "shard-000001.tar@" in path)
    member = find_member(path)
    assert member is not None
    shard.write_bytes(whole[: member.offset] + b"\0" + whole[member.offset + 1 :])
    with pytest.raises(UnreadableImageError, match=r"shard-000001\.tar is damaged: the .* bytes"):
        read_file(path)
    shard.write_bytes(whole[:-1])
    assert f"{shard} is damaged: it has {len(whole) - 1:,} bytes" in refusal(copied)
    shard.unlink()
    assert f"{shard} is not there; bring it back" in refusal(copied)
    with pytest.raises(UnreadableImageError, match="is not there; bring it back"):
        read_file(path)
    shard.write_bytes(whole)
    samples = copied / "samples.parquet"
    samples.write_bytes(samples.read_bytes()[:-1] + b"\0")
    assert "samples.parquet is damaged" in refusal(copied)


def test_a_shard_spoiled_in_mid_run_ends_it_with_one_message(copied: Path) -> None:
    data = read_shards(copied)
    shard_set.cache_clear()
    shard = copied / "shard-000002.tar"
    shard.write_bytes(shard.read_bytes()[:100])
    for workers in (0, 1):
        with pytest.raises(FaceproofError, match=r"no longer can: .*shard-000002\.tar is damaged"):
            list(make_loader(ImageDataset(data.table, data.task, 16, "bilinear"), 4, workers))
        shard_set.cache_clear()
