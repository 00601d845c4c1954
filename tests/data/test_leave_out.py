"""What is left out of a data set, and what of it is judged."""

import logging

import pyarrow as pa
import pytest

from faceproof.data.leave_out import LeaveOutConfig, TrainPartConfig, leave_out, names_in
from faceproof.data.listing import DataSet
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.settings import make
from faceproof.task import get_task


def data_set(**changes):
    """Return two sources of two generators each in every split; `c` is judged whole."""
    rows = []
    for source, splits in (("a", ("train", "val", "test")), ("b", ("train", "val", "test")),
                           ("c", ("train", "val"))):  # fmt: skip
        for split in splits:
            for label, generator in (("real", None), ("fake", "warp"), ("fake", "blend")):
                rows.append(
                    {"label": label, "split": split, "source": source, "generator": generator,
                     "path": f"/{source}/{split}/{generator or 'real'}"}
                )  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    table = table_from_columns(columns | {name: make(rows) for name, make in changes.items()})
    return DataSet("abc", get_task("deepfake"), table)


def paths(table):
    return sorted(table["path"].to_pylist())


def test_a_source_is_absent_with_all_of_its_splits_and_judged_on_its_test_images():
    data = data_set()
    kept, held_out = leave_out(data, LeaveOutConfig(source="b"))
    assert names_in(kept, "source") == ["a", "c"]
    assert kept.table.num_rows == data.table.num_rows - 9
    assert paths(held_out) == ["/b/test/blend", "/b/test/real", "/b/test/warp"]


def test_a_source_without_test_images_is_judged_on_all_unless_the_split_says_otherwise():
    data = data_set()
    found = {
        split: leave_out(data, LeaveOutConfig(source=["c"], split=split))[1].num_rows
        for split in ("auto", "test", "all")
    }
    assert found == {"auto": 6, "test": 0, "all": 6}
    _, of_b = leave_out(data, LeaveOutConfig(source="b", split="all"))
    assert of_b.num_rows == 9


def test_fakes_of_a_generator_are_absent_and_judged_beside_the_real_images_of_the_test_split():
    kept, held_out = leave_out(data_set(), LeaveOutConfig(generator=["warp"]))
    assert names_in(kept, "generator") == ["blend"]
    assert [path for path in paths(kept.table) if path.endswith("real")] == [
        f"/{source}/{split}/real" for source, splits in
        (("a", "test train val"), ("b", "test train val"), ("c", "train val"))
        for split in splits.split()
    ]  # fmt: skip
    assert paths(held_out) == ["/a/test/real", "/a/test/warp", "/b/test/real", "/b/test/warp"]


def test_every_generator_of_one_source_is_judged_beside_the_same_real_images():
    data = data_set()
    one = DataSet("a", data.task, data.table.filter(pa.array(
        [source == "a" for source in data.table["source"].to_pylist()]
    )))  # fmt: skip
    real = [
        [path for path in paths(leave_out(one, LeaveOutConfig(generator=name))[1])
         if path.endswith("real")]
        for name in ("warp", "blend")
    ]  # fmt: skip
    assert real == [["/a/test/real"]] * 2


def test_what_train_alone_leaves_out_stays_in_validation_and_test():
    config = LeaveOutConfig(train=TrainPartConfig(generator="warp", source=["c"]))
    kept, held_out = leave_out(data_set(), config)
    assert held_out is None
    found = {path for path in paths(kept.table) if "train" in path}
    assert found == {"/a/train/real", "/a/train/blend", "/b/train/real", "/b/train/blend"}
    assert {"/a/val/warp", "/c/val/real", "/b/test/warp"} <= set(paths(kept.table))


def test_images_that_share_a_group_with_training_are_not_judged(caplog):
    def groups(rows):
        return [
            "shared" if row["path"] in ("/b/test/real", "/a/val/real") else None for row in rows
        ]

    for column in ("group", "component"):
        with caplog.at_level(logging.WARNING):
            _, held_out = leave_out(data_set(**{column: groups}), LeaveOutConfig(source="b"))
        assert paths(held_out) == ["/b/test/blend", "/b/test/warp"]
        assert "1 image of what is left out share a group or a person" in caplog.text
        caplog.clear()


def test_nothing_left_out_leaves_the_data_set_as_it_is():
    data = data_set()
    assert leave_out(data, LeaveOutConfig()) == (data, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"source": ["d"]}, "leave_out.source names 'd', which is not in the data set"),
        ({"generator": "wrap"}, "leave_out.generator names 'wrap'.* did you mean warp"),
        ({"train": {"source": ["d"]}}, r"leave_out.train.source names 'd'.* there are a, b, c"),
        ({"generator": ["warp", "blend"]}, "leaves no image of class fake in the split train"),
        ({"source": 3}, "source = 3 must be a name, or a list of names"),
        ({"split": "test"}, "split = test changes nothing"),
        ({"split": "train", "source": "a"}, "split = 'train' must be one of auto, test, all"),
        ({"source": "a", "train": {"source": "a"}}, "names a, which leave_out.source leaves out"),
        ({"sorce": "a"}, "did you mean leave_out.source"),
    ],
)
def test_what_makes_no_sense_is_refused(values, said):
    with pytest.raises(FaceproofError, match=said):
        leave_out(data_set(), make(LeaveOutConfig, values, "leave_out"))
