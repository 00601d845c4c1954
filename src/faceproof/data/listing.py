"""Data sets: functions that return an image table, with what a run must know beside it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from faceproof.data.demo.make import make_demo
from faceproof.data.layout import list_folder
from faceproof.data.shards.reading import shard_set
from faceproof.data.shards.store import ShardError, is_url
from faceproof.data.splits import assign_splits
from faceproof.data.table import (
    SCHEMA,
    concat_tables,
    read_table,
    table_from_columns,
    validate,
)
from faceproof.errors import FaceproofError
from faceproof.task import Task, get_task

RATIOS = {"train": 0.7, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class DataSet:
    """A validated image table and the question it answers.

    `max_unreadable` is the share of files that may be unreadable before a run refuses to start,
    `allow_leaks` lets it start although images or groups straddle splits.
    """

    name: str
    task: Task
    table: pa.Table
    max_unreadable: float = 0.01
    allow_leaks: bool = False


def folder_data(
    name: str,
    task: str,
    root: str,
    layout: str,
    labels: Mapping[str, str | None],
    splits: Mapping[str, str | None] | None = None,
    generators: Mapping[str, str | None] | None = None,
    generator: str | None = None,
    ratios: Mapping[str, float] | None = None,
    split_seed: int = 0,
    max_unreadable: float = 0.01,
    allow_leaks: bool = False,
) -> DataSet:
    """Read a data set that lies in folders.

    Args:
        name: the data set's name, which becomes the `source` of its images.
        task: `deepfake` or `face`.
        root: the folder that the layout line starts from.
        layout: which folder word means what, such as `{split}/{label}/*`; see `data.layout`.
        labels: folder word to class name, in any case; null leaves the folder out.
        splits: folder word to train, val, test, or `auto` for "by the ratios".
        generators: folder word to generator name, where they differ.
        generator: what made the positive class, where the layout line has no `{generator}`.
        ratios: the division of images without a split.
        split_seed: another seed is another division.
        max_unreadable: the share of files that may be unreadable.
        allow_leaks: train although images or groups straddle splits.

    Raises:
        FaceproofError: the folders are not as the layout says, or the table is not valid.
    """
    question = get_task(task)
    folder = _absolute(root)
    columns = list_folder(folder, layout, _lowered(labels), _lowered(splits), _lowered(generators))
    paths = [str(path) for path in columns["path"]]
    if "{label}" in layout:
        columns["split"] = list(
            assign_splits(columns["split"], paths, columns["group"], ratios or RATIOS, split_seed)
        )
    else:
        columns["split"] = ["unlabelled"] * len(paths)
    if generator is not None and "{generator}" not in layout:
        columns["generator"] = [
            generator if label == question.positive else None for label in columns["label"]
        ]
    columns["group"] = [group and f"{name}/{group}" for group in columns["group"]]
    columns["path"] = [f"{folder.as_posix()}/{path}" for path in paths]
    columns["source"] = [name] * len(paths)
    table = validate(table_from_columns(columns), question, name)
    return DataSet(name, question, table, max_unreadable, allow_leaks)


def _lowered(words: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """Bring folder words to lower case; YAML reads the word 0 as a number."""
    return {str(word).lower(): name for word, name in (words or {}).items()}


def _absolute(path: str) -> Path:
    """Return an absolute path; not resolve(), for a link's name is the user's name for it."""
    return Path(os.path.abspath(Path(path).expanduser()))


def table_data(
    name: str,
    task: str,
    file: str,
    ratios: Mapping[str, float] | None = None,
    split_seed: int = 0,
    max_unreadable: float = 0.01,
    allow_leaks: bool = False,
) -> DataSet:
    """Read a data set from an image table in CSV or Parquet.

    Paths may be relative to the file. A table without sources takes `name` for them; one without
    splits is divided by the ratios, and its rows without a label are unlabelled.

    Raises:
        FaceproofError: the file is missing or the table is not valid.
    """
    question, path = get_task(task), _absolute(file)
    columns = read_table(path).to_pydict()
    if not any(columns["split"]):
        divided = assign_splits(
            columns["split"], columns["path"], columns["group"], ratios or RATIOS, split_seed
        )
        columns["split"] = [
            split if label else "unlabelled"
            for split, label in zip(divided, columns["label"], strict=True)
        ]
    columns["path"] = [os.path.normpath(path.parent / image) for image in columns["path"]]
    columns["source"] = [source or name for source in columns["source"]]
    table = validate(table_from_columns(columns), question, name, complete=False)
    return DataSet(name, question, table, max_unreadable, allow_leaks)


def shard_data(
    name: str,
    task: str,
    root: str,
    max_unreadable: float = 0.01,
    allow_leaks: bool = False,
) -> DataSet:
    """Read a data set that `faceproof shard` has written.

    Raises:
        FaceproofError: there are no shards at `root`, one is damaged, or they are of another task.
    """
    question = get_task(task)
    shards = shard_set(root.rstrip("/") if is_url(root) else _absolute(root).as_posix())
    if (found := shards.index.task) != question.name:
        raise ShardError(f"the shards at {root} are of task {found}; say data.task={found}")
    shards.check()
    columns = [shards.samples[one.name].cast(pa.string()).cast(one.type) for one in SCHEMA]
    table = concat_tables([pa.table(columns, schema=SCHEMA)])
    table = validate(table, question, name, complete=False)
    return DataSet(name, question, table, max_unreadable, allow_leaks)


def combined_data(
    name: str,
    task: str,
    sets: Mapping[str, DataSet],
    max_unreadable: float = 0.01,
    allow_leaks: bool = False,
) -> DataSet:
    """Put several data sets of one task under one another; `source` tells them apart.

    Raises:
        FaceproofError: there are none, or one is of another task, or two share an image.
    """
    question = get_task(task)
    others = [part.name for part in sets.values() if part.task != question]
    if not sets or others:
        raise FaceproofError(
            f"data set {name} combines sets of task {task}; found "
            + (f"{others[0]}, which is of another task" if others else "none in data.sets")
        )
    table = concat_tables(part.table for part in sets.values())
    return DataSet(name, question, validate(table, question, name), max_unreadable, allow_leaks)


def demo_data(
    name: str,
    task: str,
    root: str,
    seed: int = 0,
    num_per_class: int = 600,
    ratios: Mapping[str, float] | None = None,
    split_seed: int = 0,
    max_unreadable: float = 0.01,
    allow_leaks: bool = False,
) -> DataSet:
    """Make the demonstration set below `root` if it is not there, and read it as folders.

    Raises:
        FaceproofError: `root` holds something else, or a set made with other settings.
    """
    question = get_task(task)
    folder = _absolute(root)
    make_demo(folder, question, seed, num_per_class)
    return folder_data(
        name,
        task,
        root=str(folder / "pictures"),
        layout="{label}/{generator}/*",
        labels={label: label for label in question.classes},
        ratios=ratios,
        split_seed=split_seed,
        max_unreadable=max_unreadable,
        allow_leaks=allow_leaks,
    )
