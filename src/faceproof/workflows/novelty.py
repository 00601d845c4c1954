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
from faceproof.inference.scoring import Scoring, features_of, score, score_with_novelty
from faceproof.io.atomic import atomic_file
from faceproof.io.plain_files import read_bytes
from faceproof.io.run_folder import RunFolder
from faceproof.models.comparing import middle_layer
from faceproof.models.detector import Detector
from faceproof.models.novelty import (
    MIN_IMAGES,
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
MAX_VIEWS = 20_000  # of them, their tiles and mirror images counted; each is a row of features

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What a distance from the training images is fitted to, and the share of false calls.

    Attributes:
        train: the image table of training.
        rate: the share of images like those of training that may be called strange.
        num_views: by how many tiles and mirror images the network judges an image.
    """

    train: pa.Table
    rate: float
    num_views: int = 1

    @property
    def sample(self) -> pa.Table:
        """The training images from which the distance is measured, evenly spaced over the table."""
        number = min(self.train.num_rows, MAX_FITTED, MAX_VIEWS // self.num_views)
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

    Raises:
        FaceproofError: an image cannot be read any more, or no distance can be fitted.
    """
    if wanted is None:
        return score(net, val, task, Scoring(num_workers=num_workers)), None, None
    novelty = _fit(net, wanted, task, num_workers)
    both = DetectorWithNovelty(net, novelty)
    logits, distances = score_with_novelty(both, val, task, Scoring(num_workers=num_workers))
    usual = median_distance(distances)
    # As the stored network computes it: in float32.
    scaled = distances.astype(np.float32) / np.float32(usual)
    return logits, scaled.astype(np.float64), novelty.scaled(usual)


def _fit(net: Detector, wanted: Wanted, task: Task, num_workers: int | str) -> Novelty:
    rows = wanted.sample
    layer = middle_layer(net)
    features = features_of(net, rows, task, Scoring(num_workers=num_workers), layer)
    labels = np.repeat(label_numbers(rows, task), len(features) // rows.num_rows)
    try:
        return fit_novelty(features, labels, layer=layer)
    except FaceproofError as error:
        raise FaceproofError(
            f"novelty.rate={wanted.rate:g} cannot be had: {error}. The training itself is whole: "
            "resume the run with novelty.rate=null"
        ) from error


def check_enough(train: pa.Table, rate: float | None) -> None:
    """Refuse, before a training, a rate for which there are too few images.

    Raises:
        FaceproofError: there are.
    """
    if rate is not None and train.num_rows < MIN_IMAGES:
        raise FaceproofError(
            f"novelty.rate={rate:g} takes {MIN_IMAGES} training images to tell what is unlike "
            f"them, and there are {train.num_rows}; leave it out, or train on more"
        )


def store_novelty(
    run: RunFolder, novelty: Novelty, novelties: Scores, wanted: Wanted
) -> NoveltyPoint:
    """Store with a run what measures novelty, and fit the limit to that of validation, (N,)."""
    with atomic_file(run.novelty) as partial:
        partial.write_bytes(save_novelty(novelty))
    point = fit_novelty_point(novelties, wanted.rate, wanted.sample.num_rows)
    for warning in point.warnings:
        log.warning("%s", warning)
    log.info("an image is called unsure, being %s, if %s", STRANGE, point.origin)
    return point


def load_novelty(run: RunFolder, net: Detector) -> Novelty | None:
    """Return what a run's network measures novelty by; None where it has none.

    Raises:
        FaceproofError: the file is damaged, or not the one that the limit was fitted to.
    """
    # Members of an ensemble may lack an operating point, and have no such file then.
    if not run.novelty.is_file() or run.read_novelty_point() is None:
        return None
    data = read_bytes(run.novelty, max_bytes(net))
    return read_novelty(run.novelty, data, net)
