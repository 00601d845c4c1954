"""Divides images among train, val and test: a function of the seed and the path alone."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from faceproof.errors import FaceproofError
from faceproof.io.names import composed

RATIOS = {"train": 0.7, "val": 0.15, "test": 0.15}  # where none are set
BESIDE_TEST = {"train": 0.85, "val": 0.15}  # likewise, where the test images are given
LARGE = 0.1  # of the smallest split: a unit above it is placed, and not drawn
UNEVEN = 0.5  # of its ratio: how far a split may be off before that is said


def split_of(key: str, ratios: Mapping[str, float], seed: int) -> str:
    """Return the split of one image or group.

    The key's hash is a number in [0, 1), which the ratios divide. So an image that is added or
    removed moves no other, the order of listing does not matter, every stratum (label, generator)
    is divided alike, and the shares of n images vary by chance: by about
    sqrt(ratio * (1 - ratio) / n).
    """
    position = _position(key, seed)
    for name, ratio in ratios.items():
        if position < ratio:
            return name
        position -= ratio
    return [name for name, ratio in ratios.items() if ratio > 0][-1]  # rounding at 1.0


def _position(key: str, seed: int) -> float:
    """Return the number in [0, 1) that a key's hash is."""
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_splits(
    splits: Iterable[str | None],
    paths: Iterable[str],
    groups: Iterable[str | None],
    ratios: Mapping[str, float],
    seed: int,
) -> list[str]:
    """Return a split for every row; groups stay together.

    Args:
        splits: those that are given; None or `auto` for rows to divide by the ratios.
        paths: relative to the data set's root, so that moving the set changes no
            split; nor does the form of their accents.
        groups: rows of one group share a split; None for an image on its own.
        ratios: train, val and test; see `check_ratios`.
        seed: another seed is another division.
    """
    units = [(group or path,) for path, group in zip(paths, groups, strict=True)]
    return [split or "" for split in divide(list(splits), units, ratios, seed, balanced=False)]


def divide(
    splits: Sequence[str | None],
    units: Sequence[Sequence[str]],
    ratios: Mapping[str, float],
    seed: int,
    balanced: bool = True,
) -> list[str | None]:
    """Return a split for every row by what stays whole; None for a row of units of two splits.

    A unit of which other rows have a given split gets that one.

    Args:
        splits: those that are given; None or `auto` for rows to divide by the ratios.
        units: of each row; one or more.
        ratios: train, val and test; see `check_ratios`.
        seed: another seed is another division.
        balanced: place large units so that the ratios are met as well as can be; otherwise chance
            places them as it does others.
    """
    check_ratios(ratios)
    units = [tuple(map(composed, row)) for row in units]
    given: dict[str, set[str]] = {}
    sizes: Counter[str] = Counter()
    for split, row in zip(splits, units, strict=True):
        if split in (None, "auto"):
            sizes.update(row)
        elif split in ratios:  # unlabelled rows decide nothing
            for unit in row:
                given.setdefault(unit, set()).add(str(split))
    places = {unit: found.pop() for unit, found in given.items() if len(found) == 1}
    free = {unit: size for unit, size in sizes.items() if unit not in places}
    if balanced:
        large, ratios = _place_large(free, ratios, seed)
        places |= large

    def place(unit: str) -> str:
        return places.get(unit) or split_of(unit, ratios, seed)

    divided: list[str | None] = []
    for split, row in zip(splits, units, strict=True):
        if split not in (None, "auto"):
            divided.append(split)
            continue
        found = {place(unit) for unit in row}
        divided.append(found.pop() if len(found) == 1 else None)
    return divided


def _place_large(
    sizes: Mapping[str, int], ratios: Mapping[str, float], seed: int
) -> tuple[dict[str, str], Mapping[str, float]]:
    """Place units that are large beside the smallest split, each where most is missing.

    Chance would leave a split empty, or make it many times too large. Returned are their splits,
    and the ratios by which the others fill the splits up.
    """
    wanted = {name: ratio for name, ratio in ratios.items() if ratio > 0}
    total = sum(sizes.values())
    limit = LARGE * min(wanted.values()) * total
    large = sorted(
        (unit for unit, size in sizes.items() if size > limit),
        key=lambda unit: (-sizes[unit], _position(unit, seed)),
    )
    missing = {name: ratio * total for name, ratio in wanted.items()}
    places: dict[str, str] = {}
    for number, unit in enumerate(large):
        empty = wanted.keys() - set(places.values())
        scarce = len(large) == len(sizes) and len(large) - number <= len(empty)
        # In the order of the ratios, so that a tie has one outcome.
        among = [name for name in wanted if name in empty or not scarce]
        places[unit] = max(among, key=missing.__getitem__)
        missing[places[unit]] -= sizes[unit]
    left = {name: max(number, 0.0) for name, number in missing.items()}
    rest = sum(left.values())
    return places, {name: part / rest for name, part in left.items()} if places and rest else ratios


def uneven_division(
    splits: Sequence[str | None], components: Sequence[str | None], ratios: Mapping[str, float]
) -> str | None:
    """Say what a component so large that the ratios cannot be met does to them; None if they are.

    Args:
        splits: of the rows that were divided by the ratios.
        components: of these rows; None for a row on its own.
        ratios: train, val and test.
    """
    sizes = Counter(component for component in components if component is not None)
    if not sizes:
        return None
    (largest, size), total = sizes.most_common(1)[0], len(splits)
    found = Counter(splits)
    wanted = {name: ratio for name, ratio in ratios.items() if ratio > 0}
    shares = {name: found[name] / total for name in wanted}
    if size / total <= LARGE * min(wanted.values()) or all(
        abs(shares[name] - ratio) <= UNEVEN * ratio for name, ratio in wanted.items()
    ):
        return None
    empty = [name for name in wanted if not found[name]]
    held = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    meant = ", ".join(f"{name} {ratio:.1%}" for name, ratio in wanted.items())
    result = f"cannot be divided, for nothing is left for {' and '.join(empty)}: {held}"
    if not empty:
        result = f"are divided badly: {held}"
    return (
        f"{size:,} of {total:,} images ({size / total:.1%}) are connected with {largest} by people "
        f"or videos that they share, and must be in one split, so that the images {result} of the "
        f"images instead of {meant}"
    )


def check_ratios(ratios: Mapping[str, float]) -> None:
    """Refuse ratios of other splits, negative ones, and those that do not add up to 1."""
    strangers = set(ratios) - {"train", "val", "test"}
    lowest, total = min(ratios.values(), default=0), sum(ratios.values())
    if strangers or lowest < 0 or not math.isclose(total, 1.0):
        raise FaceproofError(
            f"data.ratios = {dict(ratios)} must give train, val and test, none negative, "
            "that add up to 1"
        )
