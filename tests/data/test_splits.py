"""Splitting by ratio: a function of seed and path, whole groups, ratios within chance."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.splits import assign_splits, split_of
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
