"""Draw maps over spatial frequency, and maps of images by their features.

Maps without a sign are shaded from light to dark. Maps with one go from dark blue over white to
vermillion, so that a grey print tells the two ends apart.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from faceproof.explain.features_results import PLANES, TITLES, FeatureMap, Plane, Points
from faceproof.reports.plots import (
    HUES,
    INK,
    LEGEND,
    MARKERS,
    MUTED,
    SHADES,
    WIDTH,
    dress,
    literal,
    panels,
)

SIGNED = LinearSegmentedColormap.from_list("signed", ["#00345c", "#ffffff", "#d55e00"])
MAX_LETTERS = 16
MIN_COLUMNS, MAX_COLUMNS = 4, 5  # maps in a row
MAX_NAMES = len(HUES) - 1  # rarer names share the last colour

Map = npt.NDArray[np.float64]


def shortened(name: str) -> str:
    """Return a name cut in its middle, so that it fits above or below an image."""
    return name if len(name) <= MAX_LETTERS else f"{name[:7]}…{name[-8:]}"


def move_legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Move the legend of axes below the whole figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if (legend := axes.get_legend()) is not None:
        legend.remove()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, **LEGEND)


@dataclass(frozen=True)
class MapPanel:
    """A map over spatial frequency, under its title.

    Attributes:
        values: (S + 1, S + 1), from -0.5 to 0.5 cycles per pixel both ways.
        marks: places to ring, as (horizontal, vertical).
    """

    title: str
    values: Map
    marks: Sequence[tuple[float, float]] = ()


def shared_limits(maps: Sequence[Map], signed: bool) -> tuple[float, float]:
    """Return limits of one colour scale for all maps, which a few odd cells do not stretch."""
    values = np.concatenate([values.ravel() for values in maps])
    if not signed:
        low, high = np.percentile(values, (0.5, 99.8))
        return float(low), float(high)
    reach = float(np.percentile(np.abs(values), 99.8)) or 1.0
    return -reach, reach


def map_grid(grid: Sequence[MapPanel], limits: tuple[float, float], unit: str) -> Figure:
    """Draw maps over frequency side by side on one scale, zero frequency in the middle.

    Limits that are symmetric about 0 give the colours of a sign; `unit` says what colours mean.
    """
    colours: Colormap = SIGNED if limits[0] == -limits[1] else SHADES
    even = -(-len(grid) // -(-len(grid) // MAX_COLUMNS))  # rows as even as can be
    columns = max(even, MIN_COLUMNS)
    figure, places = panels(len(grid), columns, 2.3 * WIDTH, 2.3 * WIDTH / columns + 0.4)
    for number, (axes, panel) in enumerate(zip(places, grid, strict=True)):
        edge = 0.5 + 0.5 / (len(panel.values) - 1)
        drawn = axes.imshow(
            panel.values, cmap=colours, vmin=limits[0], vmax=limits[1],
            extent=(-edge, edge, edge, -edge), interpolation="none",
        )  # fmt: skip
        _ring(axes, panel.marks)
        across = "horizontal (cycles/pixel)" if number + columns >= len(grid) else ""
        dress(axes, panel.title, across, "" if number % columns else "vertical (cycles/pixel)")
        axes.grid(visible=False)
        axes.set(xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])
    bar = figure.colorbar(drawn, ax=places, shrink=0.9, aspect=30, extend="both")
    bar.set_label(unit, color=MUTED, fontsize=10)
    bar.ax.tick_params(colors=MUTED, labelsize=9, length=0)
    bar.outline.set_visible(False)
    return figure


def _ring(axes: Axes, marks: Sequence[tuple[float, float]]) -> None:
    """Ring places, dark on a light halo so that the ring shows on any ground."""
    if not marks:
        return
    ring: dict[str, Any] = {"s": 70, "facecolors": "none", "clip_on": False, "zorder": 3}
    for colour, width in (("white", 2.6), ("#111827", 1.1)):
        axes.scatter(*zip(*marks, strict=True), edgecolors=colour, linewidths=width, **ring)


def draw_features(found: FeatureMap, first: Sequence[str] = ()) -> Figure:
    """Draw each plane in a row, coloured by class, source and generator side by side.

    If all images agree in every column, there is one grey column. The names in `first` take the
    first colours, in this order; the others follow by frequency.
    """
    columns = dict(found.names) or {"image": ["image"] * found.num_images}
    size = (0.8 * WIDTH * len(columns), 0.85 * WIDTH * len(found.planes) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(found.planes), len(columns), squeeze=False)
    for row, (plane, points) in enumerate(found.planes.items()):
        for axes, (name, values) in zip(grid[row], columns.items(), strict=True):
            _scatter(axes, points, values, first)
            heading = f"{PLANES[plane]}, by {TITLES.get(name, name)}"
            dress(axes, heading, *_axis_names(plane, found.shares))
            axes.set(xticklabels=[], yticklabels=[])
            # Below the axes and their label, where no image is.
            corner = (0, -0.07 if axes.get_xlabel() else 0)
            axes.legend(loc="upper left", bbox_to_anchor=corner, ncols=2, **LEGEND)
    figure.suptitle(literal(found.title), color=INK, fontsize=11, x=0.01, ha="left")
    return figure


def _axis_names(plane: Plane, shares: Sequence[float]) -> tuple[str, str]:
    """Return the names of both axes; those of t-SNE have no meaning."""
    if plane == "tsne":
        return "", ""
    known = [f" ({share:.0%} of the variance)" for share in shares] or ["", ""]
    return f"direction 1{known[0]}", f"direction 2{known[1]}"


def _numbers(names: Sequence[str], first: Sequence[str]) -> Iterator[int]:
    """Yield the number of each name's colour; each of `first` has its own, whoever is missing."""
    taken = [first.index(name) for name in names if name in first]
    free = (number for number in itertools.count(len(first) if taken else 0))
    for name in names:
        yield (first.index(name) if name in first else next(free)) % len(HUES)
    yield next(free) % len(HUES)  # of all others together


def _scatter(axes: Axes, points: Points, names: Sequence[str], first: Sequence[str]) -> None:
    """Draw the images of each name in a colour and a shape of their own."""
    values, counts = np.asarray(names), Counter(names)
    rank = {name: place for place, name in enumerate(first)}
    order = sorted(counts, key=lambda name: (rank.get(name, len(rank)), -counts[name], name))
    shown = order if len(order) <= len(HUES) else order[:MAX_NAMES]
    drawn = [(f"{literal(name)} ({counts[name]:,})", values == name) for name in shown]
    rest = ~np.isin(values, shown)
    if rest.any():
        drawn.append((f"{len(order) - len(shown)} others ({rest.sum():,})", rest))
    numbers = _numbers(shown, first)
    for number, (label, chosen) in zip(numbers, drawn, strict=False):
        axes.plot(
            *points[chosen].T, linestyle="", marker=MARKERS[number], markersize=3.5,
            markeredgewidth=0, alpha=0.75, color=HUES[number], label=label,
        )  # fmt: skip
