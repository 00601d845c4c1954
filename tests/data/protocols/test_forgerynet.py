"""ForgeryNet: its lists, what made a fake, and labels that count the other way round."""

from collections import Counter
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from tests import protocol_trees as trees
from tests.data.protocols.listing import listed, rows_of

FAKE = "Training/image/train_release/7/clip0/frame00038.jpg"
REAL = "Validation/image/val_release/17/clip1/frame00038.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.forgerynet(tmp_path, Path.touch)


def test_lists_say_split_and_label_and_folders_what_made_a_fake(root: Path) -> None:
    rows = rows_of(listed("forgerynet", f"data.root={root}"), root)
    assert (rows[FAKE]["label"], rows[FAKE]["split"]) == ("fake", "train")
    assert (rows[REAL]["label"], rows[REAL]["split"]) == ("real", "val")
    assert (rows[FAKE]["generator"], rows[REAL]["generator"]) == ("Talking Head Video", None)
    assert rows[FAKE]["group"] == "forgerynet/train_release/7/clip0"
    assert {row["pair"] for row in rows.values()} == {None}
    assert Counter(row["label"] for row in rows.values()) == {"real": 4, "fake": 4}


def test_a_list_that_counts_the_other_way_round_is_refused_and_can_be_said(root: Path) -> None:
    for file in root.glob("*/image_list.txt"):
        text = file.read_text().replace(" 1 1 15", " 0 1 15").replace(" 0 0 0", " 1 0 0")
        file.write_text(text)
    swapped = ("data.labels.0=fake", "data.labels.1=real")
    with pytest.raises(FaceproofError, match=f"folder 7 is one of fake .*set {' '.join(swapped)}"):
        listed("forgerynet", f"data.root={root}")
    rows = rows_of(listed("forgerynet", f"data.root={root}", *swapped), root)
    assert (rows[FAKE]["label"], rows[REAL]["label"]) == ("fake", "real")


def test_a_method_without_a_name_is_called_by_its_number(root: Path) -> None:
    rows = rows_of(listed("forgerynet", f"data.root={root}", "data.generators.7=null"), root)
    assert rows[FAKE]["generator"] == "method_7"


def test_images_beside_the_list_are_found_too(root: Path) -> None:
    for folder in ("Training", "Validation"):
        for one in (root / folder / "image").iterdir():
            one.rename(root / folder / one.name)
    assert listed("forgerynet", f"data.root={root}").table.num_rows == 8


def test_missing_images_and_lists_are_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / FAKE).unlink()
    assert listed("forgerynet", f"data.root={root}").table.num_rows == 7
    assert "1 of 4 images are not there" in caplog.text
    with pytest.raises(FaceproofError, match=r"no .*Test/list\.txt; .*data\.lists\.test=null"):
        listed("forgerynet", f"data.root={root}", "data.lists.test=Test/list.txt")
    with pytest.raises(FaceproofError, match="not null for all"):
        listed("forgerynet", f"data.root={root}", "data.lists.train=null", "data.lists.val=null")


@pytest.mark.parametrize(
    ("line", "message"),
    [("a.jpg 1", "line 1 is 'a.jpg 1'; each should be a path and three numbers"),
     ("a.jpg 3 0 0", "has the class '3' .* which data.labels does not know")],
)  # fmt: skip
def test_a_line_of_another_form_is_refused(root: Path, line: str, message: str) -> None:
    (root / "Training/image_list.txt").write_text(line)
    with pytest.raises(FaceproofError, match=message):
        listed("forgerynet", f"data.root={root}")
