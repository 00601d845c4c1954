"""What a data set holds, for people: lines for the terminal, plots and a page."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from faceproof.data.image_io import Pixels, UnreadableImageError
from faceproof.errors import FaceproofError
from faceproof.explain.exploration_results import QUANTILES, UNITS, Counts, Exploration, Values
from faceproof.explain.sampling import class_names
from faceproof.reports.html import image_url, render, write_page
from faceproof.reports.image_grid import Tile, image_grid, small_copy
from faceproof.reports.map_plots import move_legend_below, shortened
from faceproof.reports.plots import (
    CLASS_COLOURS,
    GREY,
    MUTED,
    WIDTH,
    dress,
    literal,
    panels,
    plot_html,
)

NUM_SHOWN = 24  # images of each class
NUM_BINS = 40
MANY_VALUES = 8  # of a column; with more the plot is higher
MAX_VALUES = 40  # bars of a column; the page's tables have them all
MAX_NAMED = 20  # unreadable files on the page

log = logging.getLogger(__name__)

Shown = list[tuple[str, str, Pixels]]  # path, caption and pixels of each image


def write_exploration(found: Exploration, folder: Path) -> Path:
    """Write page, numbers and plots into a folder, and return the page."""
    shown = {label: shown_images(found, label) for label in found.classes_drawn}
    plots = {
        "counts": draw_counts(found),
        "properties": draw_properties(found),
        **{f"images-{label}": draw_images(found, label, shown[label]) for label in shown},
        "means": draw_means(found),
    }
    page = exploration_page(found, shown, plots)
    return write_page(folder, "explore", page, found.to_json(), plots)


def shown_images(found: Exploration, label: str) -> Shown:
    """Read the images of a class to show: the first of the draw.

    A file that has changed meanwhile is named in a warning and left out.
    """
    of_class = np.array(class_names(found.rows)) == label
    rows = found.rows.filter(pa.array(of_class)).slice(0, NUM_SHOWN)
    shown = []
    for path, words in zip(rows["path"].to_pylist(), captions(rows), strict=True):
        try:
            shown.append((path, words, small_copy(path)))
        except UnreadableImageError as error:
            log.warning("%s cannot be shown any more: %s", path, error)
    if not shown:
        raise FaceproofError(f"no image of {label} that was to be shown can still be read")
    return shown


def captions(rows: pa.Table) -> list[str]:
    """Return what is written below each image: its generator or else its file name, cut to fit."""
    makers, paths = rows["generator"].to_pylist(), rows["path"].to_pylist()
    return [shortened(of or Path(path).name) for of, path in zip(makers, paths, strict=True)]


def columns_shown(found: Exploration) -> list[str]:
    """Return the columns whose counts say something: split, and any with several values."""
    return [name for name, rows in found.counts.items() if name == "split" or len(rows) > 1]


def draw_counts(found: Exploration) -> Figure:
    """Draw the number of images of each class by split, source and generator.

    All bars have one thickness; the column of most values sets the height.
    """
    drawn = {column: largest(found.counts[column]) for column in columns_shown(found)}
    most = max(len(rows) for rows in drawn.values())
    width = WIDTH if len(drawn) == 1 else 2 * WIDTH
    figure, places = panels(len(drawn), len(drawn), width, max(3.4, 1 + 0.3 * most))
    for axes, (column, rows) in zip(places, drawn.items(), strict=True):
        _count_bars(axes, found, column, rows)
        if most > MANY_VALUES:
            axes.set_ylim(most - 0.5, -0.5)
    if len(found.classes) > 1:
        move_legend_below(figure, places[0], 3)
    return figure


def largest(rows: Counts) -> Counts:
    """Return the counts of the most frequent values, and those of all others together."""
    if len(rows) <= MAX_VALUES:
        return rows
    order = sorted(rows, key=lambda value: -sum(rows[value].values()))
    frequent, rest = order[: MAX_VALUES - 1], order[MAX_VALUES - 1 :]
    others = sum((Counter(rows[value]) for value in rest), Counter[str]())
    return {name: rows[name] for name in rows if name in frequent} | {f"{len(rest)} others": others}


def _count_bars(axes: Axes, found: Exploration, column: str, rows: Counts) -> None:
    """Draw a bar for each class beside each value of a column, its number at its end."""
    height = 0.8 / len(found.classes)
    for place, label in enumerate(found.classes):
        numbers = [row.get(label, 0) for row in rows.values()]
        middles = np.arange(len(rows)) - 0.4 + (place + 0.5) * height
        style = _style(found, label, line=False)
        bars = axes.barh(middles, numbers, height * 0.9, label=label, **style)
        words = [f"{number:,}" if number else "" for number in numbers]
        axes.bar_label(bars, words, padding=3, fontsize=8, color=MUTED)
    axes.set_yticks(range(len(rows)), [literal(value) for value in rows])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    dress(axes, f"Images by {column}", "images", "")
    if (legend := axes.get_legend()) is not None:
        legend.set_visible(False)


def _style(found: Exploration, label: str, line: bool) -> dict[str, Any]:
    """Return how a class is drawn: in its hue, and in a hatching or dashes of its own."""
    number = (*found.task.classes, label).index(label)
    colour = (*CLASS_COLOURS, GREY)[number]
    if line:
        return {"color": colour, "linestyle": ("-", "--", ":")[number], "linewidth": 1.6}
    return {"color": colour, "alpha": 0.75, "hatch": ("", "//", "..")[number], "edgecolor": "white"}


def draw_properties(found: Exploration) -> Figure:
    """Draw the distribution of each property by class, as the share of the class in each bin."""
    figure, places = panels(len(found.properties), 3, 2 * WIDTH, 2.9)
    for axes, (name, by_class) in zip(places, found.properties.items(), strict=True):
        edges = bin_edges(np.concatenate(list(by_class.values())))
        for label in found.classes_drawn:
            values = by_class[label]
            shares = np.histogram(values, edges)[0] / len(values)
            words = f"{label} ({len(values):,})"
            axes.stairs(100 * shares, edges, label=words, **_style(found, label, line=True))
        axes.set_ylim(bottom=0)
        dress(axes, name[0].upper() + name[1:], UNITS[name], "% of the class per bin")
        if axes is not places[0] and (legend := axes.get_legend()) is not None:
            legend.set_visible(False)
    return figure


def bin_edges(values: Values) -> Values:
    """Return the edges of equal bins; the end bins take the outermost hundredth of the values."""
    low, high = (float(np.quantile(values, share)) for share in (0.005, 0.995))
    if low == high:  # all the same: one bar in the middle
        reach = 0.1 * abs(low) or 0.5
        low, high = low - reach, high + reach
    edges = np.linspace(low, high, NUM_BINS + 1)
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    return edges


def draw_images(found: Exploration, label: str, shown: Shown) -> Figure:
    """Draw images of a class, each with its caption."""
    tiles = [Tile(pixels, caption) for _, caption, pixels in shown]
    number = sum(row.get(label, 0) for row in found.counts["split"].values())
    title = f"{label}: {len(tiles)} of {number:,} images of {found.data}, drawn at random"
    return image_grid(tiles, title, 8)


def draw_means(found: Exploration) -> Figure:
    """Draw the mean image of each class and generator."""
    tiles = [Tile(mean.pixels, f"{shortened(mean.name)} ({mean.num:,})") for mean in found.means]
    side = len(found.means[0].pixels)
    return image_grid(tiles, f"Mean images of {found.data}, resized to {side} x {side} pixels", 6)


def describe(found: Exploration) -> list[str]:
    """Return the counts, and the median of each property by class, a line each."""
    lines = [f"{found.data}: {found.num_images:,} images, {found.rows.num_rows:,} measured"]
    for split, row in found.counts["split"].items():
        parts = ", ".join(f"{label} {row.get(label, 0):,}" for label in found.classes)
        lines.append(f"  {split}: {parts}")
    for name, by_class in found.properties.items():
        parts = ", ".join(f"{label} {np.median(by_class[label]):.4g}" for label in by_class)
        lines.append(f"  median {name} ({UNITS[name]}): {parts}")
    if found.unreadable:
        lines.append(f"  {len(found.unreadable):,} cannot be read; explore.json names them")
    return lines


def exploration_page(found: Exploration, shown: dict[str, Shown], plots: dict[str, Figure]) -> str:
    """Return the page of a data set."""
    return render(
        "explore.html.j2",
        found=found,
        plots={
            name: plot_html(plots[name], photos=name == "means")
            for name in ("counts", "properties", "means")
        },
        columns=columns_shown(found),
        units=UNITS,
        quantiles=["mean", "standard deviation", "min", *QUANTILES, "max"],
        summaries=found.summaries(),
        shown={
            label: [(image_url(Image.fromarray(image)), words, path) for path, words, image in ones]
            for label, ones in shown.items()
        },
        left_out=found.unreadable[:MAX_NAMED],
    )
