"""Whatever stands in a setting, it is taken or refused by one message, before torch is asked."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faceproof import app
from faceproof.errors import FaceproofError
from faceproof.training.config import make_train_config
from tests.jobs import compose_job

WRONG: list[Any] = [
    None, True, -1, 0, 1.5, math.inf, math.nan, 10**30, "", "wrong", "os.system", [], ["x"], [None],
    {}, {"x": 1}, {"name": "x"},
]  # fmt: skip
COMBINED = ("data=combined", "scheduler=plateau", "augment=zoom", "freeze=gradual")


def leaves(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value, those that hold others too."""
    if place:
        yield place
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*place, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from leaves(value, (*place, number))


def test_a_strength_of_no_range_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = ("model=face_cnn", "augment=flip", "augment.strength=2")
    make_train_config(app.training_values(compose_job("train", tmp_path, words)))
    assert "augment.strength = 2 changes nothing" in caplog.text


def with_value(values: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    inner: Any = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


@pytest.mark.parametrize("words", [(), COMBINED], ids=["default", "combined"])
def test_a_wrong_value_anywhere_is_taken_or_refused_in_one_message(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    values = app.training_values(compose_job("train", tmp_path, words))
    places = list(leaves(values))
    assert len(places) > 70
    refused = 0
    for place in places:
        for value in WRONG:
            try:
                make_train_config(with_value(values, place, value))
            except FaceproofError:
                refused += 1
            except Exception as error:
                error.add_note(f"{place} = {value!r}")
                raise
    assert refused > 5 * len(places)


def test_a_setting_that_is_left_out_is_named_or_has_a_default(tmp_path: Path) -> None:
    values = app.training_values(compose_job("train", tmp_path, ()))
    for name in values:
        rest = {key: value for key, value in values.items() if key != name}
        if name in ("data", "model", "optimizer", "scheduler", "freeze", "trainer"):
            with pytest.raises(FaceproofError, match=f"^{name} is missing"):
                make_train_config(rest)
        else:
            make_train_config(rest)
