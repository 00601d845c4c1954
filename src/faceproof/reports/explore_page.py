"""What a data set holds, for people: figures, a page, and all numbers beside it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from faceproof.explain.explore import (
    MEAN_SIDE,
    QUANTILES,
    UNITS,
    Counts,
    Exploration,
    Values,
    summarise,
)
from faceproof.explain.sampling import class_words
from faceproof.io.run_folder import write_text
from faceproof.reports.html import image_url, render
from faceproof.reports.map_plots import (
    INK,
    MUTED,
    WIDTH,
    Tile,
    dress,
    image_grid,
    panels,
    shortened,
    spelled,
)
from faceproof.reports.plots import CLASS_COLOURS, GREY, plot_svg, save_png

NUM_SHOWN = 24  # images of each class
NUM_BINS = 40
MANY_WORDS = 8  # of a column; from more on the drawing is higher
MAX_WORDS = 40  # bars of a column; the page's tables have them all
MAX_NAMED = 20
TILE = 128  # pixels


def write_exploration(found: Exploration, folder: Path) -> Path:
    """Write figures, `explore.json` and `explore.html`; return the page's path."""
    figures = {"counts": draw_counts(found), "properties": draw_properties(found)}
    images = {f"images-{label}": draw_images(found, label) for label in shown_classes(found)}
    for name, figure in {**figures, **images, "means": draw_means(found)}.items():
        save_png(figure, folder / f"{name}.png")
    text = json.dumps(exploration_json(found), indent=2, allow_nan=False) + "\n"
    write_text(folder / "explore.json", text)
    write_text(folder / "explore.html", exploration_page(found, figures))
    return folder / "explore.html"


def shown_classes(found: Exploration) -> list[str]:
    """Return the classes of which the sample has an image that can be read."""
    there = set(class_words(found.rows))
    return [label for label in found.classes if label in there]


def drawn_rows(found: Exploration, label: str) -> pa.Table:
    """Return the images of a class to show: the first of the draw."""
    of_class = np.array(class_words(found.rows)) == label
    return found.rows.filter(pa.array(of_class)).slice(0, NUM_SHOWN)


def draw_counts(found: Exploration) -> Figure:
    """Draw the number of images of each class by split, and by what else has several words.

    Bars are of one thickness, and the drawing as high as the most words need.
    """
    columns = [
        column for column, rows in found.counts.items() if column == "split" or len(rows) > 1
    ]
    drawn = {column: largest(found.counts[column]) for column in columns}
    most = max(len(rows) for rows in drawn.values())
    width = WIDTH if len(columns) == 1 else 2 * WIDTH
    figure, places = panels(len(columns), len(columns), width, max(3.4, 1 + 0.3 * most))
    for axes, (column, rows) in zip(places, drawn.items(), strict=True):
        _count_bars(axes, found, column, rows)
        if most > MANY_WORDS:
            axes.set_ylim(most - 0.5, -0.5)
    if len(found.classes) > 1:
        handles, labels = places[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False,
            labelcolor=INK,
        )  # fmt: skip
    return figure


def largest(rows: Counts) -> Counts:
    """Return the counts of the words that most images have, and those of all others as one."""
    if len(rows) <= MAX_WORDS:
        return rows
    order = sorted(rows, key=lambda word: -sum(rows[word].values()))
    kept, rest = order[: MAX_WORDS - 1], order[MAX_WORDS - 1 :]
    others: Counter[str] = Counter()
    for word in rest:
        others.update(rows[word])
    return {word: rows[word] for word in rows if word in kept} | {f"{len(rest)} others": others}


def _count_bars(axes: Axes, found: Exploration, column: str, rows: Counts) -> None:
    """Draw a bar for each class beside each word of a column, its number at its end."""
    height = 0.8 / len(found.classes)
    for place, label in enumerate(found.classes):
        numbers = [row.get(label, 0) for row in rows.values()]
        bars = axes.barh(
            np.arange(len(rows)) - 0.4 + (place + 0.5) * height,
            numbers,
            height * 0.9,
            label=label,
            **_look(found, label, line=False),
        )
        axes.bar_label(bars, [f"{number:,}" if number else "" for number in numbers],
                       padding=3, fontsize=8, color=MUTED)  # fmt: skip
    axes.set_yticks(range(len(rows)), [spelled(word) for word in rows])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    dress(axes, f"Images by {column}", "images", "")
    if (legend := axes.get_legend()) is not None:
        legend.remove()


def _look(found: Exploration, label: str, line: bool) -> dict[str, Any]:
    """Return how a class is drawn: blue, vermillion with hatching or dashes, or grey."""
    number = (*found.task.classes, label).index(label)
    colour = (*CLASS_COLOURS, GREY)[number]
    if line:
        return {"color": colour, "linestyle": ("-", "--", ":")[number], "linewidth": 1.6}
    return {"color": colour, "alpha": 0.75, "hatch": ("", "//", "..")[number], "edgecolor": "white"}


def draw_properties(found: Exploration) -> Figure:
    """Draw the distribution of each property by class, as the share of a class in each bin."""
    figure, places = panels(len(found.properties), 3, 2 * WIDTH, 2.9)
    for number, (axes, (name, by_class)) in enumerate(
        zip(places, found.properties.items(), strict=True)
    ):
        edges = bin_edges(np.concatenate(list(by_class.values())))
        for label in shown_classes(found):
            values = by_class[label]
            shares = np.histogram(values, edges)[0] / len(values)
            axes.stairs(
                100 * shares, edges, label=f"{label} ({len(values):,})",
                **_look(found, label, line=True),
            )  # fmt: skip
        axes.set_ylim(bottom=0)
        dress(axes, name[0].upper() + name[1:], UNITS[name], "% of the class per bin")
        if number and (legend := axes.get_legend()) is not None:
            legend.remove()
    return figure


def bin_edges(values: Values) -> Values:
    """Return the edges of equal bins that leave the outermost hundredth to the end bins."""
    low, high = (float(np.quantile(values, share)) for share in (0.005, 0.995))
    if low == high:  # all the same: one bar in the middle
        reach = 0.1 * abs(low) or 0.5
        low, high = low - reach, high + reach
    edges = np.linspace(low, high, NUM_BINS + 1)
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    return edges


def draw_images(found: Exploration, label: str) -> Figure:
    """Draw some images of a class, each with its generator, or its file's name if it has none."""
    from faceproof.data.image_io import read_image
    from faceproof.data.model_input import fit_image

    rows = drawn_rows(found, label)
    tiles = [
        Tile(
            fit_image(read_image(path), TILE, "bilinear").permute(1, 2, 0).numpy(),
            caption,
        )
        for path, caption in zip(rows["path"].to_pylist(), captions(rows), strict=True)
    ]
    number = sum(row.get(label, 0) for row in found.counts["split"].values())
    title = f"{label}: {len(tiles)} of {number:,} images of {found.data}, drawn by chance"
    return image_grid(tiles, title, 8)


def captions(rows: pa.Table) -> list[str]:
    """Return what stands under each image: its generator, or its file's name, cut to fit."""
    return [
        shortened(generator or Path(path).name)
        for generator, path in zip(
            rows["generator"].to_pylist(), rows["path"].to_pylist(), strict=True
        )
    ]


def draw_means(found: Exploration) -> Figure:
    """Draw the mean image of each class and generator."""
    tiles = [Tile(mean.pixels, f"{shortened(mean.name)} ({mean.num:,})") for mean in found.means]
    title = f"Mean images of {found.data}, resized to {MEAN_SIDE} x {MEAN_SIDE} pixels"
    return image_grid(tiles, title, 6)


def exploration_json(found: Exploration) -> dict[str, Any]:
    """Return all numbers as plain data."""
    return {
        "data": found.data,
        "task": found.task.name,
        "seed": found.seed,
        "num_images": found.num_images,
        "num_measured": found.rows.num_rows,
        "counts": found.counts,
        "properties": {
            name: {
                "unit": UNITS[name],
                "by_class": {label: summarise(values) for label, values in by_class.items()},
            }
            for name, by_class in found.properties.items()
        },
        "formats": found.formats,
        "mean_images": [
            {
                "kind": mean.kind,
                "name": mean.name,
                "num": mean.num,
                "mean_rgb": mean.pixels.mean((0, 1)).tolist(),
            }
            for mean in found.means
        ],
        "unreadable": found.unreadable,
    }


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


def exploration_page(found: Exploration, figures: dict[str, Figure]) -> str:
    """Return the page of a data set."""
    from faceproof.reports.mistake_images import small_copy

    shown = []
    for label in shown_classes(found):
        rows = drawn_rows(found, label)
        paths = rows["path"].to_pylist()
        images = [image_url(Image.fromarray(small_copy(path))) for path in paths]
        shown.append((label, list(zip(images, captions(rows), paths, strict=True))))
    return render(
        "explore.html.j2",
        {"figure": lambda value: f"{value:.4g}"},
        found=found,
        drawings={name: plot_svg(figure) for name, figure in figures.items()},
        means_drawing=plot_svg(draw_means(found)),
        columns=[
            column for column, rows in found.counts.items() if len(rows) > 1 or column == "split"
        ],
        units=UNITS,
        quantiles=["mean", "standard deviation", "min", *QUANTILES, "max"],
        summaries={
            name: {label: summarise(values) for label, values in by_class.items()}
            for name, by_class in found.properties.items()
        },
        shown=shown,
        left_out=found.unreadable[:MAX_NAMED],
    )
