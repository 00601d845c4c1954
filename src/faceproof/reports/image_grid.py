"""Images in rows with captions; those of the most confident mistakes among them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from faceproof.data.image_io import Pixels, UnreadableImageError, read_image, thumbnail
from faceproof.evaluation.mistakes import Mistake, Mistakes, shown_paths
from faceproof.reports.plots import INK, RULE, WIDTH, panels
from faceproof.words import percent

SIDE = 144  # pixels, of a small copy
COLUMNS = 6

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tile:
    """An image and what stands under it; `pixels` is (H, W, 3) uint8."""

    pixels: Pixels
    caption: str


def image_grid(tiles: Sequence[Tile], title: str, columns: int = COLUMNS) -> Figure:
    """Draw images in rows, each with its caption, under one title."""
    figure, places = panels(len(tiles), columns, 2 * WIDTH, 2 * WIDTH / columns + 0.12)
    for axes, tile in zip(places, tiles, strict=True):
        axes.imshow(tile.pixels)
        axes.set(xticks=[], yticks=[])
        # A name is no formula, whatever dollars are in it.
        axes.set_xlabel(tile.caption, color=INK, fontsize=9, labelpad=4, parse_math=False)
        for spine in axes.spines.values():
            spine.set_color(RULE)
    figure.suptitle(title, color=INK, fontsize=11, x=0.01, ha="left", parse_math=False)
    return figure


def small_copy(path: str) -> Pixels:
    """Return an image of `SIDE` pixels a side at most, (h, w, 3) uint8.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    return np.asarray(thumbnail(read_image(path), SIDE), np.uint8)


def mistake_images(
    mistakes: Mapping[str, Mistakes], folder: Path | None = None
) -> dict[str, Pixels]:
    """Return small copies of the images that a report shows as mistakes, by path.

    Relative paths start from `folder`, or from the one that one is in. A file that has gone since
    it was scored is named in a warning and left out: its score stands.
    """
    found = {}
    for path in shown_paths(mistakes.values()):
        try:
            found[path] = small_copy(path if folder is None else str(folder / path))
        except UnreadableImageError as error:
            log.warning("%s cannot be shown among the mistakes: %s", path, error)
    return found


def mistakes_plot(
    direction: str, mistakes: Mistakes, images: Mapping[str, Pixels]
) -> Figure | None:
    """Draw the mistakes of a direction whose images are given; None where there are none."""
    there = [mistake for mistake in mistakes.shown if mistake.path in images]
    if not there:
        return None
    tiles = [Tile(images[mistake.path], _caption(mistake)) for mistake in there]
    title = f"{direction}: {len(there)} of {mistakes.num:,}, the most confident first"
    return image_grid(tiles, title)


def _caption(mistake: Mistake) -> str:
    name = Path(mistake.path).name
    short = name if len(name) <= 18 else f"{name[:8]}…{name[-9:]}"
    maker = mistake.generator or mistake.source or ""
    return f"{percent(mistake.certainty)} {mistake.called}\n{maker[:20]}\n{short}"
