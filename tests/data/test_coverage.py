"""How much of a published list is there, in numbers and words."""

import json

import pytest

from faceproof.data.coverage import Coverage
from faceproof.errors import FaceproofError
from faceproof.io.parse import parse

COVERAGE = Coverage("mine", "ab12", {"test": (100, 10, 5), "train": (900, 0, 0)})


def test_shares_are_of_all_and_of_each_split() -> None:
    assert COVERAGE.numbers() == (1000, 10, 5)
    assert COVERAGE.share() == 0.985
    assert COVERAGE.share("test") == 0.85
    assert COVERAGE.lowest() == (0.85, "test")
    assert COVERAGE.numbers("val") == (0, 0, 0)


def test_it_is_told_for_all_and_for_a_split() -> None:
    assert COVERAGE.told() == (
        "protocol mine: 98.5% of 1,000 images present and unchanged (digest of the list ab12)"
    )
    assert "; of its split test 85.0% of 100 (digest" in COVERAGE.told("test")
    assert COVERAGE.told("all") == COVERAGE.told()


def test_nearly_all_is_not_called_all() -> None:
    told = Coverage("x", "d", {"test": (100_000, 1, 0)}).told("test")
    assert told == (
        "protocol x: over 99.9% of 100,000 images present and unchanged (digest of the list d)"
    )


def test_it_is_read_from_its_json_and_other_forms_are_refused() -> None:
    values = json.loads(json.dumps(COVERAGE.to_json()))
    assert parse(Coverage, values) == COVERAGE
    with pytest.raises(FaceproofError, match="splits"):
        parse(Coverage, {**values, "splits": {"test": [1, 2]}})
