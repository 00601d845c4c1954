"""The draw of the images that are measured."""

from faceproof.data.table import table_from_columns
from faceproof.explain.sampling import sample_rows


def test_a_sample_takes_one_image_of_a_group():
    rows = table_from_columns(
        {"path": [f"{n}.jpg" for n in range(9)], "label": ["real"] * 9, "group": list("aaabbbccc")}
    )
    assert sorted(sample_rows(rows, 9, 0)["group"].to_pylist()) == ["a", "b", "c"]
    alone = table_from_columns({"path": [f"{n}.jpg" for n in range(9)], "label": ["real"] * 9})
    assert sample_rows(alone, 5, 0).num_rows == 5
    assert sample_rows(alone, 5, 0)["path"] == sample_rows(alone, 5, 0)["path"]


def test_a_sample_has_one_image_of_what_people_connect():
    columns = {"group": list("aabbccddd"), "component": [*["x"] * 4, *[None] * 5]}
    named = {"path": [f"{n}.jpg" for n in range(9)], "label": ["real"] * 9}
    rows = table_from_columns(named | columns)
    found = sample_rows(rows, 9, 0)["group"].to_pylist()
    assert len(found) == 3
    assert {*found} >= {"c", "d"}
