"""The image table: the form of every data set, one row an image.

| column    | type       | meaning                                                        |
|-----------|------------|----------------------------------------------------------------|
| path      | string     | the file, absolute; unique                                     |
| label     | dictionary | a class name of the task, or null in unlabelled rows           |
| split     | dictionary | train, val, test or unlabelled                                 |
| source    | dictionary | the data set that the image comes from                         |
| generator | dictionary | what made the fake, or null                                    |
| group     | string     | what is judged as one and stays in one split (a video), or null |
| component | string     | what people or source videos connect, and so stays in one split |
| pair      | string     | a name that a fake shares with what it was made from, or null    |

Further columns, which `data.subgroups` names, hold subgroups of the images, as words.

Columns are Arrow arrays, not Python objects, so that worker processes share their memory.
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_file
from faceproof.task import Task

WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", WORD),
        ("split", WORD),
        ("source", WORD),
        ("generator", WORD),
        ("group", pa.string()),
        ("component", pa.string()),
        ("pair", pa.string()),
    ]
)
ADDED_LATER = ("component", "pair")  # columns that files of earlier versions lack
log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "unlabelled")


def table_from_columns(
    columns: Mapping[str, Sequence[str | None]], subgroups: Sequence[str] = ()
) -> pa.Table:
    """Build an image table from columns of strings; `path` is required, the rest may be absent.

    `subgroups` names the further columns.
    """
    _refuse_unknown_columns(set(columns) - {*subgroups})
    paths = list(columns["path"])
    if None in paths:
        raise FaceproofError(f"row {paths.index(None) + 1} of an image table has no path")
    nothing = [None] * len(paths)
    texts = [pa.array(columns.get(name, nothing), pa.string()) for name in SCHEMA.names]
    table = pa.table(texts, SCHEMA.names).cast(SCHEMA)
    for name in subgroups:
        table = table.append_column(name, pa.array(columns[name], pa.string()).cast(WORD))
    return table


def subgroups_of(table: pa.Table) -> list[str]:
    """Return the further columns of an image table."""
    return [name for name in table.column_names if name not in SCHEMA.names]


def _refuse_unknown_columns(columns: Collection[str]) -> None:
    if "path" not in columns or (unknown := set(columns) - {*SCHEMA.names}):
        found = ", ".join(columns) or "none"
        rename = "" if "path" not in columns else f"; rename or drop {', '.join(sorted(unknown))}"
        raise FaceproofError(
            f"an image table needs the column path and may have {', '.join(SCHEMA.names[1:])}; "
            f"found the columns {found}{rename}"
        )


def concat_tables(tables: Iterable[pa.Table]) -> pa.Table:
    """Concatenate image tables, or predictions tables; a column that one lacks is null there."""
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries().combine_chunks()


def select(table: pa.Table, split: str) -> pa.Table:
    """Return the rows of one split."""
    return table.filter(pc.equal(table["split"].cast(pa.string()), split))


def select_label(table: pa.Table, label: str) -> pa.Table:
    """Return the rows of one class."""
    return table.filter(pc.equal(table["label"].cast(pa.string()), label))


def evenly_spaced(rows: pa.Table, num: int) -> pa.Table:
    """Return at most `num` rows of each group, evenly spaced; rows without a group all stay.

    A group is ordered by its file names, in which numbers count by their value. It is divided into
    `num` equal stretches, and the middle row of each is taken.
    """
    if num < 1:
        raise FaceproofError(f"frames={num} must be at least 1")
    if rows["group"].null_count == rows.num_rows:
        log.warning("frames=%d changes nothing: no image is in a group, such as a video", num)
    members: dict[str, list[int]] = {}
    for row, group in enumerate(rows["group"].to_pylist()):
        if group is not None:
            members.setdefault(group, []).append(row)
    paths = rows["path"].to_pylist()
    left_out = np.zeros(rows.num_rows, dtype=bool)
    for inside in members.values():
        if len(inside) > num:
            inside.sort(key=lambda row: _natural(paths[row]))
            chosen = ((np.arange(num) + 0.5) * len(inside) / num).astype(int)
            left_out[np.delete(inside, chosen)] = True
    return rows.filter(pa.array(~left_out))


def _natural(path: str) -> list[tuple[int, str]]:
    """Return a sort key in which the numbers of a name count by their value."""
    parts = re.split(r"(\d+)", path)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def counts(table: pa.Table, *columns: str) -> dict[tuple[str | None, ...], int]:
    """Return the number of rows for each combination of values in `columns`, sorted by name.

    Splits stand in their usual order: training first, and what is tested on last.
    """
    plain = pa.table({name: table[name].cast(pa.string()) for name in columns})
    grouped = plain.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist()
    found = {tuple(row[name] for name in columns): row["count_all"] for row in grouped}

    def place(item: tuple[tuple[str | None, ...], int]) -> list[tuple[int, str]]:
        pairs = zip(columns, item[0], strict=True)
        return [
            (_split_place(value) if name == "split" else 0, value or "") for name, value in pairs
        ]

    return dict(sorted(found.items(), key=place))


def _split_place(split: str | None) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def validate(table: pa.Table, task: Task, name: str, complete: bool = True) -> pa.Table:
    """Check an image table and return it; called once, where the data set `name` is made.

    It must have rows, unique paths, known splits, the task's classes as labels, a label in every
    row that is not unlabelled, and, if `complete`, images of both classes: a set for testing may
    hold fakes alone.
    """
    if table.num_rows == 0:
        raise FaceproofError(f"data set {name} has no images")
    _refuse_strangers(table, "label", task.classes, f"the classes of task {task.name}", name)
    _refuse_strangers(table, "split", SPLITS, "the splits", name)
    repeated = table.num_rows - pc.count_distinct(table["path"]).as_py()
    if repeated:
        values = pc.value_counts(table["path"].combine_chunks())
        first = values.filter(pc.greater(values.field("counts"), 1))[0]["values"].as_py()
        raise FaceproofError(
            f"data set {name} lists {repeated} images more than once, {first} for one; "
            "a path may be in one row only"
        )
    labelled = table.filter(pc.not_equal(table["split"].cast(pa.string()), "unlabelled"))
    if labelled["label"].null_count:
        raise FaceproofError(
            f"data set {name} has {labelled['label'].null_count} images without a label in the "
            "splits train, val or test; give them a label or the split 'unlabelled'"
        )
    if complete and labelled.num_rows:
        present = {label for (label,) in counts(labelled, "label")}
        missing = [label for label in task.classes if label not in present]
        if missing:
            raise FaceproofError(
                f"data set {name} has no image of class {missing[0]}; found "
                f"{describe_counts(labelled)}; check data.labels (folder words to class names) "
                "and data.layout"
            )
    return table


def _refuse_strangers(
    table: pa.Table, column: str, allowed: Sequence[str], what: str, name: str
) -> None:
    """Refuse values of `column` outside `allowed`; null is refused in `split` alone."""
    found = {value for (value,) in counts(table, column) if value is not None}
    strangers = sorted(found - set(allowed))
    if strangers or (column == "split" and table[column].null_count):
        shown = ", ".join(strangers) or "nothing (null)"
        raise FaceproofError(
            f"data set {name} has {shown} in the column {column}; {what} are {', '.join(allowed)}"
        )


def describe_counts(table: pa.Table) -> str:
    """Return the numbers of images by split and label, as text."""
    parts = [
        f"{split or 'no split'} {label or 'no label'} {count:,}"
        for (split, label), count in counts(table, "split", "label").items()
    ]
    return "; ".join(parts) or "no images"


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_file(path) as partial:
        pyarrow.parquet.write_table(table, partial)
