"""A stranger's JSON becomes typed values, or is refused by one kind of error."""

import copy
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from faceproof.artifact.card import Card
from faceproof.artifact.model_card import model_card
from faceproof.errors import FaceproofError
from faceproof.evaluation.json_values import plain
from faceproof.io.parse import parse
from faceproof.workflows.export import export_cascade
from tests.small_runs import write_ensemble, write_run

ODD = (None, True, -1, 0.5, 1e300, 2**70, "", "é\n|`", [], [1], {}, {"a": []}, "../x")


@dataclass(frozen=True)
class Inner:
    numbers: tuple[float, ...]
    pair: tuple[int, str] | None


@dataclass(frozen=True)
class Outer:
    inner: Inner
    words: dict[str, bool]
    free: Any
    how: Literal["mean", "max"]


GOOD = {
    "inner": {"numbers": [1, 2.5], "pair": [3, "x"]},
    "words": {"a": True},
    "free": {"deep": [1, None, "x"]},
    "how": "max",
}


def test_what_fits_is_made_and_written_again():
    made = parse(Outer, GOOD)
    free = {"deep": [1, None, "x"]}
    assert made == Outer(Inner((1.0, 2.5), (3, "x")), {"a": True}, free, "max")
    assert plain(made) == GOOD
    assert parse(Inner, {"numbers": [], "pair": None}) == Inner((), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.pop("free"), "^it lacks or should not have free"),
        (lambda g: g["inner"].update(more=1), "^inner lacks or should not have more"),
        (lambda g: g["inner"].update(numbers=[1, "2"]), r"^inner\.numbers\.1 = '2' must be a fini"),
        (lambda g: g["inner"].update(numbers=[True]), "must be a finite number"),
        (lambda g: g["inner"].update(pair=[3]), r"^inner\.pair = '\[3\]' must be a list of 2"),
        (lambda g: g["inner"].update(pair=[3.0, "x"]), r"^inner\.pair\.0 = .* a whole number"),
        (lambda g: g.update(words={"a": 1}), r"^words\.a = '1' must be true or false"),
        (lambda g: g.update(words=[]), "^words = .* must be a mapping"),
        (lambda g: g.update(inner=3), "^inner = '3' must be a mapping"),
        (lambda g: g.update(how="min"), "^how = 'min' must be one of mean, max"),
        (lambda g: g.update(how=[]), "^how = .* must be one of mean, max"),
        (lambda g: g.update(free=2**64), "^free = .* must be a whole number"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change, message):
    given = copy.deepcopy(GOOD)
    change(given)
    with pytest.raises(FaceproofError, match=message):
        parse(Outer, given)


def places(node, path=()):
    """Yield the path of every value in a card."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def test_whatever_stands_in_a_card_it_is_read_and_shown_or_refused(tmp_path):
    ensemble = write_ensemble(tmp_path / "ensemble", task="face")
    export_cascade(ensemble, write_run(tmp_path / "run"), tmp_path / "cascade")
    card = json.loads((tmp_path / "cascade" / "card.json").read_text())
    counted = {True: 0, False: 0}
    for path in places(card):
        for value in ODD:
            changed = copy.deepcopy(card)
            node = changed
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            try:
                read = Card.read_json(changed)
            except FaceproofError:
                counted[False] += 1
                continue
            counted[True] += 1
            assert read.to_json() == changed or isinstance(value, int | float)
            assert model_card(read, "folder").startswith("# ")
    assert counted[False] > 2 * counted[True] > 0
