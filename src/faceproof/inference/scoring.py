"""Scoring: from a network and rows of images to a predictions table."""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import torch
from rich.progress import track

from faceproof.augment.corruptions import Corruption
from faceproof.data.datasets import ImageDataset
from faceproof.data.loaders import explain_dead_workers, make_loader
from faceproof.data.model_input import to_unit
from faceproof.evaluation.predictions import Scores
from faceproof.io.run_folder import RunFolder
from faceproof.models.detector import Detector
from faceproof.models.devices import pick_device
from faceproof.models.weights import load_best
from faceproof.performance.memory import reuse_memory
from faceproof.task import Task

Scorer = Callable[[pa.Table, Corruption | None], Scores]


def run_scorer(
    run: RunFolder,
    net: Detector,
    task: Task,
    batch_size: int = 64,
    num_workers: int | str = "auto",
    device: str = "auto",
) -> Scorer:
    """Return what scores images by a run's best epoch; see `score`."""
    load_best(run, net)
    progress = sys.stdout.isatty()

    def score_rows(rows: pa.Table, condition: Corruption | None = None) -> Scores:
        return score(net, rows, task, batch_size, num_workers, device, condition, progress)

    return score_rows


def combined_scorer(
    scorers: Sequence[Scorer], combine: Callable[[Sequence[Scores]], Scores]
) -> Scorer:
    """Return what scores images by several detectors, one after the other, as one."""

    def score_rows(rows: pa.Table, condition: Corruption | None = None) -> Scores:
        return combine([scorer(rows, condition) for scorer in scorers])

    return score_rows


@torch.inference_mode()
def score(
    net: Detector,
    rows: pa.Table,
    task: Task,
    batch_size: int = 64,
    num_workers: int | str = "auto",
    device: str = "auto",
    condition: Corruption | None = None,
    progress: bool = False,
) -> Scores:
    """Score images in float32, in one process, each exactly once.

    Args:
        net: the network; it is put into eval mode.
        rows: an image table.
        task: the task.
        batch_size: images at a time; no figure depends on it.
        num_workers: worker processes, or `auto`.
        device: a torch device, or `auto` for a GPU where there is one.
        condition: what happens to the images first.
        progress: show a bar.

    Returns:
        (N,) float64 logits, in the order of `rows`.

    Raises:
        FaceproofError: an image cannot be read any more.
    """
    place = pick_device(device)
    reuse_memory()
    net = net.eval().to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    dataset = ImageDataset(rows, task, net.input.size, net.input.interpolation, condition)
    loader = make_loader(dataset, batch_size, num_workers, device=place.type)
    logits = np.full(rows.num_rows, np.nan, dtype=np.float32)
    with explain_dead_workers():
        for batch in track(loader, "scoring", disable=not progress):
            images = to_unit(batch.image.to(place, non_blocking=True))
            logits[batch.row.numpy()] = net(images).float().cpu().numpy()
    return logits.astype(np.float64)
