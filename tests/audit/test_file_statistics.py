"""File statistics: what they say of a file, and that no file is read twice."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from faceproof.audit import file_statistics
from faceproof.audit.file_statistics import (
    SCHEMA,
    gather_file_statistics,
    statistics_of_file,
)
from faceproof.data.image_io import read_image
from faceproof.io import stamps
from tests.data.test_image_statistics import portrait


@pytest.fixture
def files(tmp_path):
    pixels = portrait()
    paths = [tmp_path / name for name in ("a.jpg", "b.png", "c.jpg", "d.jpg")]
    exif = Image.Exif()
    exif[0x131] = "some editor"
    Image.fromarray(pixels).save(paths[0], quality=90, exif=exif)
    Image.fromarray(pixels[:100]).save(paths[1])
    paths[2].write_bytes(paths[0].read_bytes()[:-900])
    return [str(path) for path in paths]


def test_statistics_say_what_the_file_is(files):
    jpeg, png, broken, absent = gather_file_statistics(files, None).to_pylist()
    assert (jpeg["format"], jpeg["suffix"], jpeg["width"], jpeg["height"]) == (
        "JPEG", ".jpg", 160, 160,
    )  # fmt: skip
    assert jpeg["metadata"] == "exif"
    assert jpeg["jpeg_tables"] is not None
    assert (png["format"], png["height"], png["metadata"]) == ("PNG", 100, "")
    assert png["jpeg_tables"] is None
    assert jpeg["colour"][:3] == pytest.approx(portrait().mean((0, 1)), abs=1)
    assert broken["reason"]
    assert broken["format"] is None
    assert absent["reason"] == "the file is not there"


def test_the_tables_tell_qualities_apart(tmp_path):
    for quality in (70, 90):
        Image.fromarray(portrait()).save(tmp_path / f"{quality}.jpg", quality=quality)
    low, high = (statistics_of_file(str(tmp_path / f"{q}.jpg"))["jpeg_tables"] for q in (70, 90))
    assert low != high


def test_statistics_are_cached_until_the_file_changes(files, tmp_path, monkeypatch):
    cached = tmp_path / "cache" / "statistics.parquet"
    first = gather_file_statistics(files, cached)
    looked = []
    monkeypatch.setattr(
        file_statistics, "statistics_of_file", lambda p: looked.append(p) or statistics_of_file(p)
    )
    assert gather_file_statistics(files, cached).equals(first)
    assert looked == [files[3]]  # which may be there now
    looked.clear()
    Image.fromarray(portrait(1)).save(files[1])
    again = gather_file_statistics(files[::-1], cached)
    assert sorted(looked) == [files[1], files[3]]
    assert again["path"].to_pylist() == files[::-1]
    assert again.schema == SCHEMA


def test_an_image_of_one_pixel_has_statistics(tmp_path):
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(tmp_path / "dot.png")
    found = statistics_of_file(str(tmp_path / "dot.png"))
    assert found["width"] == 1
    assert np.isfinite(found["sharpness"])


@pytest.mark.parametrize("segment", [b"\xff\xe0\x00\x06JFIF", b"\xff\xee\x00\x07Adobe"])
def test_what_decodes_and_has_a_header_that_pillow_cannot_read_has_a_reason(tmp_path, segment):
    file = tmp_path / "odd.jpg"
    Image.fromarray(portrait()).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:2] + segment + whole[2:])
    assert read_image(file).shape == (3, 160, 160)
    (found,) = gather_file_statistics([str(file)], None).to_pylist()
    assert found["reason"] == "no image format that can be read"


def test_a_split_finds_what_the_whole_set_learned(tmp_path, monkeypatch):
    from faceproof.audit.file_statistics import file_statistics_of
    from faceproof.data.table import table_from_columns

    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    paths = [str(tmp_path / f"{number}.jpg") for number in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(portrait(number)).save(path)
    sources = ["a", "b", "b", "a"]
    table = table_from_columns({"path": paths, "source": sources})
    whole = file_statistics_of(table)
    assert whole["path"].to_pylist() == paths
    looked = []
    monkeypatch.setattr(
        file_statistics, "statistics_of_file", lambda p: looked.append(p) or statistics_of_file(p)
    )
    for rows in ([2, 0], [3], [1, 2]):
        part = file_statistics_of(table.take(rows))
        assert part.equals(whole.take(rows))
    assert not looked
    assert file_statistics_of(table).equals(whole)


def test_a_file_with_the_size_and_time_of_another_is_read(tmp_path):
    cached, file = tmp_path / "statistics.parquet", tmp_path / "a.bmp"
    Image.fromarray(portrait()).save(file)
    before, first = os.stat(file), gather_file_statistics([str(file)], cached)
    for replace in (False, True):  # written in place, and another file put there
        place = tmp_path / "b.bmp" if replace else file
        Image.fromarray(portrait(1 + replace)).save(place)
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        place.replace(file)
        now = os.stat(file)
        assert (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        again = gather_file_statistics([str(file)], cached)
        assert again["content"] != first["content"]
        assert again["content"].to_pylist() == [statistics_of_file(str(file))["content"]]
        first = again


def test_a_file_that_was_written_this_moment_is_read_the_next_time_too(tmp_path, monkeypatch):
    monkeypatch.setattr(stamps, "SETTLED", 3600.0)
    cached, file = tmp_path / "statistics.parquet", tmp_path / "a.bmp"
    for seed in range(2):
        Image.fromarray(portrait(seed)).save(file)
        (found,) = gather_file_statistics([str(file)], cached).to_pylist()
        assert found["content"] == statistics_of_file(str(file))["content"]
    assert not pq.read_table(cached).num_rows


def test_many_files_are_looked_at_by_processes_with_the_same_result(files, monkeypatch, caplog):
    by_threads = gather_file_statistics(files * 2, None)
    monkeypatch.setattr(file_statistics, "MANY", 4)
    monkeypatch.setattr(file_statistics, "PART", 3)
    assert gather_file_statistics(files * 2, None).equals(by_threads)
