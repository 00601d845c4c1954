import numpy as np
import pyarrow as pa
import pytest

from faceproof.audit.file_statistics import SCHEMA
from faceproof.audit.shortcuts import (
    MIN_UNITS,
    _area,
    _folds,
    _held_out_scores,
    find_shortcuts,
    too_few,
)
from faceproof.data import image_statistics

FRAMES = 25  # of each video


def statistics(seed, videos, frames=FRAMES, tables=None):
    """Return file statistics of videos in which nothing tells the class, and the videos' numbers.

    Every video has its own encoder, colour and sharpness, which all of its frames share.
    """
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(videos), frames)
    number = len(units)
    drawn = rng.integers(0, 4, videos) if tables is None else np.asarray(tables)
    colour = rng.normal(120, 20, (videos, 6))[units] + rng.normal(0, 1, (number, 6))
    sharpness = rng.normal(3, 1, videos)[units] + rng.normal(0, 0.1, number)
    sizes = rng.normal(9, 0.5, videos)[units] + rng.normal(0, 0.02, number)

    def rows(width):
        of_video = rng.normal(0, 1, (videos, width))[units]
        return list(np.float32(of_video + rng.normal(0, 0.1, (number, width))))

    columns = {
        "path": [f"{row}.jpg" for row in range(number)],
        "size": np.exp(sizes).astype(np.int64),
        "mtime_ns": np.zeros(number, np.int64),
        "reason": pa.nulls(number, pa.string()),
        "stamp": ["still"] * number,
        "content": [bytes(16)] * number,
        "look": [bytes(2 * image_statistics.NUM_HASH_WORDS)] * number,
        "format": ["JPEG"] * number,
        "suffix": [".jpg"] * number,
        "mode": ["RGB"] * number,
        "width": np.full(number, 256),
        "height": np.full(number, 256),
        "jpeg_tables": [f"table {table}" for table in drawn[units]],
        "metadata": [""] * number,
        "colour": list(np.float32(colour)),
        "sharpness": np.float32(sharpness),
        "spectrum": rows(image_statistics.NUM_RINGS),
        "border": rows(12),
    }
    return pa.table(columns, schema=SCHEMA), units


def by_name(shortcuts):
    return {shortcut.name: shortcut for shortcut in shortcuts}


def test_frames_of_one_video_are_held_out_together():
    """By rows, what a video's frames share looks like a shortcut; by videos nothing is there."""
    alarms, areas = {"by rows": 0, "by videos": 0}, []
    for seed in range(3):
        stats, units = statistics(seed, videos=20)
        labels = (units % 2).astype(np.int64)
        for way, given in (("by rows", None), ("by videos", units)):
            found = by_name(find_shortcuts(stats, labels, given))
            alarms[way] += sum(one.exceeds_limit for one in found.values())
            if way == "by videos":
                areas.append(found["JPEG tables"].auroc)
                assert found["JPEG tables"].low < 0.5
    assert alarms["by rows"] > 3  # what was wrong: faults found in clean sets
    assert alarms["by videos"] == 0
    assert np.mean(areas) < 0.55  # below 0.5, for a held-out video weighs on what is fitted


def test_a_shortcut_of_whole_videos_is_still_found():
    stats, units = statistics(0, videos=24, tables=np.arange(24) % 2)
    found = by_name(find_shortcuts(stats, (units % 2).astype(np.int64), units))
    assert found["JPEG tables"].exceeds_limit
    assert found["JPEG tables"].auroc == 1
    assert not found["file size"].exceeds_limit


def test_the_interval_is_as_wide_as_that_of_the_videos_alone():
    stats, units = statistics(1, videos=24)
    once, alone = statistics(1, videos=24, frames=1, tables=None)
    labels = (units % 2).astype(np.int64)
    wide = by_name(find_shortcuts(stats, labels, units))["JPEG tables"]
    narrow = by_name(find_shortcuts(stats, labels, None))["JPEG tables"]
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert once.num_rows == len(alone) == 24


def test_groups_of_both_classes_stay_whole():
    labels = np.tile([0, 1], 60)
    units = np.repeat(np.arange(20), 6)
    for fitted, held_out in _folds(labels, units, 0):
        assert not set(units[fitted]) & set(units[held_out])
        assert set(labels[fitted]) == set(labels[held_out]) == {0, 1}


def test_few_groups_are_not_measured_however_many_images_they_have():
    stats, units = statistics(0, videos=2 * (MIN_UNITS - 1), tables=np.arange(8) % 2)
    labels = (units % 2).astype(np.int64)
    assert "4 independent groups" in (too_few(labels, units) or "")
    assert find_shortcuts(stats, labels, units) == []
    assert too_few(labels, np.arange(len(labels))) is None
    assert "3 labelled images" in (too_few(np.repeat([0, 1], [60, 3]), np.arange(63)) or "")


def test_rare_odd_sizes_are_no_shortcut_whatever_the_order():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 1000)  # class by class, as tables list them
    size = np.full(2000, 256.0)
    size[rng.choice(2000, 5, replace=False)] = [250, 257, 260, 300, 310]
    rows = np.arange(2000)
    scores = _held_out_scores(np.log(size)[:, None], labels, _folds(labels, rows, 0))
    assert _area(labels, scores, rows)[0] == pytest.approx(0.5, abs=0.05)
