"""The predictions table: one row an image, and all that any metric is computed from.

| column      | type       | meaning                                                    |
|-------------|------------|------------------------------------------------------------|
| path        | string     | the file, as in the image table                            |
| label       | dictionary | the true class name, or null where it is not known         |
| source      | dictionary | the data set the image comes from                          |
| generator   | dictionary | what made the fake, or null                                |
| group       | string     | images that belong together (video, identity), or null     |
| logit       | float32    | the raw score; positive means the task's positive class    |
| probability | float32    | of the positive class, in [0, 1]; calibrated where it is so |
| component   | string     | what people or source videos connect, or null              |
| pair        | string     | what a fake shares with what it was made from, or null     |
| novelty     | float32    | how unlike the training images (`evaluation.novelty`), or null |

Further columns hold the subgroups of the images, as words: skin tone, age, compression.

Two conventions are born here: the sign of the logit, and `is_positive`, the threshold rule.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from faceproof.data.table import ADDED_LATER, WORD, write_table
from faceproof.data.table import SCHEMA as IMAGES
from faceproof.errors import FaceproofError
from faceproof.io.parquet import read_parquet
from faceproof.task import Task

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

OF_IMAGE = ("path", "label", "source", "generator", "group")
SCHEMA = pa.schema(
    [IMAGES.field(name) for name in OF_IMAGE]
    + [pa.field("logit", pa.float32()), pa.field("probability", pa.float32())]
    + [IMAGES.field(name) for name in ADDED_LATER]
    + [pa.field("novelty", pa.float32())]
)
MAY_LACK = (*ADDED_LATER, "novelty")  # columns that files of earlier versions lack


class ScoreError(FaceproofError):
    """A detector gave something that is no score."""


def check_scores(logits: npt.NDArray[np.floating], num: int, of: str = "the detector") -> Scores:
    """Return the logits of `num` images, (N,) float64, if each is one finite number.

    Every score passes here, whatever computed it: compared with a threshold, a NaN would be a
    verdict like any other.

    Raises:
        ScoreError: there are more or fewer, or one is not finite.
    """
    scores = np.asarray(logits, np.float64)
    if scores.shape != (num,):
        raise ScoreError(f"{of} gave scores of shape {scores.shape} for {num} images")
    if not (finite := np.isfinite(scores)).all():
        raise ScoreError(
            f"{of} gave {np.count_nonzero(~finite):,} of {num:,} images a score that is not finite "
            f"({scores[~finite][0]}), so no verdict on them means anything; the detector is "
            "damaged, or computes beyond the range of its numbers: use another"
        )
    return scores


def predictions_table(
    rows: pa.Table,
    logits: npt.NDArray[np.floating],
    probabilities: npt.NDArray[np.floating],
    novelties: npt.NDArray[np.floating] | None = None,
    subgroups: Sequence[str] = (),
) -> pa.Table:
    """Join an image table of N rows with the detector's logits and probabilities, (N,) each.

    `novelties`, (N,), are None of a detector that does not know them; `subgroups` are further
    columns of the image table to take over.

    Raises:
        FaceproofError: the three differ in length, or a score is no score (see `read_predictions`).
    """
    if not rows.num_rows == len(logits) == len(probabilities):
        raise FaceproofError(
            f"{rows.num_rows} images came with {len(logits)} logits and {len(probabilities)} "
            "probabilities; score every image exactly once, in the order of the table"
        )
    scores = [np.asarray(logits, np.float32), np.asarray(probabilities, np.float32)]
    columns = [*(rows[name] for name in OF_IMAGE), *map(pa.array, scores)]
    columns += [rows[name] for name in ADDED_LATER]
    if novelties is None:
        columns.append(pa.nulls(rows.num_rows, pa.float32()))
    else:
        columns.append(pa.array(np.asarray(novelties, np.float32)))
    columns += [rows[name] for name in subgroups]
    schema = pa.schema([*SCHEMA, *((name, WORD) for name in subgroups)])
    return _refuse_bad_scores(pa.table(columns, schema=schema))


def _refuse_bad_scores(predictions: pa.Table) -> pa.Table:
    """Return the table if every logit is finite and every probability lies in [0, 1].

    A score that is not a number would still be ranked somewhere, and so give a plausible metric.
    """
    logits, probabilities = logits_of(predictions), probabilities_of(predictions)
    _refuse_rows(predictions, ~np.isfinite(logits), "a logit that is not finite")
    outside = ~((probabilities >= 0) & (probabilities <= 1))
    _refuse_rows(predictions, outside, "a probability outside [0, 1]")
    if predictions["novelty"].null_count < predictions.num_rows:
        novelties = predictions["novelty"].fill_null(0).to_numpy()
        known = np.isfinite(novelties) & (novelties >= 0)
        _refuse_rows(predictions, ~known, "a novelty that is no number from 0 on")
    return predictions


def _refuse_rows(predictions: pa.Table, bad: Flags, what: str) -> None:
    if bad.any():
        first = predictions["path"][int(np.argmax(bad))].as_py()
        raise FaceproofError(
            f"{np.count_nonzero(bad):,} of {len(bad):,} images have {what}, first {first}; look "
            "for a diverged training run, half-precision overflow, or a damaged image"
        )


def write_predictions(predictions: pa.Table, path: Path) -> None:
    """Write the predictions as Parquet, atomically."""
    write_table(predictions, path)


def read_predictions(path: Path) -> pa.Table:
    """Read predictions from a Parquet file.

    Raises:
        FaceproofError: the file is missing or lacks a column, a logit is not finite, or a
            probability lies outside [0, 1].
    """
    if not path.is_file():
        raise FaceproofError(f"there are no predictions at {path}; evaluate the run first")
    table = read_parquet(path, SCHEMA, may_lack=MAY_LACK, more=WORD)
    if nulls := [name for name in ("path", "logit", "probability") if table[name].null_count]:
        raise FaceproofError(f"{path} has rows without {nulls[0]}; evaluate the run again")
    return _refuse_bad_scores(table)


def subgroup_columns(predictions: pa.Table) -> list[str]:
    """Return the further columns of a predictions table, whose values are subgroups of images."""
    return [name for name in predictions.column_names if name not in SCHEMA.names]


def labelled_rows(predictions: pa.Table) -> pa.Table:
    """Return the rows whose class is known: the only ones a metric can speak of."""
    known = predictions["label"].null_count == 0
    return predictions if known else predictions.filter(predictions["label"].is_valid())


def label_numbers(predictions: pa.Table, task: Task) -> Labels:
    """Return the classes as numbers of the task, (N,): 0 negative, 1 positive.

    Raises:
        FaceproofError: a row has no label, or one that is no class of the task.
    """
    names = predictions["label"].cast(pa.string())
    numbers = pc.index_in(names, value_set=pa.array(task.classes))
    if numbers.null_count:
        strangers = pc.unique(names.filter(numbers.is_null())).to_pylist()
        found = ", ".join(sorted(name or "no label" for name in strangers))
        raise FaceproofError(
            f"the predictions hold {found} among their labels; the classes of task {task.name} "
            f"are {', '.join(task.classes)}"
        )
    return np.asarray(numbers.to_numpy(), np.int64)


def logits_of(predictions: pa.Table) -> Scores:
    """Return the logits, (N,). Every float32 is a float64, so no rank is lost."""
    return np.asarray(predictions["logit"].to_numpy(), np.float64)


def probabilities_of(predictions: pa.Table) -> Scores:
    """Return the probabilities of the positive class, (N,)."""
    return np.asarray(predictions["probability"].to_numpy(), np.float64)


def is_positive(probabilities: npt.NDArray[np.floating], threshold: float) -> Flags:
    """Decide, (N,): an image is called positive if its probability is the threshold or more.

    Both are compared as float64, as when a single probability is compared in Python.
    """
    if not 0 <= threshold <= 1:
        raise FaceproofError(f"a threshold is a probability, from 0 to 1; found {threshold}")
    return np.asarray(probabilities, np.float64) >= threshold


def called_right(predictions: pa.Table, task: Task, threshold: float) -> Flags:
    """Say of each row, all with a label, whether the image is called what it is, (N,)."""
    called = is_positive(probabilities_of(predictions), threshold)
    return np.asarray(called == (label_numbers(predictions, task) == 1))


def sigmoid(logits: Scores) -> Scores:
    """Return the probabilities that uncalibrated logits stand for."""
    return np.asarray(special.expit(logits))
