"""Divides images among train, val and test: a function of the seed and the path alone."""

import hashlib
import math
from collections.abc import Iterable, Mapping

from faceproof.errors import FaceproofError


def split_of(key: str, ratios: Mapping[str, float], seed: int) -> str:
    """Return the split of one image or group.

    The key's hash is a number in [0, 1), which the ratios divide. So an image that is added or
    removed moves no other, the order of listing does not matter, every stratum (label, generator)
    is divided alike, and the shares of n images vary by chance: by about
    sqrt(ratio * (1 - ratio) / n).
    """
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    for name, ratio in ratios.items():
        if position < ratio:
            return name
        position -= ratio
    return [name for name, ratio in ratios.items() if ratio > 0][-1]  # rounding at 1.0


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
        paths: relative to the data set's root, so that moving the set changes no split.
        groups: rows of one group share a split; None for an image on its own.
        ratios: train, val and test; see `check_ratios`.
        seed: another seed is another division.
    """
    check_ratios(ratios)
    return [
        split_of(group or path, ratios, seed) if split in (None, "auto") else split
        for split, path, group in zip(splits, paths, groups, strict=True)
    ]


def check_ratios(ratios: Mapping[str, float]) -> None:
    """Refuse ratios of other splits, negative ones, and those that do not add up to 1."""
    strangers = set(ratios) - {"train", "val", "test"}
    lowest, total = min(ratios.values(), default=0), sum(ratios.values())
    if strangers or lowest < 0 or not math.isclose(total, 1.0):
        raise FaceproofError(
            f"data.ratios = {dict(ratios)} must give train, val and test, none negative, "
            "that add up to 1"
        )
