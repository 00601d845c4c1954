"""Unreadable files: counted, named, left out, refused beyond a share, and remembered."""

import logging
import os
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from faceproof.audit import file_statistics
from faceproof.audit.audit import audit_data, cached_audit
from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.data import FolderData
from faceproof.data.listing import DataSet, TableData
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.io.cache import cache_folder
from faceproof.task import get_task
from tests.conftest import MakeImages

LABELS: dict[str, str | None] = {"real": "real", "fake": "fake"}


@pytest.fixture
def root(tmp_path: Path, make_images: MakeImages) -> Path:
    for label in LABELS:
        make_images(tmp_path / "set" / label, [f"{n}.jpg" for n in range(10)], size=(9, 9))
    return tmp_path / "set"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that were decoded, as they are."""
    names: list[str] = []
    look = file_statistics.statistics_of_file

    def counted(path: str) -> object:
        names.append(Path(path).name)
        return look(path)

    monkeypatch.setattr(file_statistics, "statistics_of_file", counted)
    return names


def listed(root: Path, max_unreadable: float = 0.01) -> DataSet:
    return FolderData(
        "mine", "deepfake", str(root), "{label}/*", LABELS, max_unreadable=max_unreadable
    ).list()


def spoil(root: Path) -> None:
    (root / "real" / "3.jpg").write_bytes(b"")
    (root / "fake" / "7.jpg").write_text("<html>")


def test_a_good_set_is_left_as_it_is(root: Path, tmp_path: Path) -> None:
    data = listed(root)
    rows, unreadable = readable_rows(data, tmp_path / "unreadable.csv")
    assert rows.equals(data.table)
    assert unreadable.num_rows == 0
    assert not (tmp_path / "unreadable.csv").exists()


def test_unreadable_files_are_counted_named_and_left_out(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(root)
    data, record = listed(root, 0.1), tmp_path / "run" / "unreadable.csv"
    with caplog.at_level(logging.WARNING):
        rows, unreadable = readable_rows(data, record)
    bad = [f"{root}/fake/7.jpg", f"{root}/real/3.jpg"]
    reasons = ["no image format that can be read", "the file is empty"]
    assert unreadable.to_pydict() == {"path": bad, "reason": reasons}
    assert rows.to_pylist() == [row for row in data.table.to_pylist() if row["path"] not in bad]
    lines = [f'"{path}","{reason}"' for path, reason in zip(bad, reasons, strict=True)]
    assert record.read_text().splitlines() == ['"path","reason"', *lines]
    assert "2 of 20 files of data set mine cannot be read" in caplog.text
    assert f"all are listed in {record}" in caplog.text


def test_too_many_are_refused_and_still_listed(root: Path, tmp_path: Path) -> None:
    spoil(root)
    record = tmp_path / "unreadable.csv"
    with pytest.raises(FaceproofError) as refusal:
        readable_rows(listed(root, 0.09), record)
    message = str(refusal.value)
    assert f"2 of 20 files of data set mine cannot be read, {root}/fake/7.jpg the first" in message
    assert "that is 10.0%, more than data.max_unreadable = 9.0%" in message
    assert f"all are listed in {record}" in message
    assert message.endswith(": repair or remove them")
    assert len(record.read_text().splitlines()) == 3


def test_a_file_that_went_missing_after_listing_is_named(root: Path) -> None:
    data = listed(root, 0.1)
    (root / "real" / "0.jpg").unlink()
    _, unreadable = readable_rows(data)
    assert unreadable["reason"].to_pylist() == ["the file is not there"]


def test_the_second_time_nothing_is_decoded(root: Path, decoded: list[str]) -> None:
    spoil(root)
    first = readable_rows(listed(root, 0.1))
    assert sorted(decoded) == sorted([f"{n}.jpg" for n in range(10)] * 2)
    decoded.clear()
    second = readable_rows(listed(root, 0.1))
    assert decoded == []
    assert [t.to_pylist() for t in second] == [t.to_pylist() for t in first]


def test_only_what_changed_is_decoded_again(
    root: Path, decoded: list[str], make_images: MakeImages
) -> None:
    spoil(root)
    readable_rows(listed(root, 0.1))
    decoded.clear()
    make_images(root / "real", ["3.jpg", "new.jpg"])
    status = (root / "fake" / "5.jpg").stat()
    os.utime(root / "fake" / "5.jpg", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    (root / "fake" / "1.jpg").unlink()
    _, unreadable = readable_rows(listed(root, 0.1))
    assert sorted(decoded) == ["3.jpg", "5.jpg", "new.jpg"]
    assert unreadable["path"].to_pylist() == [f"{root}/fake/7.jpg"]


def test_the_memory_is_in_the_cache_and_nothing_is_left_half_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    readable_rows(listed(root))
    written = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.suffix for path in written] == [".parquet"]
    assert written[0].parent == cache_folder() / f"file-statistics-{file_statistics.FORMAT}"
    monkeypatch.delenv("FACEPROOF_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "faceproof"


def test_without_a_cache_that_can_be_written_to_it_goes_on_and_says_so(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "file"))
    data = listed(root)
    assert readable_rows(data)[0].num_rows
    assert "nothing is cached" in caplog.text
    assert "set FACEPROOF_CACHE to a folder that can be written to" in caplog.text
    stats = file_statistics_of(data.table)
    assert cached_audit(data, stats) == audit_data(data, stats)
    assert "the cache takes no audit: " in caplog.text


def test_a_share_beyond_the_limit_is_never_shown_as_the_limit(tmp_path: Path) -> None:
    """1.0% is not more than 1.0%."""
    paths = [str(tmp_path / f"{n}.png") for n in range(198)]
    reasons = ["gone"] * 2 + [None] * 196
    columns = {"path": paths, "label": ["real", "fake"] * 99, "split": ["train"] * 198}
    data = DataSet("x", get_task("deepfake"), table_from_columns(columns), max_unreadable=0.01)
    stats = pa.table({"path": paths, "reason": pa.array(reasons, pa.string())})
    with pytest.raises(FaceproofError, match=r"1\.01%, more than data.max_unreadable = 1\.00%"):
        readable_rows(data, stats=stats)


def test_a_table_of_videos_says_what_takes_them(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypisom")
    (tmp_path / "t.csv").write_text("path,label\na.mp4,real\nb.mp4,fake\n")
    data = TableData("t", "deepfake", str(tmp_path / "t.csv")).list()
    with pytest.raises(FaceproofError, match=r"2 of 2 files are videos.*faceproof prepare"):
        readable_rows(data)


def test_a_video_among_images_says_what_takes_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    for name in ("b.png", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "t.csv").write_text("path,label\na.mp4,real\nb.png,fake\nc.png,real\n")
    data = TableData("t", "deepfake", str(tmp_path / "t.csv")).list()
    with pytest.raises(FaceproofError) as refusal:
        readable_rows(data)
    message = str(refusal.value)
    assert "a.mp4 the first (no image format that can be read, but a video: faceproof" in message
    assert "of these, 1 video" in message
    assert "raise data.max_unreadable" not in message
