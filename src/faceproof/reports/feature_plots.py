"""Draw the images of a run on the planes of their features."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceproof.explain.features_results import PLANES, TITLES, FeatureMap, Plane, Points
from faceproof.reports.map_plots import literal
from faceproof.reports.plots import HUES, INK, LEGEND, MARKERS, WIDTH, dress

MAX_NAMES = len(HUES) - 1  # rarer names share the last colour


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
    for number, (label, chosen) in enumerate(drawn):
        axes.plot(
            *points[chosen].T, linestyle="", marker=MARKERS[number], markersize=3.5,
            markeredgewidth=0, alpha=0.75, color=HUES[number], label=label,
        )  # fmt: skip
