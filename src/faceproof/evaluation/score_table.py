"""Reads the scores that any detector gave, as a table of path, label and score, as predictions.

Nothing is guessed: what the scores are is in the name of their column (`probability`, `logit`) or
is said. Nothing is lost: a row that cannot be used is an error that names it, by its number as a
spreadsheet shows it (of JSON and Parquet from 1 on).
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import special

from faceproof.data.own_table import map_words, read_columns
from faceproof.data.subgroups import check_subgroups
from faceproof.data.table import SCHEMA, table_from_columns
from faceproof.data.unread import words_without_use
from faceproof.errors import FaceproofError
from faceproof.evaluation.path_matching import match_paths
from faceproof.evaluation.predictions import Flags, Scores, predictions_table, sigmoid
from faceproof.io.names import CSV_SUFFIXES, folded
from faceproof.task import Task, get_task
from faceproof.words import for_shell

SCORE_COLUMNS = ("score", "probability", "percent", "logit")
RANGES = {"probability": (0.0, 1.0), "percent": (0.0, 100.0), "logit": (-3e38, 3e38)}
KINDS = {
    "probability": "--score probability (from 0 to 1)",
    "percent": "--score percent (from 0 to 100)",
    "logit": "--score logit (any number; 0 stands for a probability of 0.5)",
}
# The logit of the number next to 1 that a double has: that of a probability of 1, or beyond.
FAR = 37.0
NUM_NAMED = 5

Columns = dict[str, list[str | None]]
Words = Mapping[str, str | None]

log = logging.getLogger(__name__)


def meanings(words: Mapping[str, str]) -> dict[str, str | None]:
    """Return words of the command line and what they mean, None for `null`."""
    return {word: None if meaning == "null" else meaning for word, meaning in words.items()}


@dataclass(frozen=True)
class ScoreFormat:
    """How tables of scores are read.

    Attributes:
        task: `deepfake` (real or fake) or `face` (face or not).
        score: what the scores are: probability, percent or logit; None where their column's name
            says so.
        score_of: the class that a high score speaks for; None for the positive class.
        columns: column of the file to `path`, `label`, `score` or another column of an image table;
            a kind of scores in the place of `score` says what they are; None leaves it out.
        labels: word of the column label to class name; class names need no word.
        splits: word of the column split to split; the usual words need none.
        subgroups: further columns whose values are subgroups.
    """

    task: str = "deepfake"
    score: str | None = None
    score_of: str | None = None
    columns: Words = field(default_factory=dict)
    labels: Words = field(default_factory=dict)
    splits: Words = field(default_factory=dict)
    subgroups: Sequence[str] = ()

    def __post_init__(self) -> None:
        classes = get_task(self.task).classes
        if self.score is not None and self.score not in KINDS:
            raise FaceproofError(f"--score {self.score} is none of {', '.join(KINDS)}")
        if self.score_of is not None and self.score_of not in classes:
            raise FaceproofError(f"--score-of {self.score_of} is none of {', '.join(classes)}")
        known = (*SCHEMA.names, *SCORE_COLUMNS, *check_subgroups(self.subgroups, "--subgroups"))
        for setting, words, meanings in (
            ("columns", self.columns, known), ("labels", self.labels, classes),
            ("splits", self.splits, ("train", "val", "test", "unlabelled")),
        ):  # fmt: skip
            for word, meaning in words.items():
                if meaning is not None and meaning not in meanings:
                    raise FaceproofError(
                        f"--{setting}.{word}={meaning} is none of {', '.join(meanings)}, or null "
                        "to leave it out"
                    )


@dataclass(frozen=True)
class ScoreTable:
    """What a table of scores holds.

    Attributes:
        kind: what its scores are, a key of `KINDS`.
        predictions: a row for each image, with uncalibrated probabilities; paths are as written.
        split: of each row; None where there is none.
        names: of the columns of the file.
        columns: those that file and images have, by their meaning.
        left_out: columns that nothing reads.
        num_left_out: rows that a word with the meaning null leaves out.
    """

    file: Path
    kind: str
    predictions: pa.Table
    split: list[str | None]
    names: tuple[str, ...]
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    num_left_out: int

    def part(self, *splits: str | None) -> pa.Table:
        """Return the predictions of some splits."""
        return self.predictions.filter(pa.array([one in splits for one in self.split], pa.bool_()))


def read_scores(file: Path, how: ScoreFormat, images: Path | None = None) -> ScoreTable:
    """Read a CSV, JSON or Parquet file of scores; `images` is a table with more columns of them.

    Raises:
        FaceproofError: it cannot be read, lacks a column, or has rows that cannot be used.
    """
    task = get_task(how.task)
    columns, names, left_out = _named_columns(file, how)
    paths = _checked_paths(file, columns)
    score = _score_column(file, columns, how.score)
    kind = how.score or score
    numbers = _numbers(file, columns.pop(score), paths, kind)
    columns = {name: values for name, values in columns.items() if name not in SCORE_COLUMNS}
    columns["row"] = [str(row) for row in range(len(paths))]
    columns = _mapped(file, columns, task, how)
    rows = [int(str(row)) for row in columns.pop("row")]
    if images is not None:
        columns = _with_images(file, columns, images, how, task)
    subgroups = tuple(how.subgroups)
    there = tuple(columns)
    nothing: list[str | None] = [None] * len(rows)
    columns = {**dict.fromkeys(subgroups, nothing), **columns}
    split = columns.get("split", nothing)
    known = (images or file).name
    columns["source"] = [source or known for source in columns.get("source", nothing)]
    logits, probabilities = as_logits(numbers[rows], kind)
    if how.score_of == task.negative:
        logits, probabilities = -logits, 1 - probabilities
    predictions = predictions_table(
        table_from_columns(columns, subgroups), logits, probabilities, subgroups=subgroups
    )
    num_left_out = len(paths) - len(rows)
    return ScoreTable(file, kind, predictions, split, names, there, left_out, num_left_out)


def reported_split(table: ScoreTable) -> str | None:
    """Return the split that is reported: test, or the only one there is."""
    splits = sorted(set(table.split), key=str)
    if "test" in splits:
        return "test"
    if len(splits) > 1:
        raise FaceproofError(
            f"{table.file} has the splits {', '.join(map(str, splits))}, and none of them is test: "
            "say which one to report by --splits.WORD=test"
        )
    return splits[0]


def refuse_unused(how: ScoreFormat, tables: Sequence[ScoreTable]) -> None:
    """Refuse a meaning of a column that none of some tables has."""
    names = {name for table in tables for name in table.names}
    if missing := words_without_use(how.columns, names):
        raise FaceproofError(
            f"--columns gives a meaning to {missing[0]!r}, which is no column of "
            f"{' or '.join(str(table.file) for table in tables)}; found {', '.join(sorted(names))}"
        )


def _named_columns(
    file: Path, how: ScoreFormat
) -> tuple[Columns, tuple[str, ...], tuple[str, ...]]:
    """Return the columns of a file by their meanings, their names, and those without a meaning."""
    if not file.is_file():
        raise FaceproofError(f"there is no table at {file}; name a CSV, JSON or Parquet file")
    raw = read_columns(file)
    meanings = {folded(name): meaning for name, meaning in how.columns.items()}
    known = {folded(name): name for name in (*SCHEMA.names, *SCORE_COLUMNS, *how.subgroups)}
    given = {meanings[folded(name)] for name in raw if folded(name) in meanings}
    found, left_out = Columns(), []
    for name, values in raw.items():
        word = folded(name)
        # What is given by hand stands for a column that has the name by chance.
        own = None if known.get(word) in given else known.get(word)
        meaning = meanings.get(word, own)
        if meaning is None:
            left_out.append(name)
        elif meaning in found:
            raise FaceproofError(
                f"{file} has two columns for {meaning}, {name} the second; leave one out by "
                f"{for_shell(f'--columns.{name}=null')}"
            )
        else:
            found[meaning] = values
    if "path" not in found:
        raise FaceproofError(
            f"{file} has the columns {', '.join(raw)} and none with the images: say which one has "
            "them by --columns.NAME=path, or name it path"
        )
    return found, tuple(raw), tuple(left_out)


def row_number(file: Path, row: int) -> int:
    """Return the number under which a spreadsheet shows a row; `row` counts from 0."""
    return row + (2 if file.suffix.lower() in CSV_SUFFIXES else 1)


def _named_rows(file: Path, rows: Iterable[int], shown: Sequence[str]) -> str:
    """Name some rows, the first of them with what is at fault."""
    listed = list(rows)
    parts = [f"row {row_number(file, row)} ({shown[row]})" for row in listed[:NUM_NAMED]]
    return ", ".join(parts) + (f" and {len(listed) - NUM_NAMED:,} more" * (len(listed) > NUM_NAMED))


def _checked_paths(file: Path, columns: Columns) -> list[str]:
    """Return the paths, each there once."""
    paths = columns["path"]
    empty = [row for row, path in enumerate(paths) if path is None or not path.strip()]
    if empty:
        listed = ", ".join(f"row {row_number(file, row)}" for row in empty[:NUM_NAMED])
        more = f" and {len(empty) - NUM_NAMED:,} more" * (len(empty) > NUM_NAMED)
        raise FaceproofError(f"{file}: {len(empty):,} rows have no path: {listed}{more}")
    found = [str(path) for path in paths]
    if len(set(found)) < len(found):
        seen: dict[str, int] = {}
        again = [row for row, path in enumerate(found) if seen.setdefault(path, row) != row]
        first = again[0]
        raise FaceproofError(
            f"{file} has {len(again):,} paths more than once, {found[first]} in the rows "
            f"{row_number(file, seen[found[first]])} and {row_number(file, first)} for one; an "
            "image has one score: remove the others"
        )
    return found


def _score_column(file: Path, columns: Columns, said: str | None) -> str:
    """Return the column that holds the scores; its name or `said` tells what they are."""
    there = [name for name in SCORE_COLUMNS if name in columns]
    choices = "; ".join(KINDS.values())
    if not there:
        raise FaceproofError(
            f"{file} has no column with the scores: say which one has them by "
            "--columns.NAME=score, or name it score"
        )
    if "score" in there:
        if said is None:
            raise FaceproofError(f"say what the scores in {file} are, by one of {choices}")
        return "score"
    if len(there) > 1 and said not in there:
        raise FaceproofError(
            f"{file} has the columns {' and '.join(there)}: say which one to read, by --score "
            f"{' or --score '.join(there)}"
        )
    name = there[0] if said not in there else str(said)
    if said is not None and name != said:
        raise FaceproofError(
            f"--score {said} contradicts the column {name} of {file}; leave it out, or rename the "
            "column to score"
        )
    return name


def _numbers(file: Path, cells: Sequence[str | None], paths: Sequence[str], kind: str) -> Scores:
    """Return the scores as numbers, (N,), each finite and in the range of its kind."""
    numbers = np.array([_number(cell) for cell in cells], np.float64)
    shown = [f"{path}: {cell or 'empty'}" for path, cell in zip(paths, cells, strict=True)]

    def refuse(bad: Flags, what: str, advice: str) -> None:
        if bad.any():
            where = _named_rows(file, np.flatnonzero(bad).tolist(), shown)
            raise FaceproofError(
                f"{np.count_nonzero(bad):,} of {len(bad):,} scores in {file} {what}: {where}. "
                f"{advice}"
            )

    comma = [bool(re.fullmatch(r"-?\d+,\d+", cell or "")) for cell in cells]
    refuse(
        np.array(comma, bool), "have a decimal comma",
        "Save them with a decimal point, as 0.93",
    )  # fmt: skip
    refuse(
        ~np.isfinite(numbers), "are no finite numbers",
        "Give every image a score, or remove the rows of those that have none",
    )  # fmt: skip
    low, high = RANGES[kind]
    others = " or ".join(text for name, text in KINDS.items() if name != kind)
    refuse(
        (numbers < low) | (numbers > high), f"lie outside of {low:g} to {high:g}",
        f"They are no {'logits' if kind == 'logit' else 'probabilities'} of --score {kind}: type "
        f"{others}, if that is what they are",
    )  # fmt: skip
    if kind != "probability" and len(numbers) and numbers.min() >= 0 and numbers.max() <= 1:
        log.warning(
            "%s: every score lies from 0 to 1, as probabilities do, and is read as %s; if they are "
            "probabilities, type --score probability", file, kind,
        )  # fmt: skip
    return numbers


def _number(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return float("nan")


def as_logits(numbers: Scores, kind: str) -> tuple[Scores, Scores]:
    """Return logits and probabilities, (N,) each; the ranking is that of the numbers.

    A probability of 0 or 1 has no finite logit: it gets one as far as `FAR`, or farther out than
    all others.
    """
    if kind == "logit":
        return numbers, sigmoid(numbers)
    probabilities = numbers / 100 if kind == "percent" else numbers
    logits = special.logit(probabilities)
    inside = logits[np.isfinite(logits)]
    far = max(FAR, float(np.abs(inside).max(initial=0.0)) + 1)
    return np.clip(logits, -far, far), probabilities


def _mapped(file: Path, columns: Columns, task: Task, how: ScoreFormat) -> Columns:
    """Bring labels and splits to their words, naming settings as the command line does."""
    labels, splits = (
        words if column in columns else {}
        for column, words in (("label", how.labels), ("split", how.splits))
    )
    return map_words(columns, file, task, labels, splits, settings="--")


def _with_images(
    file: Path, columns: Columns, images: Path, how: ScoreFormat, task: Task
) -> Columns:
    """Return the columns of scores with what a table of the images adds to them."""
    named = replace(how, columns={})
    raw, _, _ = _named_columns(images, named)
    _checked_paths(images, raw)
    raw = {name: values for name, values in raw.items() if name not in SCORE_COLUMNS}
    table = _mapped(images, raw, task, named)
    wanted = [str(path) for path in columns["path"]]
    places = match_paths(wanted, file.parent, list(map(str, table["path"])), images.parent)
    missing = [row for row, place in enumerate(places) if place is None]
    if missing:
        raise FaceproofError(
            f"{len(missing):,} of the {len(wanted):,} images of {file} are not in {images}: "
            f"{', '.join(wanted[row] for row in missing[:NUM_NAMED])}; a path must be the same in "
            "both, or lead to the same file"
        )
    if len(places) < len(table["path"]):
        log.warning(
            "%s: %s of its %s images have no score in %s", images,
            f"{len(table['path']) - len(places):,}", f"{len(table['path']):,}", file,
        )  # fmt: skip
    rows = [place for place in places if place is not None]
    of_images = {name: [values[row] for row in rows] for name, values in table.items()}
    for name, told in (("label", "labelled"), ("split", "divided into splits")):
        if name in columns and name in of_images:
            _refuse_others(file, images, columns, of_images, name, told)
    del of_images["path"]
    for name, values in of_images.items():
        own = columns.get(name, [None] * len(values))
        columns[name] = [here or there for there, here in zip(values, own, strict=True)]
    return columns


def _refuse_others(
    file: Path, images: Path, columns: Columns, of_images: Columns, name: str, told: str
) -> None:
    """Refuse a column in which the two tables contradict each other."""
    pairs = list(zip(columns["path"], columns[name], of_images[name], strict=True))
    differ = [(path, one, other) for path, one, other in pairs if None not in (one, other)]
    differ = [(path, one, other) for path, one, other in differ if one != other]
    if differ:
        path, one, other = differ[0]
        raise FaceproofError(
            f"{len(differ):,} images are {told} otherwise in {images} than in {file}, {path} for "
            f"one: {other} there, {one} here"
        )
