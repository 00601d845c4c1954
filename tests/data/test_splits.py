"""Splitting by ratio: a function of seed and path, whole groups, ratios within chance."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.splits import assign_splits, split_of, uneven_division
from faceproof.data.splits import divide as divide_units
from faceproof.errors import FaceproofError

RATIOS = {"train": 0.7, "val": 0.15, "test": 0.15}
PATHS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True)


def divide(paths: list[str], seed: int = 0) -> dict[str, str]:
    nothing = [None] * len(paths)
    return dict(zip(paths, assign_splits(nothing, paths, nothing, RATIOS, seed), strict=True))


@given(PATHS, st.randoms(use_true_random=False))
def test_the_order_of_listing_changes_nothing(paths: list[str], random: object) -> None:
    shuffled = random.sample(paths, len(paths))  # type: ignore[attr-defined]
    assert divide(shuffled) == divide(paths)


@given(PATHS, st.text(min_size=1, max_size=8))
def test_adding_an_image_moves_no_other(paths: list[str], new: str) -> None:
    assert divide(paths).items() <= divide(list(dict.fromkeys([*paths, new]))).items()


@given(st.lists(st.sampled_from(["video 1", "video 2", "video 3"]), min_size=1, max_size=20))
def test_a_group_stays_together(groups: list[str]) -> None:
    paths = [f"frame {n}" for n in range(len(groups))]
    splits = assign_splits([None] * len(paths), paths, groups, RATIOS, 0)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))


def test_a_given_split_stands_and_auto_is_left_to_the_ratios() -> None:
    given_splits = ["test", "auto", None, "val"]
    paths = ["a", "b", "b", "c"]
    splits = assign_splits(given_splits, paths, [None] * 4, RATIOS, 0)
    assert splits == ["test", splits[1], splits[1], "val"]
    assert splits[1] in RATIOS


@pytest.mark.parametrize("stratum", ["real/{}.jpg", "fake/StyleGAN2/{}.png", "{}"])
@pytest.mark.parametrize("seed", [0, 1])
def test_ratios_hold_within_chance_in_every_stratum(stratum: str, seed: int) -> None:
    number = 20_000
    splits = list(divide([stratum.format(n) for n in range(number)], seed).values())
    for name, ratio in RATIOS.items():
        deviation = math.sqrt(ratio * (1 - ratio) / number)
        assert splits.count(name) / number == pytest.approx(ratio, abs=4 * deviation)


def test_another_seed_is_an_independent_division() -> None:
    paths = [str(n) for n in range(20_000)]
    first, second = divide(paths, 0), divide(paths, 1)
    both = sum(first[path] == second[path] for path in paths) / len(paths)
    assert both == pytest.approx(sum(ratio**2 for ratio in RATIOS.values()), abs=0.015)


def test_known_places() -> None:
    """A release that changes these moves images from training to test."""
    known = {"a.jpg": "test", "b.jpg": "val", "e.jpg": "train", "é/1.png": "train"}
    assert divide(list(known)) == known


@pytest.mark.parametrize("ratios", [{"train": 1.0}, {"val": 0.0, "test": 1.0, "train": 0.0}])
def test_all_in_one_split(ratios: dict[str, float]) -> None:
    full = max(ratios, key=lambda name: ratios[name])
    assert {split_of(str(n), ratios, 0) for n in range(2000)} == {full}


@pytest.mark.parametrize(
    "ratios",
    [
        {"train": 0.7, "val": 0.2},
        {"train": 1.2, "val": -0.2},
        {"train": 0.7, "dev": 0.3},
        {"train": math.nan},
        {},
    ],
)
def test_ratios_of_no_division_are_refused(ratios: dict[str, float]) -> None:
    with pytest.raises(FaceproofError, match=r"data\.ratios = .* must give train, val and test"):
        assign_splits([None], ["a"], [None], ratios, 0)


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=40)


def in_units(sizes: list[int], seed: int = 0, ratios: dict[str, float] = RATIOS) -> list[str]:
    units = [(f"unit {number}",) for number, size in enumerate(sizes) for _ in range(size)]
    found = divide_units([None] * len(units), units, ratios, seed)
    splits = [split for split in found if split is not None]
    assert len(splits) == len(units)
    assert len(set(zip(units, splits, strict=True))) == len(sizes)
    return splits


@given(SIZES, st.integers(0, 3))
def test_units_stay_whole_and_leave_no_split_empty_that_can_be_filled(
    sizes: list[int], seed: int
) -> None:
    splits = in_units(sizes, seed)
    if len(sizes) >= 3 and min(sizes) > 0.1 * 0.15 * sum(sizes):
        assert set(splits) == set(RATIOS)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [7, 10, 20, 60])
def test_few_units_meet_the_ratios_as_well_as_they_can(number: int, seed: int) -> None:
    splits = in_units([10] * number, seed)
    for name, ratio in RATIOS.items():
        share = splits.count(name) / len(splits)
        assert share == pytest.approx(ratio, abs=1 / number)


def test_a_large_unit_is_in_training_and_the_others_fill_the_rest() -> None:
    splits = in_units([6000, *[10] * 400])
    for name, ratio in RATIOS.items():
        assert splits.count(name) / len(splits) == pytest.approx(ratio, abs=0.05)
    components = ["unit 0"] * 6000 + [f"unit {n}" for n in range(1, 401) for _ in range(10)]
    assert uneven_division(splits, components, RATIOS) is None


def test_another_seed_divides_few_units_otherwise() -> None:
    assert in_units([10] * 10, seed=0) != in_units([10] * 10, seed=1)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([100], r"100 of 100 images \(100\.0%\) .* unit 0 .* cannot be divided, for nothing is "
         r"left for val and test: train 100\.0%, val 0\.0%, test 0\.0% of the images instead of"),
        ([96, 2, 2], r"96 of 100 images \(96\.0%\) .* are divided badly: train 96\.0%, val 2\.0%"),
    ],
)  # fmt: skip
def test_a_component_that_is_too_large_is_said(sizes: list[int], said: str) -> None:
    components = [f"unit {number}" for number, size in enumerate(sizes) for _ in range(size)]
    problem = uneven_division(in_units(sizes), components, RATIOS)
    assert problem is not None
    assert re.search(said, problem), problem


def test_chance_alone_is_not_called_uneven() -> None:
    assert uneven_division(["train"] * 3, [None] * 3, RATIOS) is None
    assert uneven_division(["train"] * 99 + ["val"], ["a", *[None] * 99], RATIOS) is None


def test_a_unit_follows_the_split_that_others_of_it_have() -> None:
    given_splits = ["test", None, "auto", "unlabelled", None]
    units = [("a",), ("a",), ("a",), ("b",), ("b",)]
    for seed in range(5):
        divided = divide_units(given_splits, units, RATIOS, seed)
        assert divided[:4] == ["test", "test", "test", "unlabelled"]
        assert divided[4] in RATIOS


def test_a_row_of_units_of_two_splits_has_none() -> None:
    given_splits = ["train", "test", None, None]
    units = [("a",), ("b",), ("a", "b"), ("a", "a")]
    assert divide_units(given_splits, units, RATIOS, 0) == ["train", "test", None, "train"]
