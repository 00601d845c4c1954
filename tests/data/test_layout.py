"""Layout lines: what they take, what they leave, and what they say when they do not fit."""

import logging
import os
import re
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data import layout as layouts
from faceproof.data.layout import layout_pattern, list_folder, walk_files
from faceproof.errors import FaceproofError

LABELS = {"real": "real", "fake": "fake"}
SPLITS = {"train": "train", "valid": "val", "rest": "auto", "extra": None}


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def rows(root: Path, layout: str, **maps: dict[str, str | None]) -> dict[str | None, dict]:
    words = {"labels": LABELS, "splits": SPLITS, "generators": {}, **maps}
    columns = list_folder(root, layout, **words)
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {row.pop("path"): {k: v for k, v in row.items() if v is not None} for row in table}


@pytest.mark.parametrize(
    ("layout", "path", "found"),
    [
        ("{label}/*", "Real/1.jpg", {"label": "Real"}),
        ("{label}/*", "Real/deeper/1.jpg", None),
        ("{label}/**", "Real/1.jpg", {"label": "Real"}),
        ("{label}/**", "Real/a/b/1.jpg", {"label": "Real"}),
        ("{label}/**/*", "Real/1.jpg", {"label": "Real"}),
        ("**/{label}/*", "real/1.jpg", {"label": "real"}),
        ("**/{label}/*", "a/b/real/1.jpg", {"label": "real"}),
        ("/Data Set/{label}/*/", "data set/real/1.jpg", {"label": "real"}),
        ("{label}-{generator}/**", "1-Style-GAN/a/1.jpg", {"label": "1", "generator": "Style-GAN"}),
        ("{label}/{generator}_*", "real/easy_1_2.jpg", {"label": "real", "generator": "easy"}),
        ("{label}/{group}_{split}.*", "a/id0_train.png", {"group": "id0", "split": "train"}),
        ("a.b/{label}/*", "aXb/real/1.jpg", None),
        ("{label}(1)/*", "real(1)/1.jpg", {"label": "real"}),
        ("{label}/*.png", "real/1.jpg", None),
        ("{label}/*", "/1.jpg", None),
        ("{label}/*", "real/with\na line.jpg", {"label": "real"}),
        ("{label}/**", "real/with\na line.jpg", {"label": "real"}),
        ("**/{label}/*", "with\na line/real/1\n.jpg", {"label": "real"}),
    ],
)
def test_what_fits_a_layout_line(layout: str, path: str, found: dict[str, str] | None) -> None:
    match = layout_pattern(layout).fullmatch(path)
    assert (match is None) == (found is None)
    if match is not None and found is not None:
        assert found.items() <= match.groupdict().items()


@given(st.text(alphabet="ab.-([+$ ", min_size=1, max_size=8))
def test_what_is_not_a_placeholder_stands_for_itself(word: str) -> None:
    assert layout_pattern(f"{word}/*").fullmatch(f"{word.upper()}/1.jpg")


@pytest.mark.parametrize("layout", ["{class}/*", "{label}/{label}/*", "{}/*"])
def test_unknown_and_repeated_placeholders_are_refused(layout: str) -> None:
    with pytest.raises(FaceproofError, match=r"it may have \{split\}, \{label\}, .*once each"):
        layout_pattern(layout)


def test_words_are_mapped_in_any_case_and_null_leaves_out(tmp_path: Path) -> None:
    touch(tmp_path, "TRAIN/Real/1.jpg", "Valid/FAKE/1.jpg", "rest/real/1.jpg", "Extra/real/1.jpg")
    assert rows(tmp_path, "{split}/{label}/*") == {
        "TRAIN/Real/1.jpg": {"split": "train", "label": "real"},
        "Valid/FAKE/1.jpg": {"split": "val", "label": "fake"},
        "rest/real/1.jpg": {"split": "auto", "label": "real"},
    }


def test_generators_are_taken_as_they_are_unless_they_are_mapped(tmp_path: Path) -> None:
    touch(tmp_path, "fake-StyleGAN/a.jpg", "fake-X1/a.jpg", "real-FFHQ/a.jpg")
    found = rows(tmp_path, "{label}-{generator}/**", generators={"x1": "attgan", "ffhq": None})
    assert [row.get("generator") for row in found.values()] == ["StyleGAN", "attgan", None]


def test_equal_video_names_under_two_manipulations_are_two_groups(tmp_path: Path) -> None:
    touch(tmp_path, "fake/A/000/0.jpg", "fake/A/000/1.jpg", "fake/B/000/0.jpg", "real/C/000/0.jpg")
    found = rows(tmp_path, "{label}/{generator}/{group}/*")
    groups = [row["group"] for row in found.values()]
    assert groups == ["fake/A/000", "fake/A/000", "fake/B/000", "real/C/000"]


def test_the_order_of_listing_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"{label}/{n}.jpg" for label in LABELS for n in "5203"))
    expected = list(rows(tmp_path, "{label}/*").items())
    walk = os.walk

    def backwards(*args: object, **kwargs: object) -> object:
        for folder, subfolders, files in walk(*args, **kwargs):  # type: ignore[call-overload]
            yield folder, subfolders, sorted(files, reverse=True)

    monkeypatch.setattr(layouts.os, "walk", backwards)
    assert list(rows(tmp_path, "{label}/*").items()) == expected


def test_hidden_and_system_files_are_never_images(tmp_path: Path) -> None:
    touch(tmp_path, "real/1.jpg", "real/.DS_Store", "real/Thumbs.db", ".git/x", "a/.cache/1.jpg")
    assert list(walk_files(tmp_path)) == ["real/1.jpg"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg", "deep/2.jpg")
    root = touch(tmp_path / "root", "fake/3.jpg")
    (root / "real").symlink_to(tmp_path / "elsewhere")
    (root / "fake" / "up").symlink_to(root)
    (tmp_path / "elsewhere" / "deep" / "up").symlink_to(tmp_path / "elsewhere")
    assert sorted(walk_files(root)) == ["fake/3.jpg", "real/1.jpg", "real/deep/2.jpg"]


def test_a_folder_with_two_ways_to_it_is_listed_by_both(tmp_path: Path) -> None:
    touch(tmp_path, "all/real/1.jpg", "all/fake/2.jpg")
    (tmp_path / "Dataset").mkdir()
    (tmp_path / "Dataset" / "train").symlink_to(tmp_path / "all")
    (tmp_path / "Dataset" / "valid").symlink_to(tmp_path / "Dataset" / "train")
    found = rows(tmp_path, "Dataset/{split}/{label}/*")
    assert [row["split"] for row in found.values()] == ["train", "train", "val", "val"]
    assert [path.split("/")[1] for path in found] == ["train", "train", "valid", "valid"]


def test_folders_that_link_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    assert sorted(walk_files(tmp_path)) == ["a/1.jpg", "a/to_b/2.jpg", "b/2.jpg", "b/to_a/1.jpg"]
    crowd = touch(tmp_path / "crowd", *(f"{n}/1.jpg" for n in range(8)))
    for one in range(8):
        for other in range(8):
            (crowd / str(one) / f"to_{other}").symlink_to(crowd / str(other))
    with pytest.raises(FaceproofError, match=r"by more than 100 ways; remove those that lead"):
        list(walk_files(crowd))


def test_files_that_do_not_fit_are_counted_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "real/1.jpg", "README.txt", "0.jpg", "real/deeper/2.jpg")
    with caplog.at_level(logging.WARNING):
        assert list(rows(tmp_path, "{label}/*")) == ["real/1.jpg"]
    assert "2 files do not fit the layout {label}/*" in caplog.text
    assert "'0.jpg' the first" in caplog.text
    assert "left out: 1 file of other kinds ('README.txt')" in caplog.text


def test_names_that_are_not_utf8_are_left_out_and_each_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "real/1.jpg")
    for bad in (b"/caf\xe9.jpg", b"/th\xe9.jpg"):
        try:
            os.close(os.open(os.fsencode(tmp_path / "real") + bad, os.O_CREAT))
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
    with caplog.at_level(logging.WARNING):
        assert list(rows(tmp_path, "{label}/*")) == ["real/1.jpg"]
    said = (
        r"2 files have names that are not UTF-8 text .*rename real/caf\\xe9\.jpg, real/th\\xe9\.jpg"
    )
    assert re.search(said, caplog.text)
    assert "do not fit" not in caplog.text


def test_an_unmapped_word_is_refused_with_both_trees_and_the_setting(tmp_path: Path) -> None:
    touch(tmp_path, "Deepfake/1.jpg", "real/1.jpg", "real/2.jpg")
    with pytest.raises(FaceproofError) as refusal:
        rows(tmp_path, "{label}/*")
    assert str(refusal.value) == (
        "the folder word 'Deepfake' (in Deepfake/1.jpg) is no label that data.labels knows: "
        "real, fake\n"
        "expected, by data.layout = '{label}/*':\n"
        f"  {tmp_path}/\n"
        "    real|fake/\n"
        "      * (images)\n"
        "found:\n"
        f"  {tmp_path}/\n"
        "    Deepfake/ (1 files, '1.jpg' the first)\n"
        "    real/ (2 files, '1.jpg' the first)\n"
        "add to the command: data.labels.Deepfake=NAME (NAME is one of real, fake, or null to "
        "leave the folder out), or set data.layout"
    )


def test_a_missing_root_and_one_where_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError) as refusal:
        rows(tmp_path / "absent", "x/{split}/{label}/**")
    for text in ("there is no folder", "absent/\n    x/\n      train|valid|rest|extra/", "...",
                 "set data.root", "FACEPROOF_DATA"):  # fmt: skip
        assert text in str(refusal.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FaceproofError, match=r"no image below .*empty fits"):
        rows(tmp_path / "empty", "{label}/*")
    touch(tmp_path, "images/Other/1.jpg")
    with pytest.raises(FaceproofError, match=r"(?s)found:.*Other/ \(1 files.*set data.root or"):
        rows(tmp_path, "{label}/*")


def test_all_unknown_words_are_named_at_once(tmp_path: Path) -> None:
    touch(
        tmp_path, "train/old/1.jpg", "train/my masks/1.jpg", "extra_2/real/1.jpg", "test/real/1.jpg"
    )
    with pytest.raises(FaceproofError) as refusal:
        rows(tmp_path, "{split}/{label}/*")
    first, *_, last = str(refusal.value).splitlines()
    assert "the folder word 'extra_2' (in extra_2/real/1.jpg) is no split" in first
    assert "'my masks' (in train/my masks/1.jpg), 'old' (in train/old/1.jpg) are no labels" in first
    assert last.startswith("add to the command: data.splits.extra_2=NAME (NAME is one of train, ")
    assert "'data.labels.my masks=NAME' data.labels.old=NAME (NAME is one of real, fake, or" in last


@pytest.mark.parametrize("layout", ["{label}/*", "{split}/{label}/**"])
def test_a_root_that_is_a_folder_too_high_is_asked_about(tmp_path: Path, layout: str) -> None:
    for number in range(3):
        touch(tmp_path / "my archive/data", f"real/{number}.jpg", f"train/fake/{number}.jpg",
              f"train/real/{number}.jpg")  # fmt: skip
    wanted = tmp_path / "my archive/data"
    if layout == "{label}/*":
        wanted /= "train"
    else:
        shutil.rmtree(wanted / "real")
    with pytest.raises(FaceproofError) as refusal:
        rows(tmp_path, layout)
    assert str(refusal.value).endswith(f"did you mean 'data.root={wanted}'?")
    assert "data.labels.my" not in str(refusal.value)
    assert rows(wanted, layout)


def test_what_faceproof_has_written_is_nobody_s_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, sweep = "runs/2026", "multirun/a"
    touch(tmp_path, "real/1.jpg", f"{run}/config.yaml", f"{run}/record.json",
          f"{run}/evaluations/demo-test/plots/roc.png", f"{sweep}/leaderboard.csv",
          f"{sweep}/sweep.lock",
          f"{sweep}/b/plots/real.png", "explore/explore.html", "explore/explore.json",
          "explore/real.png", "notes/config.yaml", "notes/2.jpg")  # fmt: skip
    assert list(walk_files(tmp_path)) == ["notes/2.jpg", "real/1.jpg"]
    assert rows(tmp_path, "{label}/*", labels={"real": "real", "notes": "fake"})
    assert "3 folders that faceproof has written ('explore', ...)" in caplog.text
    assert list(walk_files(tmp_path / "explore")) == ["real.png"]  # it was named


def test_the_tree_that_is_shown_is_short_and_follows_links(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", *(f"{n:02}/x/1.jpg" for n in range(30)))
    (root / "00" / "link").symlink_to(root)
    shown = layouts.found_tree(root).splitlines()
    assert len(shown) == layouts.TREE_LINES + 2
    assert shown[-1].strip() == "..."
    assert any(re.fullmatch(r" +link/", line) for line in shown)


def test_listing_looks_into_each_folder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"{label}/{n}.jpg" for label in LABELS for n in range(50)))
    scans = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scans.append(path) or scandir(path))
    assert len(rows(tmp_path, "{label}/*")) == 100
    assert len(scans) == 3


def test_a_folder_that_cannot_be_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "real/1.jpg", "fake/1.jpg")
    scandir = os.scandir

    def locked(path: str) -> object:
        if path.endswith("fake"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(FaceproofError, match=r"fake cannot be listed \(Permission denied\)"):
        rows(tmp_path, "{label}/*")


@pytest.mark.parametrize("there", [True, False])
def test_a_root_that_is_no_text_is_refused(tmp_path: Path, there: bool) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9")
    if there:
        touch(root, "real/1.jpg", "fake/1.jpg")
    with pytest.raises(
        FaceproofError, match=r"data\.root = .*caf\\xe9 is not UTF-8 text"
    ) as refusal:
        rows(root, "{label}/*")
    str(refusal.value).encode()


def test_what_systems_leave_is_left_out_and_counted_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, *(f"{label}/{n}.jpg" for label in LABELS for n in range(3)))
    touch(tmp_path, *(f"{label}/{n}.jpg:Zone.Identifier" for label in LABELS for n in range(3)))
    touch(tmp_path, "real/Icon\r", "real/._1.jpg", "fake/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg")
    with caplog.at_level(logging.WARNING):
        assert len(rows(tmp_path, "{label}/**", splits={})) == 6
    (line,) = caplog.messages
    assert "8 hidden files, or of systems and programs ('fake/0.jpg:Zone" in line
    assert "left out: 1 hidden folder, or of systems and programs ('fake/@eaDir')" in line


def test_folders_of_videos_are_named_so(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4", "fake/b.mp4", "fake/notes.txt")
    with pytest.raises(FaceproofError) as refusal:
        rows(tmp_path, "{label}/*")
    message = str(refusal.value)
    assert "there is no image below" in message
    assert "2 videos ('fake/b.mp4', ...): faceproof predict judges videos" in message
    assert "max_unreadable" not in message


def test_images_that_are_not_read_are_counted_with_what_reads_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceproof.data.kinds._installed", frozenset)
    touch(tmp_path, "real/1.jpg", "real/2.HEIC", "fake/3.heic", "fake/4.dng", "fake/5.jp2")
    with caplog.at_level(logging.WARNING):
        assert list(rows(tmp_path, "{label}/*")) == ["real/1.jpg"]
    assert "2 HEIC files ('fake/3.heic', ...): pip install 'faceproof[heif]'" in caplog.text
    assert "1 camera raw file ('fake/4.dng'): develop" in caplog.text
    assert "1 JPEG 2000 file ('fake/5.jp2'): save them as PNG" in caplog.text


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_accents_composed_and_decomposed_are_one_word(
    tmp_path: Path, on_disk: Any, written: Any
) -> None:
    def disk(name: str) -> str:
        return unicodedata.normalize(on_disk, name)

    touch(tmp_path, disk("Données/Réel/clip é/1.jpg"))
    layout = unicodedata.normalize(written, "données/{label}/{group}/*")
    found = rows(tmp_path, layout, labels={unicodedata.normalize(written, "RÉEL"): "real"})
    group = unicodedata.normalize("NFC", "Données/Réel/clip é")
    assert found == {disk("Données/Réel/clip é/1.jpg"): {"label": "real", "group": group}}


@pytest.mark.parametrize(
    ("word", "split"),
    [("Training", "train"), ("VALIDATION", "val"), ("dev", "val"), ("Testing", "test")],
)
def test_usual_words_for_splits_need_no_setting(tmp_path: Path, word: str, split: str) -> None:
    touch(tmp_path, f"{word}/real/1.jpg")
    (row,) = rows(tmp_path, "{split}/{label}/*", splits={}).values()
    assert row["split"] == split
    (row,) = rows(tmp_path, "{split}/{label}/*", splits={word.lower(): "auto"}).values()
    assert row["split"] == "auto"
