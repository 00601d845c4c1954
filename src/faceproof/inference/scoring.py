"""Scoring: from a network and rows of images to a predictions table."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from faceproof.augment.corruptions import Corruption
from faceproof.data.datasets import ImageDataset
from faceproof.data.loaders import explain_dead_workers, make_loader
from faceproof.data.model_input import average_logits, fit_of, to_unit
from faceproof.evaluation.predictions import ScoreError, Scores, check_scores
from faceproof.io.progress import progress as show_progress
from faceproof.models.detector import Detector
from faceproof.models.devices import pick_device
from faceproof.performance.memory import reuse_memory
from faceproof.task import Task


@torch.inference_mode()
def score(
    net: Detector,
    rows: pa.Table,
    task: Task,
    batch_size: int = 64,
    num_workers: int | str = "auto",
    device: str = "auto",
    corruption: Corruption | None = None,
    progress: bool = False,
) -> Scores:
    """Score the rows of an image table in float32, in one process, each exactly once.

    The network is put into eval mode and stays on the device. No logit depends on the batch size.

    Returns:
        (N,) float64 logits, in the order of `rows`.

    Raises:
        FaceproofError: an image cannot be read any more, or has a score that is not finite.
    """
    place = pick_device(device)
    reuse_memory()
    net = net.eval().to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size, interpolation, crop = fit_of(net.input)
    dataset = ImageDataset(rows, task, size, interpolation, corruption, crop=crop)
    loader = make_loader(dataset, batch_size, num_workers, device=place.type)
    logits = np.full(rows.num_rows, np.nan, dtype=np.float32)
    with explain_dead_workers():
        for batch in show_progress(loader, "scoring") if progress else loader:
            images = batch.image.to(place, non_blocking=True)
            found = average_logits(lambda view: net(to_unit(view)), images, net.input.tta)
            logits[batch.row.numpy()] = found.float().cpu().numpy()
    _check(logits, rows)
    return logits.astype(np.float64)


def _check(logits: npt.NDArray[np.float32], rows: pa.Table) -> None:
    try:
        check_scores(logits, rows.num_rows)
    except ScoreError as error:
        first = rows["path"][int(np.argmin(np.isfinite(logits)))].as_py()
        raise ScoreError(f"{error}; the first is that of {first}") from error
