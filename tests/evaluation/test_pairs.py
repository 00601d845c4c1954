"""Pairs: fakes against the very images and videos that they were made from."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.table import table_from_columns
from faceproof.evaluation.calibration import Calibration, calibrated
from faceproof.evaluation.pairs import PairRanking, rank_pairs
from faceproof.evaluation.predictions import predictions_table, sigmoid
from faceproof.task import TASKS

TASK = TASKS["deepfake"]

Row = tuple[str, str | None, str | None, str | None, float]  # label, pair, group, generator, logit


def table(rows: list[Row], components: list[str | None] | None = None) -> pa.Table:
    labels, pairs, groups, generators, logits = zip(*rows, strict=True)
    columns = {
        "path": [f"/{number:04}.png" for number in range(len(rows))],
        "label": labels, "pair": pairs, "group": groups, "generator": generators,
    }  # fmt: skip
    if components is not None:
        columns["component"] = components
    scores = np.array(logits)
    return predictions_table(table_from_columns(columns), scores, sigmoid(scores))


def rank(predictions: pa.Table) -> PairRanking:
    found = rank_pairs(predictions, TASK, 100)
    assert found is not None
    return found


EXAMPLE: list[Row] = [
    ("real", "a", "a", None, 1.0), ("real", "a", "a", None, 3.0),  # a video, mean 2
    ("fake", "a", "a-x", "x", 2.0), ("fake", "a", "a-x", "x", 2.5),  # 2.25: above
    ("fake", "a", "a-y", "y", 0.0), ("fake", "a", "a-y", "y", 3.0),  # 1.5: below
    ("real", "b", None, None, -1.0),
    ("fake", "b", None, "x", -1.0),  # a tie
    ("fake", "b", None, "y", -0.5),  # above; an image of its own, as is the next
    ("fake", "b", None, "y", -2.0),  # below
    ("fake", "c", None, "y", 9.0),  # its original is not here
    ("real", "d", None, None, 0.0),  # nothing was made from it
    ("fake", None, None, "x", 9.0), ("real", None, None, None, 0.0),
]  # fmt: skip


def test_a_small_example_counted_by_hand() -> None:
    found = rank(table(EXAMPLE))
    assert found.share_above == pytest.approx(2.5 / 5)
    assert (found.num_pairs, found.num_originals, found.num_without_original) == (5, 2, 1)
    by = {row.generator: row for row in found.by_generator}
    assert (by["x"].share_above, by["x"].num_pairs) == (1.5 / 2, 2)
    assert (by["y"].share_above, by["y"].num_pairs) == (pytest.approx(1 / 3), 3)
    assert [row.generator for row in found.by_generator] == ["y", "x"]
    assert found.num_units == 2
    assert found.interval is None  # of two units none can be given
    assert all(row.few for row in found.by_generator)


def test_where_no_fake_meets_its_original_there_is_nothing_to_say() -> None:
    for rows in (EXAMPLE[:2], EXAMPLE[2:5], EXAMPLE[10:], [EXAMPLE[10], EXAMPLE[11]]):
        assert rank_pairs(table(rows), TASK, 100) is None
    nothing: list[Row] = [("real", None, None, None, 0.0), ("fake", None, None, None, 1.0)]
    assert rank_pairs(table(nothing), TASK, 100) is None


@given(st.permutations(range(len(EXAMPLE))), st.integers(1, 4))
def test_the_order_of_rows_changes_nothing(order: list[int], chunks: int) -> None:
    whole = table(EXAMPLE)
    shuffled = whole.take(order)
    ends = np.linspace(0, len(order), chunks + 1).astype(int)
    parts = pa.concat_tables(shuffled.slice(a, b - a) for a, b in itertools.pairwise(ends))
    assert rank(parts) == rank(whole)


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=30))
def test_ties_count_one_half_and_a_reversal_is_the_rest(scores: list[tuple[int, int]]) -> None:
    rows: list[Row] = []
    turned: list[Row] = []
    for number, (original, fake) in enumerate(scores):
        for kept, sign in ((rows, 1.0), (turned, -1.0)):
            kept.append(("real", f"p{number}", None, None, sign * original))
            kept.append(("fake", f"p{number}", None, "x", sign * fake))
    found = rank(table(rows))
    wins = sum((fake > original) + (fake == original) / 2 for original, fake in scores)
    assert found.share_above == pytest.approx(wins / len(scores))
    assert rank(table(turned)).share_above == pytest.approx(1 - found.share_above)


def many(share: float, num: int = 200, of_one: int = 1) -> pa.Table:
    random = np.random.default_rng(0)
    rows, components = list[Row](), list[str | None]()
    lifts = np.repeat(random.random(num // of_one) < share, of_one)
    for number, lift in enumerate(lifts):
        rows += [
            ("real", f"p{number}", f"p{number}", None, float(random.normal())),
            ("fake", f"p{number}", f"f{number}", "x", 9.0 if lift else -9.0),
        ]
        components += [f"c{number // of_one}"] * 2
    return table(rows, components)


def test_the_interval_counts_what_is_connected_once() -> None:
    alone, together = rank(many(0.7)), rank(many(0.7, of_one=10))
    assert (alone.num_units, together.num_units) == (200, 20)
    (low, high), (lower, higher) = alone.interval or (1, 0), together.interval or (1, 0)
    assert low < alone.share_above < high
    assert lower < together.share_above < higher
    assert higher - lower > 2 * (high - low)
    certain = rank(many(1.0))
    assert certain.share_above == 1
    assert certain.interval is not None
    assert 0.9 < certain.interval[0] < 1


def test_no_calibration_changes_it() -> None:
    warm = calibrated(table(EXAMPLE), Calibration("temperature", 40.0))
    assert rank(warm) == rank(table(EXAMPLE))
