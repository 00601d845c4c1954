"""The figures of this room that hold images and maps, in the style of `evaluation.plots`.

What lines and bars look like, colours and both ways out (`plot_svg`, `save_png`) are taken from
there. Maps that only grow are shaded from light to dark; maps with a sign go from dark blue over
white to vermillion, so that a grey print tells the two ends apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from faceproof.reports.image_grid import Tile, image_grid, panels
from faceproof.reports.plots import INK, MUTED, RULE, SHADES, WIDTH, dress

SIGNED = LinearSegmentedColormap.from_list("signed", ["#00345c", "#ffffff", "#d55e00"])
MAX_LETTERS = 16
MIN_COLUMNS, MAX_COLUMNS = 4, 5  # maps in a row

Map = npt.NDArray[np.float64]

__all__ = [
    "INK",
    "MUTED",
    "RULE",
    "SHADES",
    "SIGNED",
    "WIDTH",
    "MapPanel",
    "Tile",
    "dress",
    "image_grid",
    "map_grid",
    "panels",
    "shared_limits",
    "shortened",
    "spelled",
]  # fmt: skip


def spelled(name: str) -> str:
    """Return a name so that it is drawn letter by letter, in titles, labels and legends.

    Drawn as it is, `$` would begin a formula, and a name that begins with `_` would be missing from
    legends.
    """
    return f"{' ' if name.startswith('_') else ''}{name}".replace("$", r"\$")


def shortened(name: str) -> str:
    """Return a name cut in its middle, so that it fits above or below an image."""
    return name if len(name) <= MAX_LETTERS else f"{name[:7]}…{name[-8:]}"


@dataclass(frozen=True)
class MapPanel:
    """A map over two frequencies, its title, and the places to ring, as (horizontal, vertical)."""

    title: str
    values: Map
    marks: Sequence[tuple[float, float]] = ()


def shared_limits(maps: Sequence[Map], signed: bool) -> tuple[float, float]:
    """Return limits of a colour scale that all maps share and a few odd cells do not stretch."""
    values = np.concatenate([values.ravel() for values in maps])
    if not signed:
        low, high = np.percentile(values, (0.5, 99.8))
        return float(low), float(high)
    reach = float(np.percentile(np.abs(values), 99.8)) or 1.0
    return -reach, reach


def map_grid(grid: Sequence[MapPanel], limits: tuple[float, float], unit: str) -> Figure:
    """Draw maps over frequency side by side on one scale, zero frequency in the middle.

    Args:
        grid: maps, (S + 1, S + 1) each, from -0.5 to 0.5 cycles per pixel both ways.
        limits: of the colour scale; one that is even about 0 is drawn in colours with a sign.
        unit: what the colours mean.
    """
    colours: Colormap = SIGNED if limits[0] == -limits[1] else SHADES
    even = -(-len(grid) // -(-len(grid) // MAX_COLUMNS))  # rows as even as can be
    columns = max(even, MIN_COLUMNS)
    figure, places = panels(len(grid), columns, 2.3 * WIDTH, 2.3 * WIDTH / columns + 0.4)
    for number, (axes, panel) in enumerate(zip(places, grid, strict=True)):
        edge = 0.5 + 0.5 / (len(panel.values) - 1)
        drawn = axes.imshow(
            panel.values,
            cmap=colours,
            vmin=limits[0],
            vmax=limits[1],
            extent=(-edge, edge, edge, -edge),
            interpolation="none",
        )
        _ring(axes, panel.marks)
        last_row = number + columns >= len(grid)
        dress(
            axes,
            panel.title,
            "horizontal (cycles/pixel)" if last_row else "",
            "vertical (cycles/pixel)" if number % columns == 0 else "",
        )
        axes.grid(visible=False)
        axes.set_xticks([-0.5, 0, 0.5])
        axes.set_yticks([-0.5, 0, 0.5])
    bar = figure.colorbar(drawn, ax=places, shrink=0.9, aspect=30, extend="both")
    bar.set_label(unit, color=MUTED, fontsize=10)
    bar.ax.tick_params(colors=MUTED, labelsize=9, length=0)
    bar.outline.set_visible(False)
    return figure


def _ring(axes: Axes, marks: Sequence[tuple[float, float]]) -> None:
    """Ring places, dark on a light halo so that it shows on any ground."""
    if not marks:
        return
    across, down = zip(*marks, strict=True)
    for colour, width in (("white", 2.6), ("#111827", 1.1)):
        axes.scatter(
            across,
            down,
            s=70,
            facecolors="none",
            edgecolors=colour,
            linewidths=width,
            clip_on=False,
            zorder=3,
        )
