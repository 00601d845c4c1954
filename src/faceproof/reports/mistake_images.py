"""The images of the most confident mistakes: small copies for a page, and a plot of them."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.evaluation.mistakes import Mistake, Mistakes, shown_paths
from faceproof.reports.image_grid import Pixels, Tile, image_grid
from faceproof.reports.numbers import percent

SIDE = 144  # pixels
COLUMNS = 6

log = logging.getLogger(__name__)


def mistake_images(mistakes: Mapping[str, Mistakes]) -> dict[str, Pixels]:
    """Return small copies of the images that a report shows as mistakes, by path."""
    return small_copies(shown_paths(mistakes.values()))


def small_copies(paths: Iterable[str]) -> dict[str, Pixels]:
    """Return images of `SIDE` pixels a side at most, (h, w, 3) uint8, by path.

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


def mistakes_plot(
    direction: str, mistakes: Mistakes, images: Mapping[str, Pixels], columns: int = COLUMNS
) -> Figure | None:
    """Draw the mistakes of a direction whose images are given; None where there are none."""
    there = [mistake for mistake in mistakes.shown if mistake.path in images]
    if not there:
        return None
    tiles = [Tile(images[mistake.path], _caption(mistake)) for mistake in there]
    title = f"{direction}: {len(there)} of {mistakes.num:,}, the most confident first"
    return image_grid(tiles, title, columns)


def _caption(mistake: Mistake) -> str:
    name = Path(mistake.path).name
    short = name if len(name) <= 18 else f"{name[:8]}…{name[-9:]}"
    maker = mistake.generator or mistake.source or ""
    return f"{percent(mistake.certainty)} {mistake.called}\n{maker[:20]}\n{short}"
