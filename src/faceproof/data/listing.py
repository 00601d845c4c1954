"""The kinds of data sets: settings that are checked at once, and a method that lists the images.

Each kind is a dataclass with the settings of a file in `conf/data/`; its `list()` returns the image
table.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from faceproof.data.demo.make import make_demo
from faceproof.data.layout import layout_pattern, list_folder
from faceproof.data.shards.reading import shard_set
from faceproof.data.shards.store import ShardError, is_url
from faceproof.data.splits import assign_splits, check_ratios
from faceproof.data.table import (
    SCHEMA,
    SPLITS,
    concat_tables,
    read_table,
    table_from_columns,
    validate,
)
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.settings import (
    COUNT,
    INTEGER,
    SEED,
    SHARE,
    SWITCH,
    TEXT,
    Rule,
    SettingError,
    check,
    is_number,
    optional,
)
from faceproof.task import Task, get_task

RATIOS = {"train": 0.7, "val": 0.15, "test": 0.15}
SPLIT_MEANINGS = (*SPLITS, "auto", None)
MAPPING = Rule(lambda value: isinstance(value, Mapping), "words and their meaning")
NAMES = Rule(
    lambda value: (
        isinstance(value, Mapping) and all(isinstance(name, str | None) for name in value.values())
    ),
    "folder words and the names of generators",
)
SHARES = Rule(
    lambda value: isinstance(value, Mapping) and all(map(is_number, value.values())),
    "shares of train, val and test",
)
COMMON = {"name": TEXT, "task": TEXT, "max_unreadable": SHARE, "allow_leaks": SWITCH}
DIVIDED = {"ratios": optional(SHARES), "split_seed": INTEGER}

Words = Mapping[str, str | None]


@dataclass(frozen=True)
class DataSet:
    """A validated image table and the task whose labels it holds.

    Attributes:
        name: the data set's name, the `source` of its images unless the table says otherwise.
        task: the task.
        table: the image table; see `data.table`.
        max_unreadable: the share of unreadable files above which a run refuses to start.
        allow_leaks: train although images or groups straddle splits.
    """

    name: str
    task: Task
    table: pa.Table
    max_unreadable: float = 0.01
    allow_leaks: bool = False


class Source(Protocol):
    """The settings of a data set."""

    def list(self) -> DataSet:
        """List the images.

        Raises:
            FaceproofError: they cannot be listed, or their table is not valid.
        """
        ...


def recorded_data(run: RunFolder) -> DataSet:
    """Return the images that a run was trained on, as its `samples.parquet` lists them."""
    data = run.read_config()["data"]
    return DataSet(data["name"], get_task(data["task"]), read_table(run.samples))


@dataclass(frozen=True)
class FolderData:
    """Images in folders whose names say what they are.

    Attributes:
        name: see `DataSet`.
        task: `deepfake` or `face`.
        root: the folder that the layout line starts from.
        layout: what each folder word means, such as `{split}/{label}/*`; see `data.layout`.
        labels: folder word to class name, in any case; null leaves the folder out.
        splits: folder word to train, val, test, or `auto` for "by the ratios".
        generators: folder word to generator name, where they differ.
        generator: what made the positive class, where the layout line has no `{generator}`.
        ratios: the shares of train, val and test among images without a split.
        split_seed: another seed is another division.
        max_unreadable: see `DataSet`.
        allow_leaks: see `DataSet`.

    Raises:
        SettingError: a setting is of no meaning.
    """

    name: str
    task: str
    root: str
    layout: str
    labels: Words
    splits: Words | None = None
    generators: Words | None = None
    generator: str | None = None
    ratios: Mapping[str, float] | None = None
    split_seed: int = 0
    max_unreadable: float = 0.01
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        check(
            self, **COMMON, **DIVIDED, root=TEXT, layout=TEXT, labels=MAPPING,
            splits=optional(MAPPING), generators=optional(NAMES), generator=optional(TEXT),
        )  # fmt: skip
        layout_pattern(self.layout)
        _check_ratios(self.ratios)
        classes = (*get_task(self.task).classes, None)
        for setting, allowed in (("labels", classes), ("splits", SPLIT_MEANINGS)):
            for word, meaning in (getattr(self, setting) or {}).items():
                if meaning not in allowed:
                    known = ", ".join(map(str, allowed[:-1]))
                    raise SettingError(
                        f"{setting}.{word}",
                        f"= {meaning!r} must be one of {known}, or null to leave the folder out",
                    )

    def list(self) -> DataSet:
        """List the images below `root`.

        Raises:
            FaceproofError: the folders are not as the layout says, or the table is not valid.
        """
        task, folder = get_task(self.task), _absolute(self.root)
        columns = list_folder(
            folder, self.layout, _lowered(self.labels), _lowered(self.splits),
            _lowered(self.generators),
        )  # fmt: skip
        paths = [str(path) for path in columns["path"]]
        if "{label}" in self.layout:
            ratios = self.ratios or RATIOS
            columns["split"] = list(
                assign_splits(columns["split"], paths, columns["group"], ratios, self.split_seed)
            )
        else:
            columns["split"] = ["unlabelled"] * len(paths)
        if self.generator is not None and "{generator}" not in self.layout:
            columns["generator"] = [
                self.generator if label == task.positive else None for label in columns["label"]
            ]
        columns["group"] = [group and f"{self.name}/{group}" for group in columns["group"]]
        columns["path"] = [f"{folder.as_posix()}/{path}" for path in paths]
        columns["source"] = [self.name] * len(paths)
        table = validate(table_from_columns(columns), task, self.name)
        return DataSet(self.name, task, table, self.max_unreadable, self.allow_leaks)


@dataclass(frozen=True)
class TableData:
    """Images that an image table in CSV or Parquet lists.

    Paths may be relative to the file. A table without sources takes `name` for them; one without
    splits is divided by the ratios, and its rows without a label are unlabelled.

    Attributes:
        file: the table; the others as for `FolderData`.
    """

    name: str
    task: str
    file: str
    ratios: Mapping[str, float] | None = None
    split_seed: int = 0
    max_unreadable: float = 0.01
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        check(self, **COMMON, **DIVIDED, file=TEXT)
        _check_ratios(self.ratios)
        get_task(self.task)

    def list(self) -> DataSet:
        """Read the file.

        Raises:
            FaceproofError: it is missing, or the table is not valid.
        """
        task, path = get_task(self.task), _absolute(self.file)
        columns = read_table(path).to_pydict()
        if not any(columns["split"]):
            divided = assign_splits(
                columns["split"], columns["path"], columns["group"], self.ratios or RATIOS,
                self.split_seed,
            )  # fmt: skip
            columns["split"] = [
                split if label else "unlabelled"
                for split, label in zip(divided, columns["label"], strict=True)
            ]
        columns["path"] = [os.path.normpath(path.parent / image) for image in columns["path"]]
        columns["source"] = [source or self.name for source in columns["source"]]
        table = validate(table_from_columns(columns), task, self.name, complete=False)
        return DataSet(self.name, task, table, self.max_unreadable, self.allow_leaks)


@dataclass(frozen=True)
class ShardData:
    """Images in the shards that `faceproof shard` writes.

    Attributes:
        root: the folder of the shards, or its address in an object store; the others as for
            `FolderData`.
    """

    name: str
    task: str
    root: str
    max_unreadable: float = 0.01
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        check(self, **COMMON, root=TEXT)
        get_task(self.task)

    def list(self) -> DataSet:
        """Read the table of the shards.

        Raises:
            FaceproofError: there are no shards, one is damaged, or they are of another task.
        """
        task, root = get_task(self.task), self.root
        shards = shard_set(root.rstrip("/") if is_url(root) else _absolute(root).as_posix())
        if (found := shards.index.task) != task.name:
            raise ShardError(f"the shards at {root} are of task {found}; set data.task={found}")
        shards.check()
        columns = [shards.samples[one.name].cast(pa.string()).cast(one.type) for one in SCHEMA]
        table = concat_tables([pa.table(columns, schema=SCHEMA)])
        table = validate(table, task, self.name, complete=False)
        return DataSet(self.name, task, table, self.max_unreadable, self.allow_leaks)


@dataclass(frozen=True)
class CombinedData:
    """Several data sets of one task as one; the column `source` tells them apart.

    Attributes:
        sets: the data sets by name; the others as for `FolderData`.
    """

    name: str
    task: str
    sets: Mapping[str, "Source | DataSet"]
    max_unreadable: float = 0.01
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        check(self, **COMMON)
        get_task(self.task)

    def list(self) -> DataSet:
        """List every set.

        Raises:
            FaceproofError: there are none, or one is of another task, or two share an image.
        """
        task = get_task(self.task)
        parts = [one if isinstance(one, DataSet) else one.list() for one in self.sets.values()]
        others = [part.name for part in parts if part.task != task]
        if not parts or others:
            found = f"{others[0]}, which is of another task" if others else "none in data.sets"
            raise FaceproofError(
                f"data set {self.name} combines sets of task {task.name}; found {found}"
            )
        table = validate(concat_tables(part.table for part in parts), task, self.name)
        return DataSet(self.name, task, table, self.max_unreadable, self.allow_leaks)


@dataclass(frozen=True)
class DemoData:
    """The demonstration set, drawn below `root` where it is not there yet.

    Attributes:
        seed: of everything that is drawn.
        num_per_class: images of each class; the others as for `FolderData`.
    """

    name: str
    task: str
    root: str
    seed: int = 0
    num_per_class: int = 600
    ratios: Mapping[str, float] | None = None
    split_seed: int = 0
    max_unreadable: float = 0.01
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        check(self, **COMMON, **DIVIDED, root=TEXT, seed=SEED, num_per_class=COUNT)
        _check_ratios(self.ratios)
        get_task(self.task)

    def list(self) -> DataSet:
        """Draw what is missing, and list it.

        Raises:
            FaceproofError: `root` holds something else, or a set made with other settings.
        """
        task, folder = get_task(self.task), _absolute(self.root)
        make_demo(folder, task, self.seed, self.num_per_class)
        return FolderData(
            self.name, self.task, str(folder / "pictures"), "{label}/{generator}/*",
            {label: label for label in task.classes}, ratios=self.ratios,
            split_seed=self.split_seed, max_unreadable=self.max_unreadable,
            allow_leaks=self.allow_leaks,
        ).list()  # fmt: skip


def _check_ratios(ratios: Mapping[str, float] | None) -> None:
    for split, share in (ratios or {}).items():
        if not SHARE.fits(share):
            raise SettingError(f"ratios.{split}", f"= {share!r} must be {SHARE.meaning}")
    if ratios is not None:
        check_ratios(ratios)


def _lowered(words: Words | None) -> dict[str, str | None]:
    """Bring folder words to lower case; YAML reads the word 0 as a number."""
    return {str(word).lower(): name for word, name in (words or {}).items()}


def _absolute(path: str) -> Path:
    """Return an absolute path; not resolve(), for a link's name is the user's name for it."""
    return Path(os.path.abspath(Path(path).expanduser()))
