import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceproof.audit.audit import audit_data
from faceproof.audit.file_statistics import gather_file_statistics
from faceproof.data.demo.make import make_demo
from faceproof.data.listing import DataSet
from faceproof.data.table import table_from_columns
from faceproof.task import get_task

TASK = get_task("deepfake")
NUM = 60  # of each class


@pytest.fixture(scope="session")
def portraits(tmp_path_factory):
    """Different portraits of one kind, as pixels: nothing tells one half from the other."""
    root = tmp_path_factory.mktemp("portraits") / "demo"
    make_demo(root, TASK, seed=3, num_per_class=2 * NUM)
    files = sorted((root / "pictures/real/camera").iterdir())
    return [np.asarray(Image.open(file)) for file in files]


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **({"quality": 90} | options))
    return file.getvalue()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def audited(portraits, tmp_path):
    """Return a function that writes both classes by two encoders and audits them."""

    def audit(encode_fake=jpeg, change=None, **columns):
        paths = []
        for number, pixels in enumerate(portraits):
            fake = number >= NUM
            data = (encode_fake if fake else jpeg)(pixels)
            suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
            path = tmp_path / f"{number:03}{suffix}"
            path.write_bytes(data)
            paths.append(str(path))
        table = {
            "path": paths,
            "label": ["real"] * NUM + ["fake"] * NUM,
            "split": (["train", "train", "val", "test"] * NUM)[: 2 * NUM],
            **columns,
        }
        if change is not None:
            change(paths, table)
        data = DataSet("planted", TASK, table_from_columns(table))
        return audit_data(data, gather_file_statistics(paths, None))

    return audit


def kinds(audit, severity):
    return {
        finding.kind: finding.count for finding in audit.findings if finding.severity == severity
    }


def test_a_clean_set_is_clear(audited):
    audit = audited()
    assert audit.clear
    assert not audit.findings
    assert not audit.pairs
    assert audit.balance["val"] == {"real": 15, "fake": 15}


@pytest.mark.parametrize(
    ("encode", "expected"),
    [
        (png, {"file type", "file size", "JPEG tables"}),
        (lambda pixels: jpeg(pixels, quality=75), {"JPEG tables", "file size"}),
        (lambda pixels: jpeg(pixels, comment=b"made by x"), {"metadata"}),
        (lambda pixels: jpeg(np.repeat(pixels, 2, 1)), {"pixel size", "file size"}),
        (lambda pixels: jpeg((pixels * 0.4).astype(np.uint8)), {"mean colour"}),
    ],
    ids=["as PNG", "other quality", "metadata", "other size", "darker"],
)
def test_planted_shortcuts_are_found(audited, encode, expected):
    found = kinds(audited(encode), "warning")
    assert {f"shortcut: {kind}" for kind in expected} <= set(found)


def test_a_watermark_is_found(audited):
    mark = np.asarray(Image.new("L", (30, 8), 0))
    letters = (np.indices(mark.shape).sum(0) % 4 < 2)[..., None]

    def marked(pixels):
        pixels = pixels.copy()
        corner = pixels[-12:-4, -34:-4]
        corner[:] = np.where(letters, corner * 0.5 + 127, corner * 0.5)
        return jpeg(pixels)

    assert "shortcut: detail along the border" in kinds(audited(marked), "warning")


def copy_file(source, target, quality=None):
    """Plant a duplicate: the same bytes, or the same image encoded again."""

    def change(paths, table):
        data = Path(paths[source]).read_bytes()
        if quality is not None:
            data = jpeg(np.asarray(Image.open(io.BytesIO(data))), quality=quality)
        Path(paths[target]).write_bytes(data)

    return change


@pytest.mark.parametrize(("quality", "word"), [(None, "identical files"), (60, "near-duplicates")])
def test_duplicates_across_splits_leak(audited, quality, word):
    audit = audited(change=copy_file(0, 2, quality))  # train and val, both real
    assert kinds(audit, "error") == {f"leak: {word} across splits": 1}
    (pair,) = audit.pairs
    assert pair.leaks
    assert not pair.contradicts
    assert {pair.first[-7:], pair.second[-7:]} == {"000.jpg", "002.jpg"}


def test_duplicates_within_a_split_are_information(audited):
    audit = audited(change=copy_file(0, 1))
    assert audit.clear
    assert kinds(audit, "info") == {"identical files within a split": 1}


def test_one_image_with_both_labels_is_a_warning(audited):
    audit = audited(change=copy_file(0, 60))  # both in train
    assert kinds(audit, "warning") == {"identical files with different labels": 1}
    assert audit.pairs[0].contradicts


def test_many_copies_count_once_each(audited):
    def change(paths, table):
        for target in (4, 8, 12):
            copy_file(0, target)(paths, table)

    audit = audited(change=change)
    assert kinds(audit, "info") == {"identical files within a split": 3}


def test_groups_across_splits_leak(audited):
    groups = ["one", None, "one", "two", "two", *[None] * (2 * NUM - 5)]
    found = kinds(audited(group=groups), "error")
    assert found == {"leak: groups across splits": 2}


@pytest.mark.parametrize(("size", "measured"), [(4, True), (30, False)])
def test_shortcuts_count_groups_and_say_where_these_are_too_few(audited, size, measured):
    audit = audited(
        png, group=[f"video {row // size}" for row in range(2 * NUM)], split=["train"] * 2 * NUM
    )
    assert ("shortcut: file type" in kinds(audit, "warning")) == measured
    assert ("shortcuts not measured" in kinds(audit, "info")) != measured


def test_shortcuts_of_what_people_connect_are_measured_by_groups_and_it_is_said(audited):
    groups = [f"video {row // 4}" for row in range(2 * NUM)]
    audit = audited(png, group=groups, component=["all"] * 2 * NUM, split=["train"] * 2 * NUM)
    assert "shortcut: file type" in kinds(audit, "warning")
    assert "shortcuts by group" in kinds(audit, "info")


def renamed(names):
    """Give the first images other names and splits; all others are in training."""

    def change(paths, table):
        table["split"] = ["train"] * 2 * NUM
        root = Path(paths[0]).parent
        for row, (split, name) in enumerate(names):
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(paths[row]).rename(target)
            paths[row], table["split"][row] = str(target), split
        table["path"] = paths

    return change


@pytest.mark.parametrize(
    ("names", "kind", "count"),
    [
        ([("train", "original_sequences/youtube/c23/images/000/1.jpg"),
          ("test", "manipulated_sequences/Deepfakes/c23/images/000_003/1.jpg"),
          ("val", "manipulated_sequences/FaceSwap/c23/images/003_000/1.jpg")], "source videos", 2),
        ([("train", "a/Face2Face/000_003.jpg"), ("val", "b/FaceSwap/000_003.jpg")],
         "source videos", 2),
        ([("train", "Celeb-real/id1_0001/1.jpg"), ("test", "Celeb-synthesis/id1_id2_0003/1.jpg")],
         "people", 1),
        ([("train", "real/01__kitchen_pan/1.jpg"), ("val", "fake/02_01__kitchen_pan__AB/1.jpg")],
         "people", 1),
        ([("train", "fake/000_M101/1.jpg"), ("val", "real/M101/light/1.jpg")], "people", 1),
        ([("train", "RealVideo/id00076/00109/1.jpg"),
          ("test", "FakeVideo/id00166/00109_id00076_wavtolip/1.jpg")], "people", 1),
        ([("train", "dfdc_train_part_1/a/1.jpg"), ("test", "dfdc_train_part_1/b/1.jpg"),
          ("test", "dfdc_train_part_2/b/1.jpg")], "people", 1),
        ([("train", "fake_train/12/fake/1/1.jpg"), ("test", "fake_train/12/fake/2/1.jpg"),
          ("test", "real_train/12/1/1.jpg")], "source videos", 1),
    ],
)  # fmt: skip
def test_names_of_known_sets_leak_though_no_groups_were_given(audited, names, kind, count):
    assert kinds(audited(change=renamed(names)), "error") == {f"leak: {kind} across splits": count}


@pytest.mark.parametrize(
    "names",
    [
        [("train", "real/001.jpg"), ("test", "fake/001.jpg")],
        [("train", "real/IMG_0001.jpg"), ("test", "fake/IMG_0001.jpg")],
        [("train", "real/id1_0001.jpg"), ("test", "fake/id2_id3_0001.jpg")],
        [("train", "Real/real_1.jpg"), ("test", "Real/real_2.jpg")],
        [("train", "a/100_200.jpg"), ("val", "b/100_200.jpg")],
    ],
)
def test_names_that_only_count_are_no_leak(audited, names):
    assert audited(change=renamed(names)).clear


def shifted(paths, table, target):
    """Plant a forgery: another portrait's face in the middle of the first one."""
    one, other = (np.asarray(Image.open(paths[row])) for row in (0, 1))
    pixels, side = one.copy(), len(one) // 8
    middle = slice(3 * side, 5 * side)
    pixels[middle, middle] = other[middle, middle]
    Path(paths[target]).write_bytes(jpeg(pixels))


@pytest.mark.parametrize("name", ["fake/7.jpg", "fake/7_swapped.jpg", "fake/7_12.jpg"])
def test_a_forgery_and_its_original_of_one_name_in_two_splits_leak(audited, name, monkeypatch):
    from faceproof.audit import related

    monkeypatch.setattr(related, "MAX_DISTANCE", -1)  # a drawn forgery may be nearer than most

    def change(paths, table):
        shifted(paths, table, target=2)
        renamed([("train", "real/7.jpg"), ("train", "x.jpg"), ("test", name)])(paths, table)

    found = kinds(audited(change=change), "error")
    assert found["leak: counterparts across splits"] == 1


def test_connected_images_across_splits_leak(audited):
    nothing = [None] * (2 * NUM - 3)
    components, groups = ["one", None, "one", *nothing], ["a", None, "b", *nothing]
    found = kinds(audited(component=components, group=groups), "error")
    assert found == {"leak: components across splits": 1}
    found = kinds(audited(component=components, group=components), "error")
    assert found == {"leak: groups across splits": 1}


def test_unreadable_and_odd_files(audited):
    def change(paths, table):
        for row in (5, 6):
            Path(paths[row]).write_bytes(b"nothing")
        tiny = Image.new("RGB", (8, 60))
        tiny.save(paths[7], "PNG")

    audit = audited(change=change)
    assert kinds(audit, "warning") == {"unreadable files": 2}
    assert kinds(audit, "info") == {"misnamed files": 1, "tiny images": 1, "elongated images": 1}
    assert audit.num_images == 2 * NUM - 2


def test_class_balance(audited):
    labels = ["real"] * (2 * NUM - 4) + ["fake"] * 4
    audit = audited(label=labels, split=["train"] * 2 * NUM)
    assert "class imbalance" in kinds(audit, "info")
    assert not audit.shortcuts  # too few of a class to tell
    assert kinds(audit, "info")["shortcuts not measured"] == 2 * NUM


def test_unlabelled_images_have_no_shortcuts(audited):
    audit = audited(label=[None] * 2 * NUM, split=["unlabelled"] * 2 * NUM)
    assert audit.clear
    assert not audit.shortcuts


def test_an_audit_is_plain_data(audited):
    import json

    found = json.loads(json.dumps(audited(png).to_json()))
    assert found["clear"] is False
    assert found["shortcuts"][0]["auroc"] > 0.9


def test_an_audit_is_cached_until_something_changes(portraits, tmp_path, monkeypatch):
    from faceproof.audit import audit as auditing

    paths = [tmp_path / f"{number}.jpg" for number in range(8)]
    for path, pixels in zip(paths, portraits[:8], strict=True):
        path.write_bytes(jpeg(pixels))
    columns = {
        "path": [str(p) for p in paths],
        "label": ["real", "fake"] * 4,
        "split": ["train"] * 8,
    }
    data = DataSet("mine", TASK, table_from_columns(columns))
    made = []
    original = auditing.audit_data
    monkeypatch.setattr(auditing, "audit_data", lambda *a: made.append(1) or original(*a))
    first = auditing.cached_audit(data, gather_file_statistics(columns["path"], None))
    assert auditing.cached_audit(data, gather_file_statistics(columns["path"], None)) == first
    assert len(made) == 1
    paths[0].write_bytes(paths[2].read_bytes())
    assert auditing.cached_audit(data, gather_file_statistics(columns["path"], None)) != first
    assert len(made) == 2


def test_the_page_shows_the_pairs_and_escapes_names(audited):
    from faceproof.reports.audit_page import audit_page, describe

    audit = audited(change=copy_file(0, 2))
    page = audit_page(audit)
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    assert "the same file" in page
    assert "002.jpg" in page
    assert "http:" not in page
    assert "https:" not in page
    assert describe(audit).startswith("LEAK: identical files across splits (1): ")
