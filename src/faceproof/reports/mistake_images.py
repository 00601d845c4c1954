"""The images of the most confident mistakes: small copies for a page, and for TensorBoard."""

import logging
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from PIL import Image

from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.evaluation.mistakes import mistakes_plot, shown_paths, told_mistakes
from faceproof.io.run_folder import RunFolder
from faceproof.reports.image_grid import Pixels
from faceproof.task import Task

SIDE = 144  # pixels

log = logging.getLogger(__name__)


def mistake_images(predictions: pa.Table, task: Task, threshold: float) -> dict[str, Pixels]:
    """Return small copies of the images that a report shows as mistakes, by path."""
    return small_copies(shown_paths(told_mistakes(predictions, task, threshold)))


def small_copies(paths: Iterable[str]) -> dict[str, Pixels]:
    """Return images of `SIDE` pixels a side at most, (h, w, 3), by path.

    A file that has gone since it was scored is named in a warning and left out: its score stands.
    """
    found = {}
    for path in paths:
        try:
            found[path] = small_copy(path)
        except UnreadableImageError as error:
            log.warning("%s cannot be shown among the mistakes: %s", path, error)
    return found


def small_copy(path: str) -> Pixels:
    """Return an image of `SIDE` pixels a side at most, (h, w, 3) uint8.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    small = Image.fromarray(read_image(path).transpose(1, 2, 0))
    small.thumbnail((SIDE, SIDE))
    return np.asarray(small, np.uint8)


def log_mistakes(
    run: RunFolder,
    name: str,
    predictions: pa.Table,
    task: Task,
    threshold: float,
    images: dict[str, Pixels] | None = None,
) -> None:
    """Add the mistakes to the run's TensorBoard images, at its best epoch, if it keeps any.

    Args:
        run: the run.
        name: of what was scored; it heads the images.
        predictions: what was scored.
        task: names the classes.
        threshold: an image is called positive from this probability on.
        images: of the mistakes, by path, if they have been read already.
    """
    if not any(run.path.glob("events.*")):
        return
    from torch.utils.tensorboard import SummaryWriter

    if images is None:
        images = mistake_images(predictions, task, threshold)
    step = run.read_record().get("best_epoch") or 0
    with SummaryWriter(run.path) as writer:
        for direction, told in told_mistakes(predictions, task, threshold).items():
            if (figure := mistakes_plot(direction, told, images)) is not None:
                tag = f"mistakes/{name}/{direction}".replace(" ", "_")
                writer.add_figure(tag, figure, step)
