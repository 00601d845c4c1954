"""An epoch drawn evenly over classes, sources and generators, for `loader.sampler=balanced`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.settings import SettingError, UnknownSettingError

Rows = npt.NDArray[np.int64]
WEIGHTS = "loader.source_weights"
LEVELS = ("label", "source", "generator")


@dataclass(frozen=True)
class Balance:
    """Which rows of a training table are drawn how often.

    Both classes get the same share of an epoch; that of a class is divided among its sources by
    their weights, and that of a source in a class evenly among its generators. Images without a
    generator, as real ones, count as one.

    Attributes:
        groups: the rows of each class, source and generator.
        numbers: how many rows of each an epoch has.
    """

    groups: tuple[Rows, ...]
    numbers: tuple[int, ...]

    @classmethod
    def find(
        cls,
        rows: pa.Table,
        weights: Mapping[str, float] | None = None,
        num_drawn: int | None = None,
    ) -> "Balance":  # fmt: skip
        """Divide an image table; `weights` are of sources by name, 1 where none is given.

        An epoch draws `num_drawn` rows, or as many as the table has.

        Raises:
            SettingError: a weight is of a source that no row has, or leaves a group without a row.
        """
        given = dict(weights or {})
        members: dict[tuple[str | None, ...], list[int]] = {}
        columns = [rows[name].cast(pa.string()).to_pylist() for name in LEVELS]
        for row, key in enumerate(zip(*columns, strict=True)):
            members.setdefault(key, []).append(row)
        keys = sorted(members, key=lambda key: [word or "" for word in key])
        sources = {source for _, source, _ in keys if source is not None}
        for name in given:
            if name not in sources:
                raise UnknownSettingError(f"{WEIGHTS}.{name}", sources)
        shares, wanted = _shares(keys, given), num_drawn or rows.num_rows
        numbers = _apportion(shares, wanted)
        for key, number in zip(keys, numbers, strict=True):
            if not number:
                words = ", ".join(word or "none" for word in key)
                raise SettingError(
                    WEIGHTS, f"leaves no image of {words} (label, source, generator) in an epoch "
                    f"of {wanted:,}: raise the weight of its source, or take "
                    "loader.sampler=shuffled"
                )  # fmt: skip
        groups = tuple(np.array(members[key], np.int64) for key in keys)
        return cls(groups, numbers)

    @property
    def num_rows(self) -> int:
        """How many rows an epoch has."""
        return sum(self.numbers)

    def order(self, seed: int, epoch: int) -> Rows:
        """Return the order of an epoch, (N,), a function of seed and epoch.

        The rows of a group take turns, over the epochs too: none comes again before all others of
        its group came as often.
        """
        chosen = [
            _turn(rows, number, (seed, place), epoch)
            for place, (rows, number) in enumerate(zip(self.groups, self.numbers, strict=True))
        ]
        generator = np.random.default_rng((seed, epoch))
        return np.asarray(generator.permutation(np.concatenate(chosen)))


def _shares(
    keys: list[tuple[str | None, ...]], weights: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """Return the share of an epoch for each (label, source, generator)."""
    classes = {label for label, _, _ in keys}
    pairs = {key[:2] for key in keys}
    weight = {pair: weights.get(pair[1] or "", 1.0) for pair in pairs}
    total = {label: sum(weight[pair] for pair in pairs if pair[0] == label) for label in classes}
    of_pair = {
        pair: weight[pair] / total[pair[0]] / sum(key[:2] == pair for key in keys)
        for pair in pairs
    }  # fmt: skip
    return np.array([of_pair[key[:2]] for key in keys]) / len(classes)


def _apportion(shares: npt.NDArray[np.float64], number: int) -> tuple[int, ...]:
    """Divide a number by shares into whole numbers; the largest remainders are rounded up."""
    exact = shares * number
    whole = np.floor(exact).astype(np.int64)
    remainder = np.argsort(whole - exact, kind="stable")[: number - whole.sum()]
    whole[remainder] += 1
    return tuple(whole.tolist())


def _turn(rows: Rows, number: int, seed: tuple[int, int], epoch: int) -> Rows:
    """Return the rows of a group whose turn it is: all in a new order, again and again."""
    first, size, parts = epoch * number, len(rows), [rows[:0]]
    for cycle in range(first // size, (first + number - 1) // size + 1):
        order = np.random.default_rng((*seed, cycle)).permutation(rows)
        begin = max(first - cycle * size, 0)
        parts.append(order[begin : first + number - cycle * size])
    return np.concatenate(parts)
