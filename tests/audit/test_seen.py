"""Images that a run has seen are found again under other names and encodings, and no others."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceproof.audit import seen as module
from faceproof.audit.duplicates import hamming
from faceproof.audit.file_statistics import gather_file_statistics
from faceproof.audit.seen import (
    EQUAL,
    NEAR,
    OTHER_LABEL,
    SAME,
    SAME_LABEL,
    find_near,
    find_seen,
    has_looks,
    read_seen,
    seen_images,
)
from faceproof.data.demo.make import make_demo
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.task import get_task
from tests.audit.test_duplicates import flipped, random_hashes

NUM = 60
OTHERS = 20


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    root = tmp_path_factory.mktemp("portraits") / "demo"
    make_demo(root, get_task("deepfake"), seed=5, num_per_class=NUM + OTHERS)
    return sorted((root / "pictures/real/camera").iterdir())


@pytest.fixture(scope="module")
def seen(portraits):
    columns = {"path": [str(p) for p in portraits[:NUM]], "label": ["real"] * NUM,
               "split": ["train", "val"] * (NUM // 2)}  # fmt: skip
    rows = table_from_columns(columns)
    return seen_images(rows, gather_file_statistics(columns["path"], None))


def scored(paths, label="real"):
    rows = table_from_columns({"path": list(map(str, paths)), "label": [label] * len(paths)})
    return rows, gather_file_statistics(rows["path"], None)


def shrunk(image, share):
    return image.resize([round(side * share) for side in image.size], Image.Resampling.BICUBIC)


COPIES = {
    "JPEG 75": lambda image: (image, {"quality": 75}),
    "JPEG 30": lambda image: (image, {"quality": 30}),
    "half the size": lambda image: (shrunk(image, 0.5), {"quality": 80}),
    "twice the size": lambda image: (shrunk(image, 2), {"quality": 80}),
    "another aspect": lambda image: (image.resize((90, 120)), {"quality": 75}),
    "brighter": lambda image: (image.point(lambda v: min(255, round(1.15 * v))), {"quality": 85}),
    "PNG": lambda image: (image, {"format": "PNG"}),
}


@pytest.mark.parametrize("copy", COPIES)
def test_every_copy_of_a_seen_image_is_found_and_named_and_nothing_else(
    portraits, seen, copy, tmp_path
):
    for number, path in enumerate(portraits[:NUM]):
        image, options = COPIES[copy](Image.open(path).convert("RGB"))
        image.save(tmp_path / f"{number:03}.jpg", **({"format": "JPEG"} | options))
    copies = sorted(tmp_path.iterdir())
    found = find_seen(seen, *scored([*copies, *portraits[NUM:]]))
    assert found["path"].to_pylist() == list(map(str, copies))
    assert found["seen"].to_pylist() == list(map(str, portraits[:NUM]))
    assert set(found["why"].to_pylist()) == {NEAR}


def test_the_same_file_and_equal_bytes_are_told_apart(portraits, seen, tmp_path):
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(portraits[1].read_bytes())
    found = find_seen(seen, *scored([portraits[0], copy, portraits[NUM]])).to_pylist()
    assert [(row["why"], row["seen"], row["distance"]) for row in found] == [
        (SAME, str(portraits[0]), 0), (EQUAL, str(portraits[1]), 0),
    ]  # fmt: skip


def test_only_what_trained_or_chose_is_seen(portraits):
    columns = {"path": [str(p) for p in portraits[:4]], "label": ["real"] * 4,
               "split": ["train", "val", "test", "unlabelled"]}  # fmt: skip
    seen = seen_images(table_from_columns(columns), gather_file_statistics(columns["path"], None))
    assert seen["path"].to_pylist() == columns["path"][:2]
    assert seen["label"].to_pylist() == ["real", "real"]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_near_hashes_are_those_that_comparing_all_finds(seed):
    rng = np.random.default_rng(seed)
    known = random_hashes(rng, 40)
    hashes = random_hashes(rng, 50)
    for row in range(40):
        hashes[row] = flipped(rng, known[rng.integers(40)], rng.integers(0, SAME_LABEL + 8))
    labels, known_labels = rng.integers(-1, 2, 50), rng.integers(-1, 2, 40)
    place, distance = find_near(hashes, known, labels, known_labels)
    for row in range(50):
        bits = hamming(np.repeat(hashes[row : row + 1], 40, axis=0), known)
        differ = (labels[row] >= 0) & (known_labels >= 0) & (labels[row] != known_labels)
        allowed = bits <= np.where(differ, OTHER_LABEL, SAME_LABEL)
        assert (place[row] >= 0) == allowed.any()
        if allowed.any():
            assert distance[row] == bits[allowed].min()
            assert distance[row] == bits[place[row]]


def test_opposite_hashes_are_as_far_as_can_be():
    none, every = np.zeros((1, 16), np.uint16), np.full((1, 16), 0xFFFF, np.uint16)
    assert find_near(none, every, np.array([-1]), np.array([-1]))[0] == [-1]


def test_pieces_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    known = random_hashes(rng, 300)
    hashes = np.stack([flipped(rng, known[row], row % 50) for row in range(300)])
    codes = np.zeros(300, np.int64)
    whole = find_near(hashes, known, codes, codes)
    monkeypatch.setattr(module, "ROWS", 7)
    monkeypatch.setattr(module, "KNOWN", 13)
    pieces = find_near(hashes, known, codes, codes)
    assert all(np.array_equal(one, other) for one, other in zip(whole, pieces, strict=True))
    assert (whole[0] == np.where(np.arange(300) % 50 <= SAME_LABEL, np.arange(300), -1)).all()


def test_a_run_of_before_has_paths_and_digests_alone(seen, portraits, tmp_path):
    pq.write_table(seen.select(["path", "content"]), tmp_path / "seen.parquet")
    old = read_seen(tmp_path / "seen.parquet")
    assert has_looks(seen)
    assert not has_looks(old)
    again = tmp_path / "again.jpg"
    Image.open(portraits[1]).save(again, quality=50)
    found = find_seen(old, *scored([portraits[0], again]))
    assert found["why"].to_pylist() == [SAME]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a"]}, "it lacks content"),
        ({"path": ["a"], "content": pa.array([b"x" * 16], pa.binary(16)),
          "look": pa.array([b"short"])}, "cannot be read"),
    ],
)  # fmt: skip
def test_a_table_of_something_else_is_refused(columns, message, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / "seen.parquet")
    with pytest.raises(FaceproofError, match=message):
        read_seen(tmp_path / "seen.parquet")


def test_labels_that_differ_allow_less():
    assert SAME_LABEL > OTHER_LABEL
    rng = np.random.default_rng(0)
    known = random_hashes(rng, 1)
    between = flipped(rng, known[0], OTHER_LABEL + 1)[None]
    for label, other, found in ((0, 0, True), (-1, 0, True), (0, -1, True), (0, 1, False)):
        place, _ = find_near(between, known, np.array([label]), np.array([other]))
        assert (place[0] == 0) == found
