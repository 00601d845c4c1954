"""What every plot shares: colours, axes, legends, and the two ways out, a file and a page.

The hues are Okabe and Ito's (2008), which colour-blind readers can tell apart.
"""

import base64
import html
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from faceproof.evaluation.predictions import Scores
from faceproof.io.atomic import atomic_file

logging.getLogger("fontTools").setLevel(logging.WARNING)  # else a line for each table of a font

INK, MUTED, RULE = "#1f2937", "#64707f", "#d9dee5"
GREY, BLUE, VERMILLION = "#5b6570", "#0072b2", "#d55e00"
CLASS_COLOURS = BLUE, VERMILLION
SHADES = LinearSegmentedColormap.from_list("shades", ["#eef4f9", "#00507e"])

# Those of Okabe and Ito's hues that stand out on white. Lines differ in their dashes too, and
# points in their shape.
HUES = BLUE, VERMILLION, "#009e73", "#cc79a7", "#e69f00", GREY
DASHES = "-", "--", "-.", ":"
MARKERS = "o", "s", "^", "D", "v", "P", "X"
LEGEND_COLUMNS = 4
LEGEND: dict[str, Any] = {"fontsize": 9, "frameon": False, "labelcolor": INK}

WIDTH = 5.2  # inches; half a desktop page, or a phone's width at a readable size of type
MAX_POINTS = 2000
NUM_BINS = 40  # of a histogram of probabilities


def new_figure(height: float, num_rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure half a page wide with axes below each other; `height` is in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, [figure.add_subplot(num_rows, 1, number + 1) for number in range(num_rows)]


def dress(axes: Axes, title: str, x_label: str, y_label: str, legend: bool = True) -> None:
    """Give axes the house style; called last, when everything is drawn.

    The `legend` stands where it covers least; lines that cross all axes leave it no such place.
    """
    axes.set_title(title, color=INK, fontsize=11, loc="left", pad=8)
    axes.set_xlabel(x_label, color=MUTED, fontsize=10)
    axes.set_ylabel(y_label, color=MUTED, fontsize=10)
    axes.tick_params(which="both", colors=MUTED, labelsize=9, length=0, pad=6)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(RULE)
    if legend and axes.get_legend_handles_labels()[1]:
        axes.legend(**LEGEND)


def unit_axes(axes: Axes) -> None:
    """Let both axes run from 0 to 1."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))


def mark_point(axes: Axes, x: float, y: float, label: str) -> None:
    """Draw a dot, named in the legend."""
    dot: dict[str, Any] = {"marker": "o", "markersize": 8, "color": VERMILLION, "linestyle": ""}
    axes.plot([x], [y], label=label, clip_on=False, **dot)


def thin(*curve: Scores) -> list[Scores]:
    """Return at most `MAX_POINTS` points of a curve, evenly by number, its ends among them."""
    chosen = np.linspace(0, len(curve[0]) - 1, min(len(curve[0]), MAX_POINTS)).round().astype(int)
    return [values[chosen] for values in curve]


def literal(name: str) -> str:
    """Return a name so that matplotlib draws it letter by letter, in titles, labels and legends.

    Unescaped, `$` would begin a formula, and a name that begins with `_` would be left out of
    legends.
    """
    return f"{' ' if name.startswith('_') else ''}{name}".replace("$", r"\$")


@dataclass(frozen=True)
class Look:
    """How one of several detectors is drawn; runs of one family share a number."""

    name: str
    number: int

    @property
    def colour(self) -> str:
        """Its hue."""
        return HUES[self.number % len(HUES)]

    @property
    def line(self) -> dict[str, Any]:
        """Its hue and dashes."""
        # As hues come round again the dashes are others.
        dashes = DASHES[(self.number + self.number // len(HUES)) % len(DASHES)]
        return {"color": self.colour, "linestyle": dashes}

    @property
    def marker(self) -> str:
        """Its shape as a point."""
        return MARKERS[(self.number + 2 * (self.number // len(HUES))) % len(MARKERS)]


def panels(num: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with `num` axes in rows of `columns`; its width, a row's height, in inches.

    Places stay empty where there are fewer axes than columns, so that type is of the same size in
    every figure of a page.
    """
    num_rows = -(-num // columns)
    figure = Figure(figsize=(width, num_rows * height), layout="constrained")
    grid = figure.add_gridspec(num_rows, columns)
    return figure, [figure.add_subplot(grid[divmod(place, columns)]) for place in range(num)]


def two_panels(num_names: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of a page's width, its height such that the legend has room below."""
    height = 4.0 + 0.2 * -(-num_names // LEGEND_COLUMNS)
    figure = Figure(figsize=(2 * WIDTH, height), layout="constrained")
    return figure, [figure.add_subplot(1, 2, number) for number in (1, 2)]


def legend_below(figure: Figure, looks: Sequence[Look], points: bool = False) -> None:
    """Name each family once, below the drawing."""
    handles = []
    for look in {look.name: look for look in looks}.values():
        point = {"color": look.colour, "linestyle": "", "marker": look.marker}
        style = point if points else look.line
        handles.append(Line2D([], [], label=literal(look.name), linewidth=2, **style))
    columns = LEGEND_COLUMNS if figure.get_figwidth() > WIDTH else 2
    _place_below(figure, handles, columns)


def labels_below(figure: Figure, columns: int = 2) -> None:
    """Name what is drawn in any of the axes once, below the drawing."""
    named: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
    _place_below(figure, list(named.values()), columns)


def _place_below(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "handlelength": 3}
    figure.legend(handles=handles, **place, **LEGEND)


def plot_svg(figure: Figure) -> str:
    """Return a figure as matplotlib's own SVG, the same for the same figure; text stays text."""
    buffer = io.StringIO()
    # The salt replaces random ids; matplotlib takes it, and the kind of text, only from here.
    with matplotlib.rc_context({"svg.hashsalt": "faceproof", "svg.fonttype": "none"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return buffer.getvalue()


def plot_html(figure: Figure, photos: bool = False) -> Markup:
    """Return a figure as an `<img>` element that holds its SVG.

    Inside an image, ids and styles are the plot's own, and scripts do not run. On a dark page
    `base.html.j2` puts a plot that shows photographs on white, and inverts the lightness of any
    other.
    """
    titles = (axes.get_title(loc="left") for axes in figure.axes)
    title = html.escape(" / ".join(filter(None, titles)))
    kind = " photos" if photos else ""
    data = base64.b64encode(plot_svg(figure).encode()).decode()
    return Markup(f'<img class="plot{kind}" alt="{title}" src="data:image/svg+xml;base64,{data}">')


def save_pdf(figure: Figure, path: Path) -> None:
    """Write a figure as a PDF for a paper: vectors and text that can be searched, no date."""
    nothing: Any = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    with atomic_file(path) as partial, matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(partial, format="pdf", metadata=nothing)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG on white, without the date."""
    undated: Any = {"Software": None}
    with atomic_file(path) as partial:
        figure.savefig(partial, format="png", dpi=150, facecolor="white", metadata=undated)
