"""Scoring: from a network and rows of images to the columns of a predictions table."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from faceproof.augment.corruptions import Corruption
from faceproof.data.datasets import ImageDataset
from faceproof.data.loaders import explain_dead_workers, make_loader
from faceproof.data.model_input import average_views, fit_of, to_unit, views
from faceproof.evaluation.predictions import ScoreError, Scores, check_scores
from faceproof.io.progress import progress as show_progress
from faceproof.models.detector import Detector
from faceproof.models.devices import pick_device
from faceproof.models.novelty import DetectorWithNovelty, FeatureNetwork, Features
from faceproof.performance.memory import reuse_memory
from faceproof.task import Task


@dataclass(frozen=True)
class Scoring:
    """How the images of a table are scored.

    Attributes:
        batch_size: images that are scored together.
        num_workers: worker processes that decode, or `auto`; see `loaders.choose_workers`.
        device: `auto`, `cpu`, `cuda` and the like.
        corruption: what each decoded image suffers before.
        progress: show how far it is.
    """

    batch_size: int = 64
    num_workers: int | str = "auto"
    device: str = "auto"
    corruption: Corruption | None = None
    progress: bool = False


PLAIN = Scoring()


def score(net: Detector, rows: pa.Table, task: Task, how: Scoring = PLAIN) -> Scores:
    """Score the rows of an image table in float32, in one process, each exactly once.

    The network is put into eval mode and stays on the device. No logit depends on the batch size.

    Returns:
        (N,) float64 logits, in the order of `rows`.

    Raises:
        FaceproofError: an image cannot be read any more, or has a score that is not finite.
    """
    logits = _outputs(net, rows, task, how)
    return _scores(logits, rows)


def score_with_novelty(
    net: DetectorWithNovelty, rows: pa.Table, task: Task, how: Scoring = PLAIN
) -> tuple[Scores, Scores]:
    """Score the rows of an image table and say how unlike the training images each is.

    Returns:
        (N,) float64 logits, the same as those of `score`, and (N,) float64 novelties.

    Raises:
        FaceproofError: as `score`.
    """
    found = _outputs(net, rows, task, how)
    return _scores(found[:, 0], rows), _scores(found[:, 1], rows)


def features_of(
    net: Detector, rows: pa.Table, task: Task, how: Scoring = PLAIN, layer: str | None = None
) -> Features:
    """Return the features of the rows of an image table, (N * V, C): those that the head is given.

    With `layer`, a stage of the backbone, they are its, averaged over places.

    V are the views of an image, its tiles and mirror images, one without any (see
    `data.model_input.views`); those of one image stand together.

    Raises:
        FaceproofError: an image cannot be read any more.
    """
    found = _outputs(FeatureNetwork(net, layer), rows, task, how, _stack_views)
    return found.reshape(-1, found.shape[-1])


@torch.inference_mode()
def _outputs(
    net: Detector | DetectorWithNovelty | FeatureNetwork,
    rows: pa.Table,
    task: Task,
    how: Scoring,
    combine: Callable[[Callable[[Tensor], Tensor], Tensor, str], Tensor] = average_views,
) -> npt.NDArray[np.float32]:
    """Return what a network makes of the rows, (N,) or (N, D); several outputs are columns.

    `combine` makes one value of an image's views, or (V, D).
    """
    place = pick_device(how.device)
    reuse_memory()
    net = net.eval().to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size, interpolation, crop = fit_of(net.input)
    dataset = ImageDataset(rows, task, size, interpolation, how.corruption, crop=crop)
    loader = make_loader(dataset, how.batch_size, how.num_workers, device=place.type)
    found = np.full(rows.num_rows, np.nan, dtype=np.float32)

    def outputs(images: Tensor) -> Tensor:
        given = net(to_unit(images))
        return torch.stack(given, 1) if isinstance(given, tuple) else given

    with explain_dead_workers():
        for batch in show_progress(loader, "scoring") if how.progress else loader:
            images = batch.image.to(place, non_blocking=True)
            values = combine(outputs, images, net.input.tta)
            if found.ndim != values.ndim:
                found = np.full((rows.num_rows, *values.shape[1:]), np.nan, dtype=np.float32)
            found[batch.row.numpy()] = values.float().cpu().numpy()
    return found


def _stack_views(net: Callable[[Tensor], Tensor], images: Tensor, tta: str) -> Tensor:
    """Return what a network gives for each view of the images, (B, V, D)."""
    return torch.stack([net(view) for view in views(images, tta)], 1)


def _scores(values: npt.NDArray[np.float32], rows: pa.Table) -> Scores:
    _check(values, rows)
    return values.astype(np.float64)


def _check(logits: npt.NDArray[np.float32], rows: pa.Table) -> None:
    try:
        check_scores(logits, rows.num_rows)
    except ScoreError as error:
        first = rows["path"][int(np.argmin(np.isfinite(logits)))].as_py()
        raise ScoreError(f"{error}; the first is that of {first}") from error
