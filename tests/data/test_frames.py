import pytest

from faceproof.data.frames import evenly_spaced
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError


def rows(**groups):
    paths = [f"/{group}/{n}.png" for group, size in groups.items() for n in range(size)]
    columns = {"path": paths, "group": [path.split("/")[1] for path in paths]}
    return table_from_columns(columns)


def frames(table):
    return [int(path.split("/")[2][:-4]) for path in table["path"].to_pylist()]


@pytest.mark.parametrize(
    ("size", "num", "expected"),
    [(100, 4, [12, 37, 62, 87]), (12, 3, [2, 6, 10]), (5, 5, [0, 1, 2, 3, 4]), (7, 1, [3])],
)
def test_frames_are_spread_over_the_whole_video(size, num, expected):
    assert frames(evenly_spaced(rows(a=size), num)) == expected


def test_numbers_in_names_count_as_numbers():
    table = rows(a=30)
    backwards = table.take(list(range(29, -1, -1)))
    assert (
        sorted(frames(evenly_spaced(backwards, 3)))
        == frames(evenly_spaced(table, 3))
        == [5, 15, 25]
    )


def test_short_groups_and_single_images_stay():
    single = table_from_columns({"path": ["/x.png", "/y.png"]})
    assert evenly_spaced(single, 1).num_rows == 2
    found = evenly_spaced(rows(a=2, b=50), 4)
    assert found["group"].to_pylist() == ["a", "a", "b", "b", "b", "b"]


def test_no_frames_are_refused():
    with pytest.raises(FaceproofError, match="at least 1"):
        evenly_spaced(rows(a=3), 0)
