"""Connected components of several keys, against a search written out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.groups import check_groups, components, values_by_row
from faceproof.errors import FaceproofError

ROWS = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=3, unique=True), max_size=12)


def searched(rows):
    """Return the components by growing each row's set until nothing joins it."""
    found = []
    for row in rows:
        inside = set(row)
        while more := {v for other in rows if inside & set(other) for v in other} - inside:
            inside |= more
        found.append(min(inside) if inside else None)
    return found


@given(ROWS)
def test_components_are_those_that_a_search_finds(rows):
    assert components(rows) == searched(rows)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_values_changes_nothing(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    shuffled = [random.sample(rows[n], len(rows[n])) for n in order]
    found = components(shuffled)
    assert {n: found[place] for place, n in enumerate(order)} == dict(enumerate(components(rows)))


def test_keys_from_words_patterns_and_names():
    groups = check_groups({"clip": None, "who": "p[0-9]+", "identity": None})
    words = {"clip": ["A", "B", None], "who": ["P1-p2", "x", "p2"]}
    paths = ["id3_0001.png", "1.png", "id3_id4_0001.png"]
    assert values_by_row(groups, words, paths) == [
        ("clip=a", "who=p1", "who=p2", "identity=id3"),
        ("clip=b",),
        ("who=p2", "identity=id3", "identity=id4"),
    ]


def test_the_groups_of_a_pattern_are_values():
    groups = check_groups({"video": "^([0-9]+)(?:_([0-9]+))?$"})
    words = {"video": ["000_003", "003"]}
    assert values_by_row(groups, words, ["", ""]) == [("video=000", "video=003"), ("video=003",)]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"who": "p["}, r"groups\.who = 'p\[' must be a regular expression"),
        (["a b"], "no name of a key"),
    ],
)
def test_groups_that_cannot_be(groups, message):
    with pytest.raises(FaceproofError, match=message):
        check_groups(groups)


@pytest.mark.parametrize("groups", [["mother"], {"identity": "p[0-9]+"}])
def test_a_key_that_is_not_there_is_refused(groups):
    with pytest.raises(FaceproofError, match=r"is not there; found clip\. Add \{"):
        values_by_row(check_groups(groups), {"clip": ["a"]}, ["1.png"])
