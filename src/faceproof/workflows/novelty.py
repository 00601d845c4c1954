"""The last step of a training, if asked for: what tells that an image is unlike those of training.

A sample of the training images gives the distance, validation its unit and its limit; both are
stored with the run.
"""

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from faceproof.data.datasets import label_numbers
from faceproof.errors import FaceproofError
from faceproof.evaluation.novelty import STRANGE, NoveltyPoint, fit_novelty_point
from faceproof.evaluation.predictions import Scores
from faceproof.inference.scoring import features_of, score, score_with_novelty
from faceproof.io.atomic import atomic_file
from faceproof.io.plain_files import read_bytes
from faceproof.io.run_folder import RunFolder
from faceproof.models.detector import Detector
from faceproof.models.novelty import (
    DetectorWithNovelty,
    Novelty,
    fit_novelty,
    max_bytes,
    median_distance,
    read_novelty,
    save_novelty,
)
from faceproof.task import Task

MAX_FITTED = 2000  # images of training from which the distance is measured

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What a distance from the training images is fitted to, and the share of false calls."""

    train: pa.Table
    rate: float

    @property
    def sample(self) -> pa.Table:
        """The training images from which the distance is measured, evenly spaced over the table."""
        number = min(self.train.num_rows, MAX_FITTED)
        places = np.linspace(0, self.train.num_rows - 1, number).round().astype(np.int64)
        return self.train.take(places)


def score_validation(
    net: Detector, val: pa.Table, task: Task, num_workers: int | str, wanted: Wanted | None
) -> tuple[Scores, Scores | None, Novelty | None]:
    """Score validation, and fit the distance from the training images where it is wanted.

    These are taken as they are, without augmentation.

    Returns:
        (N,) logits; and (N,) distances in units of their median with what gives them, or None and
        None.
    """
    novelty = None if wanted is None else _fit(net, wanted.sample, task, num_workers)
    if novelty is None:
        return score(net, val, task, num_workers=num_workers), None, None
    both = DetectorWithNovelty(net, novelty)
    logits, distances = score_with_novelty(both, val, task, num_workers=num_workers)
    usual = median_distance(distances)
    # As the stored network computes it: in float32.
    scaled = distances.astype(np.float32) / np.float32(usual)
    return logits, scaled.astype(np.float64), novelty.scaled(usual)


def _fit(net: Detector, rows: pa.Table, task: Task, num_workers: int | str) -> Novelty | None:
    try:
        features = features_of(net, rows, task, num_workers=num_workers)
        return fit_novelty(features, label_numbers(rows, task))
    except FaceproofError as error:
        log.warning("no image will be called %s: %s", STRANGE, error)
        return None


def store_novelty(
    run: RunFolder, novelty: Novelty, novelties: Scores, wanted: Wanted
) -> NoveltyPoint:
    """Store with a run what measures novelty, and fit the limit to that of validation, (N,)."""
    with atomic_file(run.novelty) as partial:
        partial.write_bytes(save_novelty(novelty))
    point = fit_novelty_point(novelties, wanted.rate, wanted.sample.num_rows)
    for warning in point.warnings:
        log.warning("%s", warning)
    log.info("called unsure, being %s: %s", STRANGE, point.origin)
    return point


def load_novelty(run: RunFolder, net: Detector) -> Novelty | None:
    """Return what a run's network measures novelty by; None where it has none.

    Raises:
        FaceproofError: the file is damaged, or not the one that the limit was fitted to.
    """
    # Members of an ensemble may lack an operating point, and have no such file then.
    if not run.novelty.is_file() or run.read_novelty_point() is None:
        return None
    data = read_bytes(run.novelty, max_bytes(net.num_features))
    return read_novelty(run.novelty, data, net.num_features)
