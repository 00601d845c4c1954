"""Divide the rows of a data set into splits, so that what belongs together stays together."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faceproof.data.groups import Groups, components, values_by_row
from faceproof.data.names import inner_paths
from faceproof.data.splits import BESIDE_TEST, RATIOS, divide, uneven_division
from faceproof.settings import one_of

log = logging.getLogger(__name__)

Columns = dict[str, list[str | None]]
BRIDGES = one_of("keep", "leave_out")
ADVICE = (
    "Name keys in data.groups that connect less, leave out the images that connect two splits by "
    "data.bridges=leave_out, or give a table with splits (data=table)"
)


@dataclass(frozen=True)
class Division:
    """How a data set is divided.

    Attributes:
        name: of the data set.
        groups: the keys of what belongs together; see `data.groups`.
        bridges: `keep` images that connect people or videos, which then are in one split; or
            `leave_out` those that connect people or videos of two splits.
        ratios: the shares of train, val and test among rows without a split.
        seed: another seed is another division.
    """

    name: str
    groups: Groups
    bridges: str
    ratios: Mapping[str, float]
    seed: int

    def apply(
        self,
        columns: Columns,
        words: Mapping[str, Sequence[str | None]],
        by_ratios: bool = True,
    ) -> Columns:
        """Return the columns of an image table with the component and the split of each row.

        Where no row has a group, the component is its group too. Rows that connect two splits are
        left out if they are not to be kept.

        Args:
            columns: path (relative to the data set's root), split, group and others.
            words: of the keys that the layout line or table has, the word in each row.
            by_ratios: divide the rows without a split; else none is divided.
        """
        columns = {"component": [None] * len(columns["path"]), **columns}
        values: list[tuple[str, ...]] = [()] * len(columns["path"])
        pairs = columns.get("pair", [])
        if self.groups:
            values = values_by_row(self.groups, words, inner_paths(columns["path"]))
            self._warn_of_nothing(values)
        if any(pairs):
            values = [
                row if pair is None else (*row, f"pair={pair}")
                for row, pair in zip(values, pairs, strict=True)
            ]
        connected = bool(self.groups or any(pairs))
        if connected:
            columns["component"] = components(_with_groups(values, columns["group"]))
        self._warn_of_unread(by_ratios and bool({None, "auto"} & set(columns["split"])))
        if by_ratios:
            columns = self._divide(columns, values)
        if connected:
            columns["component"] = [one and f"{self.name}/{one}" for one in columns["component"]]
            if self.groups and not any(columns["group"]):
                columns["group"] = columns["component"]
        return columns

    def _divide(self, columns: Columns, values: Sequence[tuple[str, ...]]) -> Columns:
        given, paths = columns["split"], [str(path) for path in columns["path"]]
        together = zip(columns["component"], columns["group"], paths, strict=True)
        units: list[tuple[str, ...]] = [(c or group or path,) for c, group, path in together]
        if self.bridges == "leave_out":
            units = [row or unit for row, unit in zip(values, units, strict=True)]
        balanced = any(columns["component"])
        splits = divide(given, units, self._ratios(given), self.seed, balanced)
        kept = [row for row, split in enumerate(splits) if split is not None]
        free = [row for row in kept if given[row] in (None, "auto")]
        columns = {**columns, "split": splits}
        if len(kept) < len(paths):
            columns = {name: [column[row] for row in kept] for name, column in columns.items()}
            inside = _with_groups([values[row] for row in kept], columns["group"])
            columns["component"] = components(inside)
            log.warning(
                "%s: %s of %s images are left out, for they connect people or videos of two splits "
                "(data.bridges=leave_out)",
                self.name, f"{len(paths) - len(kept):,}", f"{len(paths):,}",
            )  # fmt: skip
        elif problem := uneven_division(
            [splits[row] for row in free], [columns["component"][row] for row in free], self.ratios
        ):
            log.warning("%s: %s. %s", self.name, problem, ADVICE)
        return columns

    def _ratios(self, given: Sequence[str | None]) -> Mapping[str, float]:
        """Return the ratios; where test images are given, and none are set, test gets no others."""
        if dict(self.ratios) != RATIOS or not {"test", "auto"} <= set(given):
            return self.ratios
        log.warning(
            "%s: the test images are given and stay as they are; what is of the split auto is "
            "divided among train (%.0f%%) and val (%.0f%%)",
            self.name, 100 * BESIDE_TEST["train"], 100 * BESIDE_TEST["val"],
        )  # fmt: skip
        return BESIDE_TEST

    def _warn_of_unread(self, divides: bool) -> None:
        if not divides and (dict(self.ratios) != RATIOS or self.seed):
            log.warning(
                "%s: data.ratios and data.split_seed change nothing: no image is divided by them; "
                "folders (or cells) of the split auto would be",
                self.name,
            )

    def _warn_of_nothing(self, values: Sequence[tuple[str, ...]]) -> None:
        if not any(values):
            log.warning(
                "%s: data.groups (%s) finds no video and no person in the names of its files",
                self.name, ", ".join(self.groups),
            )  # fmt: skip


def _with_groups(
    values: Sequence[tuple[str, ...]], groups: Sequence[str | None]
) -> list[tuple[str, ...]]:
    """Return the values of each row with its group, if it has one, as another.

    Its brace sorts behind all letters, so that a component is named by a person or video.
    """
    pairs = zip(values, groups, strict=True)
    return [row if group is None else (*row, f"{{group}}={group}") for row, group in pairs]
