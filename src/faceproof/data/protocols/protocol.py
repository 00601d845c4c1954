"""What the readers of protocols share: settings, and the way from videos to an image table."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from faceproof.data.division import BRIDGES, Columns, Division
from faceproof.data.layout import check_root
from faceproof.data.listing import DIVIDED, DataSet, Kind, absolute
from faceproof.data.lists import ABSOLUTE
from faceproof.data.protocols.clips import MEDIA
from faceproof.data.splits import RATIOS, check_ratios, split_of
from faceproof.data.table import table_from_columns
from faceproof.settings import PLACE, RATE, Rule, SettingError, one_of, optional
from faceproof.task import get_task

REAL, FAKE = get_task("deepfake").classes
OFFICIAL, BY_RATIOS = SPLITTINGS = ("official", "ratios")
SOME = Rule(lambda value: value == 0 or RATE.fits(value), "a share, from 0 on and below 1")
EACH_LINE = "[^\n]+"  # the values of one row, joined

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What a protocol says of one video, or of one image.

    Attributes:
        files: the video, or its frames, relative to the data set's root (or absolute).
        group: a name for it that no other has; None for an image of no known video.
        label: the class.
        split: train, val, test, or None where the authors name none.
        generator: what made the fake.
        pair: a name that a fake shares with what it was made from.
        source_videos: the videos that it shows.
        identities: the people that it shows.
        unit: what stays whole where validation is taken from training; None for the group.
    """

    files: tuple[str, ...]
    group: str | None
    label: str
    split: str | None = None
    generator: str | None = None
    pair: str | None = None
    source_videos: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    unit: str | None = None


@dataclass(frozen=True)
class ProtocolData(Kind):
    """What all protocols have.

    Attributes:
        root: the folder of the data set.
        media: `videos`, `images` (frames, a folder for each video), or None for what is there.
        splits: `official`, those of the authors, or `ratios`.
        validation: the share of the training videos that is taken for validation where the authors
            name none; with `splits=official`.
        ratios: the shares of train, val and test with `splits=ratios`.
        split_seed: another seed is another division.
        bridges: `keep`, or `leave_out` what connects people or videos of two splits; with
            `splits=ratios`.
    """

    TREE: ClassVar[str] = ""  # what is expected below the root

    root: str
    media: str | None = field(default=None, kw_only=True)
    splits: str = field(default=OFFICIAL, kw_only=True)
    validation: float = field(default=0.15, kw_only=True)
    ratios: Mapping[str, float] | None = field(default=None, kw_only=True)
    split_seed: int = field(default=0, kw_only=True)
    bridges: str = field(default="keep", kw_only=True)

    def check(self, **rules: Rule) -> None:
        """Refuse settings that break a rule, or that change nothing."""
        super().check(
            root=PLACE, media=optional(one_of(*MEDIA)), splits=one_of(*SPLITTINGS),
            validation=SOME, bridges=BRIDGES, **DIVIDED, **rules,
        )  # fmt: skip
        if (task := get_task(self.task)) != get_task("deepfake"):
            raise SettingError("task", f"= {task.name!r} must be deepfake, as its labels are")
        if self.ratios is not None:
            check_ratios(self.ratios)
        unread = {"ratios": self.ratios is not None, "bridges": self.bridges != "keep"}
        for name in (name for name, given in unread.items() if given):
            if self.splits == OFFICIAL:
                raise SettingError(
                    name,
                    f"= {getattr(self, name)!r} changes nothing with data.splits=official; leave "
                    "it out, or set data.splits=ratios",
                )

    @property
    def expected(self) -> str:
        """The tree that should be there, as text."""
        return f"expected:\n  {absolute(self.root)}/\n{self.TREE}"

    def check_place(self) -> None:
        """Refuse a root that is not there; nothing in it is looked at."""
        check_root(absolute(self.root), self.expected)

    def entries(self, root: Path) -> Sequence[Entry]:
        """Return what the protocol says of each video; each kind reads its own."""
        raise NotImplementedError

    def list(self) -> DataSet:
        """Read the lists, and find the videos or frames that they name."""
        self.check_place()
        root = absolute(self.root)
        entries = self.entries(root)
        if self.splits == OFFICIAL:
            entries = self._with_validation(entries)
        return self.data_set(table_from_columns(self._columns(root, entries)))

    def _with_validation(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the entries with some of training for validation, where there are none."""
        splits = {entry.split for entry in entries}
        if "val" in splits or "train" not in splits or self.validation == 0:
            return entries
        shares = {"train": 1 - self.validation, "val": self.validation}
        units = [entry.unit or entry.group or entry.files[0] for entry in entries]
        placed = {unit: split_of(unit, shares, self.split_seed) for unit in dict.fromkeys(units)}
        divided = [
            replace(entry, split=placed[unit]) if entry.split == "train" else entry
            for entry, unit in zip(entries, units, strict=True)
        ]
        number = sum(entry.split == "val" for entry in divided)
        log.warning(
            "%s: its authors name nothing for validation; %s of %s videos of train are taken "
            "(data.validation=%g, data.split_seed=%d)",
            self.name, f"{number:,}", f"{sum(e.split == 'train' for e in entries):,}",
            self.validation, self.split_seed,
        )  # fmt: skip
        return divided

    def _columns(self, root: Path, entries: Sequence[Entry]) -> Columns:
        """Return the columns of the image table, with components and splits."""
        rows = [(entry, file) for entry in entries for file in entry.files]
        words = {
            "source_video": ["\n".join(entry.source_videos) or None for entry, _ in rows],
            "identity": ["\n".join(entry.identities) or None for entry, _ in rows],
        }
        words = {key: column for key, column in words.items() if any(column)}
        # A pair connects too; what its people connect need not be connected again, and where
        # bridges are left out, more keys would be more bridges.
        pair = "pair" if self.bridges == "keep" else "pair apart"
        columns: Columns = {
            "path": [file for _, file in rows],
            "label": [entry.label for entry, _ in rows],
            "split": [entry.split for entry, _ in rows],
            "generator": [entry.generator for entry, _ in rows],
            "group": [entry.group for entry, _ in rows],
            pair: [entry.pair for entry, _ in rows],
        }
        official = self.splits == OFFICIAL
        division = Division(
            self.name, dict.fromkeys(words, EACH_LINE), self.bridges, self.ratios or RATIOS,
            0 if official else self.split_seed,
        )  # fmt: skip
        columns = division.apply(columns, words, by_ratios=not official)
        columns["pair"] = columns.pop(pair)
        for key in ("group", "pair"):
            columns[key] = [one and f"{self.name}/{one}" for one in columns[key]]
        columns["path"] = [
            path if path is None or ABSOLUTE.match(path) else f"{root.as_posix()}/{path}"
            for path in columns["path"]
        ]
        columns["source"] = [self.name] * len(columns["path"])
        return columns
