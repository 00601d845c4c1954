"""Checks that ONNX Runtime answers as PyTorch does, on a run's validation images."""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.data.run_tables import read_samples
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import read_predictions
from faceproof.inference.predictor import load, stack_fitted
from faceproof.io.run_folder import RunFolder
from faceproof.words import apart

NUM_CHECKED = 64  # images on which ONNX Runtime must agree with PyTorch
TOLERANCE = 1e-4  # between their logits
NOVELTY_TOLERANCE = 1e-3  # between their novelties, as a share of one that is above 1

log = logging.getLogger(__name__)


def check_parity(folder: Path, runs: Sequence[RunFolder]) -> None:
    """Refuse an artifact whose ONNX models disagree with PyTorch in an output or a verdict."""
    unreadable: list[str] = []
    images = list(islice(_validation_images(runs, unreadable), NUM_CHECKED))
    if unreadable:
        log.warning(
            "ONNX Runtime is compared with PyTorch on %d images; %d validation images beside them "
            "cannot be read, %s the first", len(images), len(unreadable), unreadable[0],
        )  # fmt: skip
    if not images:
        raise FaceproofError(
            "the ONNX model cannot be compared with PyTorch: none of the run's validation images "
            "can be read; put them back, or export without --onnx"
        )
    ours, theirs = load(folder, "cpu"), load(folder, "cpu", "onnx")
    fitted = stack_fitted([ours.fit(image) for image in images])
    pairs = zip(ours.networks(), theirs.networks(), ours.card.networks, strict=True)
    for torchs, runtimes, entry in pairs:
        batch = fitted[torchs.fit]
        name = entry.weights.file if entry.onnx is None else entry.onnx.file
        refuse_disagreement(name, runtimes(batch), torchs(batch))
    answers = zip(ours.judge(fitted), theirs.judge(fitted), strict=True)
    differing = sum((a.verdict, a.called) != (b.verdict, b.called) for a, b in answers)
    if differing:
        raise FaceproofError(
            f"ONNX Runtime and PyTorch call {differing} of {len(images)} images differently; "
            "nothing was written. Export without --onnx"
        )
    log.info(
        "ONNX Runtime and PyTorch agree on %d validation images: the same verdicts, and logits "
        "that differ by less than %g", len(images), TOLERANCE,
    )  # fmt: skip


def refuse_disagreement(
    name: str, theirs: npt.NDArray[np.floating], ours: npt.NDArray[np.floating]
) -> None:
    """Refuse an ONNX model whose outputs are not PyTorch's: logits (B,), or with novelties (B, 2).

    Novelties are compared as shares, for they have no upper bound.

    Raises:
        FaceproofError: they differ.
    """
    (logits, *novelties), (own, *own_novelties) = np.atleast_2d(theirs.T), np.atleast_2d(ours.T)
    _refuse_apart(name, "logits differ by", np.abs(logits - own), TOLERANCE)
    for found, known in zip(novelties, own_novelties, strict=True):
        shares = np.abs(found - known) / np.maximum(1, known)
        words = "distances from the training images differ, as shares of PyTorch's, by"
        _refuse_apart(name, words, shares, NOVELTY_TOLERANCE)


def _refuse_apart(
    name: str, words: str, distances: npt.NDArray[np.floating], tolerance: float
) -> None:
    if not (distances <= tolerance).all():
        most, allowed = apart(float(distances.max()), tolerance, ".3g")
        raise FaceproofError(
            f"ONNX Runtime and PyTorch disagree on {name}: on {len(distances)} images their "
            f"{words} up to {most}, more than {allowed}; nothing was written. Export without --onnx"
        )


def _validation_images(runs: Sequence[RunFolder], unreadable: list[str]) -> Iterator[Tensor]:
    """Yield the validation images of runs, (3, H, W) uint8; add those that cannot be read."""
    for run in runs:
        if run.samples.is_file():
            rows = read_samples(run, "val")
        else:
            run.require(run.validation)
            rows = read_predictions(run.validation)
        # Spread over the table, which is sorted by class.
        step = max(1, rows.num_rows * len(runs) // NUM_CHECKED)
        for name in rows["path"].take(list(range(0, rows.num_rows, step))).to_pylist():
            try:
                yield torch.from_numpy(read_image(name))
            except UnreadableImageError:
                unreadable.append(name)
