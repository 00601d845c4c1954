"""Images in rows with captions, in the style of `plots`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceproof.reports.plots import INK, RULE, WIDTH

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """An image and what stands under it; `pixels` is (H, W, 3) uint8."""

    pixels: Pixels
    caption: str


def panels(num: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with `num` axes in rows of `columns`.

    Args:
        num: how many.
        columns: places in a row, which stay empty where there are fewer axes, so that type is of
            the same size in every figure of a page.
        width: of the whole figure, inches.
        height: of a row, inches.
    """
    num_rows = -(-num // columns)
    figure = Figure(figsize=(width, num_rows * height), layout="constrained")
    grid = figure.add_gridspec(num_rows, columns)
    return figure, [figure.add_subplot(grid[divmod(place, columns)]) for place in range(num)]


def image_grid(tiles: Sequence[Tile], title: str, columns: int = 6) -> Figure:
    """Draw images in rows, each with its caption, under one title."""
    figure, places = panels(len(tiles), columns, 2 * WIDTH, 2 * WIDTH / columns + 0.12)
    for axes, tile in zip(places, tiles, strict=True):
        axes.imshow(tile.pixels)
        axes.set_xticks([])
        axes.set_yticks([])
        # A name is no formula, whatever dollars are in it.
        axes.set_xlabel(tile.caption, color=INK, fontsize=9, labelpad=4, parse_math=False)
        for spine in axes.spines.values():
            spine.set_color(RULE)
    figure.suptitle(title, color=INK, fontsize=11, x=0.01, ha="left", parse_math=False)
    return figure
