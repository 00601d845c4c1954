"""The kinds of data sets: settings that are checked at once, and a method that lists the images.

Each kind is a dataclass with the settings of a file in `conf/data/`; its `list()` returns the image
table.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from faceproof import settings
from faceproof.data.coverage import Coverage
from faceproof.data.demo.make import make_demo
from faceproof.data.division import BRIDGES, Division
from faceproof.data.groups import KEYS_OF_GROUPS, GroupSettings, check_groups
from faceproof.data.kinds import IMAGE, VIDEO
from faceproof.data.layout import USUAL_SPLITS, Words, layout_pattern, list_folder
from faceproof.data.own_table import find_files, map_words, read_own_table, split_keys
from faceproof.data.shards.known_stores import remember_store
from faceproof.data.shards.reading import shard_set
from faceproof.data.shards.store import ShardError, is_url
from faceproof.data.splits import RATIOS, check_ratios
from faceproof.data.subgroups import check_subgroups
from faceproof.data.swapped import warn_of_swapped_labels
from faceproof.data.table import (
    SCHEMA,
    SPLITS,
    concat_tables,
    describe_counts,
    table_from_columns,
    validate,
)
from faceproof.data.unread import refuse_unread_words
from faceproof.io.names import as_on_disk
from faceproof.settings import (
    COUNT,
    INTEGER,
    NAME,
    PLACE,
    SEED,
    SHARE,
    TEXT,
    Rule,
    SettingError,
    one_of,
    optional,
)
from faceproof.task import Task, get_task
from faceproof.words import at_home

MEDIA = {"images": (IMAGE,), "videos": (VIDEO,), "all": (IMAGE, VIDEO)}
SPLIT_MEANINGS = (*SPLITS, "auto", None)
MAPPING = Rule(lambda value: isinstance(value, Mapping), "words and their meaning")
NAMES = Rule(
    lambda words: MAPPING.fits(words) and all(isinstance(w, str | None) for w in words.values()),
    "folder words and the names of generators",
)
SHARES = Rule(
    lambda value: MAPPING.fits(value) and all(map(settings.is_number, value.values())),
    "shares of train, val and test",
)
DIVIDED = {"ratios": optional(SHARES), "split_seed": INTEGER}
GROUPED = {**DIVIDED, "groups": optional(KEYS_OF_GROUPS), "bridges": BRIDGES}


@dataclass(frozen=True)
class DataSet:
    """A validated image table and the task whose labels it holds.

    Examples:
        >>> import faceproof as fp
        >>> data = fp.list_data("demo_faces", num_per_class=20)
        >>> data.task.classes, data.table.num_rows, data.table["label"][0].as_py()
        (('non_face', 'face'), 40, 'face')
    """

    name: str  # the `source` of its images unless the table says otherwise
    task: Task
    table: pa.Table  # the image table; see `data.table`
    max_unreadable: float = 0.01  # share of unreadable files above which a run refuses to start
    allow_leaks: bool = False  # train although images or groups straddle splits
    coverage: tuple[Coverage, ...] = ()  # of the published protocols that it is read by
    crop: Mapping[str, Any] | None = None  # how faces were cut out of prepared images

    def __repr__(self) -> str:
        """Return its name and numbers, since a table is too long for a notebook."""
        return f"DataSet({self.name!r}, {self.task.name!r}: {describe_counts(self.table)})"


def framing_of(crop: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what decides how a face is framed; which faces are left out does not.

    See `DataSet.crop`.
    """
    if crop is None:
        return None
    left_out = ("min_score", "min_size")
    config = {name: one for name, one in crop["config"].items() if name not in left_out}
    return {**config, "detector": crop["detector"]}


def describe_crop(crop: Mapping[str, Any] | None) -> str:
    """Say in a few words how faces were cut out; see `DataSet.crop`."""
    if crop is None:
        return "images as they are"
    config = crop["config"]
    words = [f"margin {config['margin']:g}", f"by {crop['detector']}"]
    words += ["turned upright"] if config["align"] else []
    words += [f"{config['size']} pixels"] if config["size"] else []
    words += [f"JPEG {config['quality']}"] if config["quality"] else []
    return f"crops ({', '.join(words)})"


class Source(Protocol):
    """The settings of a data set."""

    def list(self) -> DataSet:
        """List the images; a `FaceproofError` says why they cannot be, or are no valid table."""


@dataclass(frozen=True)
class Kind:
    """What all kinds of data sets have.

    Attributes:
        name: the name of the data set, and the `source` of its images.
        task: `deepfake` (real or fake) or `face` (face or not).
        max_unreadable: the share of unreadable files above which a run refuses to start.
        allow_leaks: train although images or groups are in two splits.
    """

    name: str
    task: str
    max_unreadable: float = field(default=0.01, kw_only=True)
    allow_leaks: bool = field(default=False, kw_only=True)

    def check(self, **rules: Rule) -> None:
        """Refuse settings that break a rule, these or those of every kind.

        Raises:
            SettingError: it names setting, value and rule.
        """
        limits = {"max_unreadable": SHARE, "allow_leaks": settings.SWITCH}
        settings.check(self, name=NAME, task=TEXT, **limits, **rules)
        get_task(self.task)

    def data_set(
        self, table: pa.Table, complete: bool = True, crop: Mapping[str, Any] | None = None
    ) -> DataSet:
        """Return a table as the data set of these settings, validated; see `table.validate`."""
        task = get_task(self.task)
        table = validate(table, task, self.name, complete)
        return DataSet(self.name, task, table, self.max_unreadable, self.allow_leaks, crop=crop)


@dataclass(frozen=True)
class FolderData(Kind):
    """Images in folders whose names say what they are.

    Attributes:
        root: the folder that the layout line starts from.
        layout: what each folder word means, such as `{split}/{label}/*`; see `data.layout`.
        labels: folder word to class name, in any case; null leaves the folder out.
        splits: folder word to train, val, test, or `auto` for "by the ratios".
        generators: folder word to generator name, where they differ.
        generator: what made the positive class, where the layout line has no `{generator}`.
        ratios: the shares of train, val and test among images without a split.
        split_seed: another seed is another division.
        groups: keys of what must stay in one split, and maybe the patterns of their values: people,
            source videos; see `data.groups`.
        bridges: `keep`, or `leave_out` images that connect people or videos of two splits.
        media: `images`, or `videos` or `all`, whose faces `faceproof prepare` cuts out.

    Examples:
        >>> import faceproof as fp
        >>> fp.list_data("demo_faces", root="faces", num_per_class=20).table.num_rows
        40
        >>> words = {"face": "face", "non_face": "non_face"}
        >>> data = fp.FolderData("mine", "face", "faces/pictures", "{label}/{generator}/*", words)
        >>> data.list().table.num_rows
        40
    """

    root: str
    layout: str
    labels: Words
    splits: Words | None = None
    generators: Words | None = None
    generator: str | None = None
    ratios: Mapping[str, float] | None = None
    split_seed: int = 0
    groups: GroupSettings = None
    bridges: str = "keep"
    media: str = "images"

    def __post_init__(self) -> None:
        self.check(
            **GROUPED, root=PLACE, layout=TEXT, labels=MAPPING, splits=optional(MAPPING),
            generators=optional(NAMES), generator=optional(TEXT), media=one_of(*MEDIA),
        )  # fmt: skip
        _check_division(self.ratios, self.groups, self.bridges)
        layout_pattern(self.layout, check_groups(self.groups))
        _check_meanings("labels", self.labels, (*get_task(self.task).classes, None))
        _check_meanings("splits", self.splits, SPLIT_MEANINGS)
        words = _as_text(self.splits), _as_text(self.generators)
        refuse_unread_words(self.layout, *words, self.generator, USUAL_SPLITS)

    def list(self) -> DataSet:
        """List the images below `root`."""
        task, folder, groups = get_task(self.task), absolute(self.root), check_groups(self.groups)
        warn_of_swapped_labels(self.labels, task)
        columns = list_folder(
            folder, self.layout, _as_text(self.labels), _as_text(self.splits),
            _as_text(self.generators), groups, MEDIA[self.media],
        )  # fmt: skip
        words = {key: columns.pop(f"{{{key}}}") for key in groups if f"{{{key}}}" in columns}
        labelled = "{label}" in self.layout
        if not labelled:
            columns["split"] = ["unlabelled"] * len(columns["path"])
        ratios, seed = self.ratios or RATIOS, self.split_seed
        division = Division(self.name, groups, self.bridges, ratios, seed)
        columns = division.apply(columns, words, by_ratios=labelled)
        if "{group}" in self.layout:
            columns["group"] = [group and f"{self.name}/{group}" for group in columns["group"]]
        if "{pair}" in self.layout:
            columns["pair"] = [pair and f"{self.name}/{pair}" for pair in columns["pair"]]
        if self.generator is not None and "{generator}" not in self.layout:
            columns["generator"] = [
                self.generator if label == task.positive else None for label in columns["label"]
            ]
        columns["path"] = [f"{folder.as_posix()}/{path}" for path in columns["path"]]
        columns["source"] = [self.name] * len(columns["path"])
        return self.data_set(table_from_columns(columns))


@dataclass(frozen=True)
class TableData(Kind):
    """Images that an image table in CSV, JSON or Parquet lists.

    A table without sources takes `name` for them; one without splits is divided by the ratios, and
    its rows without a label are unlabelled. Settings that are not named here are as for
    `FolderData`.

    Attributes:
        file: the table.
        root: the folder that relative paths start from; None for that of the file.
        columns: column of the file to column of an image table, as `filename: path`; null leaves
            the column out.
        labels: word of the column label to class name; class names need no word.
        splits: word of the column split to split; the usual words need none.
        subgroups: further columns whose values are subgroups, by which metrics are broken down.
    """

    file: str
    root: str | None = None
    columns: Words | None = None
    labels: Words | None = None
    splits: Words | None = None
    ratios: Mapping[str, float] | None = None
    split_seed: int = 0
    groups: GroupSettings = None
    bridges: str = "keep"
    subgroups: Sequence[str] | None = None

    def __post_init__(self) -> None:
        words = dict.fromkeys(("columns", "labels", "splits"), optional(MAPPING))
        self.check(**GROUPED, **words, file=PLACE, root=optional(PLACE))
        _check_division(self.ratios, self.groups, self.bridges)
        further = (*check_groups(self.groups), *check_subgroups(self.subgroups))
        meanings = (*SCHEMA.names, *further, None)
        _check_meanings("columns", self.columns, meanings)
        _check_meanings("labels", self.labels, (*get_task(self.task).classes, None))
        _check_meanings("splits", self.splits, SPLIT_MEANINGS)

    def list(self) -> DataSet:
        """Read the file."""
        path, task, groups = absolute(self.file), get_task(self.task), check_groups(self.groups)
        subgroups = check_subgroups(self.subgroups)
        warn_of_swapped_labels(self.labels or {}, task)
        columns = read_own_table(path, self.columns or {}, groups, subgroups)
        columns = map_words(columns, path, task, self.labels or {}, self.splits or {})
        words = {key: columns[key] for key in groups if key in columns}
        nothing: list[str | None] = [None] * len(columns["path"])
        columns = {name: columns.get(name, nothing) for name in (*SCHEMA.names, *subgroups)}
        undivided = not any(columns["split"])
        if undivided:
            columns["split"] = [None if label else "unlabelled" for label in columns["label"]]
        # Splits are decided by paths that are the same on every system.
        columns |= {"path": [*split_keys(columns)], "as written": columns["path"]}
        ratios, seed = self.ratios or RATIOS, self.split_seed
        division = Division(self.name, groups, self.bridges, ratios, seed)
        columns = division.apply(columns, words, undivided or "auto" in columns["split"])
        columns["path"] = columns.pop("as written")
        columns["source"] = [source or self.name for source in columns["source"]]
        columns = find_files(columns, path, absolute(self.root) if self.root else path.parent)
        return self.data_set(table_from_columns(columns, subgroups), complete=False)


@dataclass(frozen=True)
class ShardData(Kind):
    """Images in the shards that `faceproof shard` writes.

    Attributes:
        root: the folder of the shards, or its address in an object store.
    """

    root: str

    def __post_init__(self) -> None:
        self.check(root=PLACE)

    def list(self) -> DataSet:
        """Read the table of the shards."""
        root = self.root
        remember_store(root)
        shards = shard_set(root.rstrip("/") if is_url(root) else absolute(root).as_posix())
        if (found := shards.index.task) != self.task:
            raise ShardError(f"the shards at {root} are of task {found}; set data.task={found}")
        shards.check()
        samples = shards.samples  # of an earlier version without components
        stored = {name: samples[name].cast(pa.string()) for name in samples.column_names}
        nothing = pa.nulls(samples.num_rows, pa.string())
        columns = [stored.get(one.name, nothing).cast(one.type) for one in SCHEMA]
        table = concat_tables([pa.table(columns, schema=SCHEMA)])
        return self.data_set(table, complete=False)


@dataclass(frozen=True)
class DemoData(Kind):
    """The demonstration set, drawn below `root` where it is not there yet.

    Settings that are not named here are as for `FolderData`.

    Attributes:
        seed: of everything that is drawn.
        num_per_class: images of each class.
    """

    root: str
    seed: int = 0
    num_per_class: int = 300
    ratios: Mapping[str, float] | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        self.check(**DIVIDED, root=PLACE, seed=SEED, num_per_class=COUNT)
        _check_ratios(self.ratios)

    def list(self) -> DataSet:
        """Draw what is missing, and list it."""
        task = get_task(self.task)
        folder = make_demo(absolute(self.root), task, self.seed, self.num_per_class)
        return FolderData(
            self.name, self.task, str(folder / "pictures"), "{label}/{generator}/*",
            {label: label for label in task.classes}, ratios=self.ratios,
            split_seed=self.split_seed, max_unreadable=self.max_unreadable,
            allow_leaks=self.allow_leaks,
        ).list()  # fmt: skip


def _check_meanings(setting: str, words: Words | None, allowed: Sequence[str | None]) -> None:
    for word, meaning in (words or {}).items():
        if meaning not in allowed:
            known = f"{', '.join(map(str, allowed[:-1]))}, or null to leave it out"
            raise SettingError(f"{setting}.{word}", f"= {meaning!r} must be one of {known}")


def _check_ratios(ratios: Mapping[str, float] | None) -> None:
    for split, share in (ratios or {}).items():
        if not SHARE.fits(share):
            raise SettingError(f"ratios.{split}", f"= {share!r} must be {SHARE.meaning}")
    if ratios is not None:
        check_ratios(ratios)


def _check_division(
    ratios: Mapping[str, float] | None, groups: GroupSettings, bridges: str
) -> None:
    _check_ratios(ratios)
    if not check_groups(groups) and bridges == "leave_out":
        raise SettingError("bridges", "= 'leave_out' changes nothing without data.groups")


def _as_text(words: Words | None) -> dict[str, str | None]:
    """Return folder words as text; YAML reads the word 0 as a number."""
    return {str(word): name for word, name in (words or {}).items()}


def absolute(path: str) -> Path:
    """Return an absolute path; not resolve(), for a link's name is the user's name for it."""
    return Path(as_on_disk(os.path.abspath(at_home(path))))
