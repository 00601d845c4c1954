"""What it changes that a detector does not answer on images unlike its training images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.novelty import NoveltyPoint, find_strange
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.point_check import check_point
from faceproof.evaluation.predictions import (
    Flags,
    label_numbers,
    labelled_rows,
    probabilities_of,
)
from faceproof.evaluation.statistics import Interval, share_interval
from faceproof.task import Task


@dataclass(frozen=True)
class Answered:
    """The share of labelled images that are answered, and the share of these called wrongly.

    Each is None where there are no such images.
    """

    coverage: float | None
    risk: float | None


@dataclass(frozen=True)
class NoveltyRow:
    """The images of one source, or all of them.

    `without` and `by_novelty` are what is answered by the unsure band alone, and by the band and
    what the images are like; `roc_auc` and both are of the labelled images.
    """

    source: str | None
    is_home: bool  # whether training images are of this source
    num_images: int
    num_strange: int
    share: float
    interval: Interval | None  # of the share, 95 %
    roc_auc: float | None
    without: Answered
    by_novelty: Answered


@dataclass(frozen=True)
class NoveltyCheck:
    """What the limit does on these images: on all, and by source, those of training first."""

    everything: NoveltyRow
    by_source: list[NoveltyRow]


def check_novelty(
    predictions: pa.Table,
    task: Task,
    point: OperatingPoint,
    limit: NoveltyPoint,
    home: Sequence[str] = (),
) -> NoveltyCheck | None:
    """Measure what the limit does on these images; None where a novelty is not known.

    `home` are the sources of the training images.
    """
    strange = find_strange(predictions, limit)
    if strange is None or not len(strange):
        return None
    names = np.array([name or "" for name in predictions["source"].to_pylist()], object)
    sources = sorted(set(names.tolist()), key=lambda name: (name not in home, name))
    rows = []
    for name in sources:
        of_source = names == name
        row = _row(predictions.filter(pa.array(of_source)), strange[of_source], task, point)
        rows.append(replace(row, source=name or None, is_home=name in home))
    return NoveltyCheck(_row(predictions, strange, task, point), rows)


def _row(predictions: pa.Table, strange: Flags, task: Task, point: OperatingPoint) -> NoveltyRow:
    known = labelled_rows(predictions)
    of_known = strange[np.asarray(predictions["label"].is_valid())]
    return NoveltyRow(
        source=None,
        is_home=False,
        num_images=len(strange),
        num_strange=int(np.count_nonzero(strange)),
        share=float(strange.mean()),
        interval=share_interval(strange, unit_codes(predictions)),
        roc_auc=measure(known, task, point.threshold)["roc_auc"] if known.num_rows else None,
        without=_answered(known, task, point, None),
        by_novelty=_answered(known, task, point, of_known),
    )


def _answered(
    known: pa.Table, task: Task, point: OperatingPoint, strange: Flags | None
) -> Answered:
    labels, units = label_numbers(known, task), unit_codes(known)
    check = check_point(labels, probabilities_of(known), units, point, strange)
    unsure = check.share_unsure
    return Answered(None if unsure is None else 1 - unsure, check.error_answered)
