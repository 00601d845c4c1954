"""Figures of a report as matplotlib objects, in one style and without global state.

The two classes are told apart by hue (Okabe and Ito's blue and vermillion, 2008, which
colour-blind readers can separate) and also by line or hatching, so that a grey print says the same.

`plot_svg` and `save_png` are the two ways out: inline in a page, and as a file.
"""

import hashlib
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from faceproof.evaluation.metrics import (
    Counts,
    average_precision,
    confusion,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from faceproof.evaluation.predictions import Labels, Scores, is_positive
from faceproof.evaluation.reliability import ReliabilityBin, risk_coverage, unsure_flags
from faceproof.evaluation.robustness import CorruptionRow
from faceproof.evaluation.statistics import Interval
from faceproof.io.atomic import atomic_file
from faceproof.task import Task

INK, MUTED, RULE = "#1f2937", "#64707f", "#d9dee5"
GREY, BLUE, VERMILLION = "#5b6570", "#0072b2", "#d55e00"
CLASS_COLOURS = BLUE, VERMILLION
SHADES = LinearSegmentedColormap.from_list("shades", ["#eef4f9", "#00507e"])

# In a page these follow the page's own colours, and so its dark mode.
PAGE_COLOURS = {INK: "--ink", MUTED: "--muted", RULE: "--rule", BLUE: "--accent"}

# Those of Okabe and Ito's hues that stand out on white; a lighter blue would be the accent of the
# dark page. Lines differ in their dashes too, and points in their shape.
HUES = BLUE, VERMILLION, "#009e73", "#cc79a7", "#e69f00", GREY
DASHES = "-", "--", "-.", ":"
MARKERS = "o", "s", "^", "D", "v", "P", "X"
LEGEND_COLUMNS = 4

WIDTH = 5.2  # inches; half a desktop page, or a phone's width at a readable size of type
MAX_POINTS = 2000
NUM_BINS = 40

LEVEL_UNITS = {
    "jpeg": "JPEG quality",
    "resize": "scale",
    "blur": "standard deviation (pixels)",
    "noise": "standard deviation (of 255)",
    "brightness": "factor",
    "screenshot": "times",
}

FILLED: dict[str, Any] = {"alpha": 0.45}
HATCHED: dict[str, Any] = {
    "facecolor": "none",
    "edgecolor": VERMILLION,
    "hatch": "////",
    "linewidth": 1.2,
}
TRAINED: dict[str, Any] = {"linestyle": "--", "linewidth": 1.3}
VALIDATED: dict[str, Any] = {"linestyle": "-", "linewidth": 2.0, "marker": "o", "markersize": 4}
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 2, "alpha": 0.85}

History = Sequence[Mapping[str, Any]]


def _figure(height: float, num_rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, [figure.add_subplot(num_rows, 1, number + 1) for number in range(num_rows)]


def dress(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Give axes the house style; called last, when everything is drawn."""
    axes.set_title(title, color=INK, fontsize=11, loc="left", pad=8)
    axes.set_xlabel(x_label, color=MUTED, fontsize=10)
    axes.set_ylabel(y_label, color=MUTED, fontsize=10)
    axes.tick_params(which="both", colors=MUTED, labelsize=9, length=0, pad=6)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(RULE)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=9, frameon=False, labelcolor=INK)


def _legend_above(axes: Axes) -> None:
    """Move the legend between title and drawing, for drawings that leave it no room inside."""
    axes.legend(
        fontsize=9,
        frameon=False,
        labelcolor=INK,
        ncols=3,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0,
    )
    axes.set_title(axes.get_title(loc="left"), color=INK, fontsize=11, loc="left", pad=26)


def _unit_axes(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))


def percent(share: float) -> str:
    """Write a share with one decimal, but never a share short of all or none as all or none."""
    if 0 < share < 0.0005:
        return "under 0.1%"
    return "over 99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def thin(*curve: Scores) -> list[Scores]:
    """Return at most `MAX_POINTS` points of a curve, evenly by number, its ends among them."""
    chosen = np.linspace(0, len(curve[0]) - 1, min(len(curve[0]), MAX_POINTS)).round().astype(int)
    return [values[chosen] for values in curve]


def confusion_heatmap(cells: Counts, task: Task) -> Figure:
    """Draw the (2, 2) counts of `metrics.confusion`, shaded by their share of the true class."""
    figure, (axes,) = _figure(3.6)
    totals = cells.sum(axis=1, keepdims=True)
    shares = np.divide(cells, totals, out=np.zeros((2, 2)), where=totals > 0)
    axes.pcolormesh(shares, cmap=SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    for row, column in np.ndindex(2, 2):
        share = (
            f"{percent(float(shares[row, column]))} of {task.classes[row]}"
            if totals[row]
            else "none"
        )
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{cells[row, column]:,}\n{share}",
            ha="center",
            va="center",
            fontsize=11,
            linespacing=1.5,
            # Not `INK`, which turns light with the page while the cell does not.
            color="#ffffff" if shares[row, column] > 0.5 else "#111827",
        )
    dress(
        axes,
        "Confusion matrix: images by true and predicted class",
        "predicted class",
        "true class",
    )
    axes.grid(visible=False)
    axes.set_xticks([0.5, 1.5], task.classes)
    axes.set_yticks([0.5, 1.5], task.classes)
    axes.invert_yaxis()
    return figure


def roc_plot(
    labels: Labels, logits: Scores, probabilities: Scores, threshold: float, task: Task
) -> Figure:
    """Draw the ROC curve with its area and the operating point of the threshold.

    Raises:
        FaceproofError: only one class is there.
    """
    figure, (axes,) = _figure(4.2)
    false_positives, true_positives = thin(*roc_curve(labels, logits))
    area = roc_auc(labels, logits)
    axes.plot(false_positives, true_positives, color=BLUE, linewidth=2, label=f"AUC {area:.4f}")
    (fpr, tpr), _ = _operating_point(labels, probabilities, threshold)
    _mark(
        axes,
        fpr,
        tpr,
        f"threshold {threshold:.4g}: {percent(tpr)} found, {percent(fpr)} false alarms",
    )
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="chance")
    _unit_axes(axes)
    dress(
        axes,
        "ROC curve: found against false alarms",
        f"false-positive rate (share of {task.negative} called {task.positive})",
        f"true-positive rate (share of {task.positive} found)",
    )
    return figure


def precision_recall_plot(
    labels: Labels, logits: Scores, probabilities: Scores, threshold: float, task: Task
) -> Figure:
    """Draw precision against recall, with the base rate that guessing attains.

    Raises:
        FaceproofError: only one class is there.
    """
    figure, (axes,) = _figure(4.2)
    precision, recall = thin(*precision_recall_curve(labels, logits))
    area = average_precision(labels, logits)
    axes.plot(recall, precision, color=BLUE, linewidth=2, label=f"average precision {area:.4f}")
    (_, tpr), called_rightly = _operating_point(labels, probabilities, threshold)
    if called_rightly is not None:
        label = (
            f"threshold {threshold:.4g}: {percent(called_rightly)} correct, {percent(tpr)} found"
        )
        _mark(axes, tpr, called_rightly, label)
    base = float(np.mean(labels))
    axes.axhline(base, color=MUTED, linewidth=1, linestyle=":", label=f"base rate {base:.4f}")
    _unit_axes(axes)
    dress(
        axes,
        "Precision-recall curve: correct against found",
        f"recall (share of {task.positive} found)",
        f"precision (share of {task.positive} among those called so)",
    )
    return figure


def _operating_point(
    labels: Labels, probabilities: Scores, threshold: float
) -> tuple[tuple[float, float], float | None]:
    """Return (false-, true-positive rate) at the threshold, and precision if any are called."""
    cells = confusion(labels, probabilities, threshold)
    fpr, tpr = (cells[:, 1] / cells.sum(axis=1)).tolist()
    called = int(cells[:, 1].sum())
    return (fpr, tpr), int(cells[1, 1]) / called if called else None


def _mark(axes: Axes, x: float, y: float, label: str) -> None:
    axes.plot(
        [x],
        [y],
        marker="o",
        markersize=8,
        color=VERMILLION,
        linestyle="",
        label=label,
        clip_on=False,
    )


def score_histogram(
    labels: Labels | None, probabilities: Scores, threshold: float, task: Task
) -> Figure:
    """Count the images of each class by probability; without labels, all images together.

    The counts are on a logarithmic scale: what matters most, the few that are wrong and sure of
    it, would not be seen on a linear one.
    """
    figure, (axes,) = _figure(3.6)
    if labels is None:
        _draw_counts(axes, probabilities, "unlabelled", FILLED | {"color": GREY})
    else:
        _draw_counts(axes, probabilities[labels == 0], task.negative, FILLED | {"color": BLUE})
        _draw_counts(axes, probabilities[labels == 1], task.positive, HATCHED)
    label = f"threshold {threshold:.4g}"
    axes.axvline(threshold, color=INK, linewidth=1.2, linestyle="--", label=label)
    axes.set_yscale("symlog", linthresh=1)  # as a logarithm, but with a place for 0
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(0, 1)
    title = f"Probability of {task.positive}" + (", by true class" if labels is not None else "")
    dress(
        axes,
        title,
        f"probability of {task.positive}",
        f"images per bin of {1 / NUM_BINS:.3g} (log scale)",
    )
    _legend_above(axes)
    return figure


def _draw_counts(axes: Axes, values: Scores, name: str, style: dict[str, Any]) -> None:
    counts, edges = np.histogram(values, bins=NUM_BINS, range=(0, 1))
    axes.stairs(counts, edges, fill=True, label=f"{name} ({len(values):,})", **style)


def reliability_diagram(
    before: Sequence[ReliabilityBin],
    after: Sequence[ReliabilityBin],
    probabilities: Scores,
    task: Task,
) -> Figure:
    """Draw what share was positive against the probability said, above how often each was said.

    Args:
        before: the table of `reliability.reliability_table` without calibration; may be empty.
        after: the same with it; its bins carry their intervals.
        probabilities: those of `after`, (N,).
        task: names the classes.
    """
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="as it should be")
    if before:
        said, was = _said_and_was(before)
        upper.plot(said, was, color=GREY, linestyle="--", linewidth=1.2, label="uncalibrated")
    said, was = _said_and_was(after)
    ends = np.array([row["interval"] for row in after])
    reach = np.abs(ends.T - was)
    upper.errorbar(
        said,
        was,
        yerr=reach,
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.6,
        elinewidth=1,
        label="as reported, with 95% intervals",
    )
    counts, edges = np.histogram(probabilities, bins=NUM_BINS, range=(0, 1))
    lower.stairs(counts, edges, fill=True, color=GREY, alpha=0.6)
    lower.set_yscale("symlog", linthresh=1)
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.set_yticks(_powers(int(counts.max())))
    lower.minorticks_off()
    _unit_axes(upper)
    title = f"Reliability: {task.positive} as said and as they were"
    dress(upper, title, "", f"share of {task.positive}")
    dress(lower, "", f"probability of {task.positive}", "images")
    return figure


def _said_and_was(rows: Sequence[ReliabilityBin]) -> tuple[list[float], list[float]]:
    return [row["mean_probability"] for row in rows], [row["share_positive"] for row in rows]


def _powers(largest: int) -> list[int]:
    """Return 0, 1 and two powers of ten up to a count, for an axis with little room."""
    top = 10 ** int(math.log10(max(largest, 1)))
    return sorted({0, 1, 10 ** (int(math.log10(top)) // 2), top})


def risk_coverage_plot(
    labels: Labels,
    probabilities: Scores,
    threshold: float,
    task: Task,
    unsure: Interval | None = None,
) -> Figure:
    """Draw the share called wrongly if only the most confident answers are given.

    Args:
        labels: classes, (N,).
        probabilities: of the positive class, (N,).
        threshold: see `predictions.is_positive`.
        task: names the classes.
        unsure: the band of an operating point; the share of images in it is shaded.
    """
    figure, (axes,) = _figure(3.6)
    coverage, risk, _ = thin(*risk_coverage(labels, probabilities, threshold))
    axes.plot(coverage, risk, color=BLUE, linewidth=2, label="share wrong of those answered")
    overall = float(risk[-1])
    label = f"all answered: {percent(overall)} wrong"
    axes.axhline(overall, color=MUTED, linewidth=1, linestyle=":", label=label)
    if unsure is not None and unsure[0] < unsure[1]:
        out = unsure_flags(probabilities, unsure)
        answered = float(1 - out.mean())
        label = f"unsure: {percent(1 - answered)} of the images"
        axes.axvspan(answered, 1, color=GREY, alpha=0.2, linewidth=0, label=label)
        if not out.all():
            wrong = is_positive(probabilities, threshold) != (labels == 1)
            outside = float(wrong[~out].mean())
            _mark(axes, answered, outside, f"without them: {percent(outside)} wrong")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    words = f"coverage (share answered {task.negative} or {task.positive})"
    dress(axes, "Risk against coverage", words, "share wrong")
    return figure


def class_bars(cells: Counts, task: Task) -> Figure:
    """Draw the share of each class that was called by its name."""
    figure, (axes,) = _figure(1.9)
    for number, colour in enumerate(CLASS_COLOURS):
        right, total = int(cells[number, number]), int(cells[number].sum())
        share = right / total if total else 0.0
        text = f"{percent(share)} ({right:,} of {total:,})" if total else "undefined (no images)"
        hatch = ("", "//")[number]
        axes.barh(number, share, 0.6, color=colour, alpha=0.75, hatch=hatch, edgecolor="white")
        axes.text(0.02, number, text, va="center", fontsize=10, color="#111827", bbox=LABEL_BOX)
    axes.set_yticks([0, 1], task.classes)
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    dress(axes, "Accuracy of each class", "share called correctly", "")
    return figure


def robustness_plot(rows: Sequence[CorruptionRow]) -> Figure:
    """Draw accuracy and ROC-AUC against the level of each kind of damage.

    Args:
        rows: the first of the images as they are, then kind by kind from mild to strong.
    """
    plain, kinds = rows[0], list(dict.fromkeys(row.kind for row in rows[1:]))
    known = [value for row in rows for value in (row.accuracy, row.roc_auc) if value is not None]
    lowest = min([0.4, *(value - 0.02 for value in known)])
    num_rows = -(-len(kinds) // 3)
    figure = Figure(figsize=(2 * WIDTH, 2.6 * num_rows), layout="constrained")
    for number, kind in enumerate(kinds):
        axes = figure.add_subplot(num_rows, 3, number + 1)
        steps = [plain, *(row for row in rows if row.kind == kind)]
        for name, colour, style in (("accuracy", BLUE, "-"), ("roc_auc", VERMILLION, "--")):
            values = [getattr(row, name) for row in steps]
            axes.plot(
                range(len(steps)),
                [math.nan if value is None else value for value in values],
                linestyle=style,
                color=colour,
                marker="o",
                markersize=4,
                label=name.replace("roc_auc", "ROC-AUC"),
            )
        axes.set_xticks(range(len(steps)), ["none", *(f"{row.level:g}" for row in steps[1:])])
        axes.set_ylim(lowest, 1.02)
        if number == 0:
            axes.legend(fontsize=9, frameon=False, labelcolor=INK, loc="lower left")
        dress(axes, kind, LEVEL_UNITS.get(kind, "level"), "share")
    return figure


def training_curves(history: History, best_epoch: int | None = None) -> Figure:
    """Draw loss, accuracy and ROC-AUC by epoch, training against validation.

    Args:
        history: the rows of a run's `metrics.csv`. A row may hold some of the columns only:
            Lightning writes training and validation figures in rows of their own. The last value
            of an epoch counts. Epochs are numbered as there, from 0.
        best_epoch: the epoch whose weights were kept. None marks the one with the best
            validation ROC-AUC, else accuracy, else loss.
    """
    figure, (upper, lower) = _figure(5.6, num_rows=2)
    names = {name for row in history for name in row if "/" in name}
    columns = {name: by_epoch(history, name) for name in names}
    _draw_series(upper, columns, {"loss": INK})
    _draw_series(lower, columns, {"accuracy": BLUE, "roc_auc": VERMILLION})
    best, label = _best_epoch(columns) if best_epoch is None else (best_epoch, "epoch kept")
    for axes in (upper, lower):
        if best is not None:
            axes.axvline(best, color=INK, linewidth=1.2, linestyle=":", label=f"{label}: {best}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(upper, "Loss by epoch", "", "loss (nats)")
    dress(lower, "Accuracy and ROC-AUC by epoch", "epoch (from 0)", "share")
    return figure


def by_epoch(history: History, column: str) -> dict[int, float]:
    """Return the last value of a column in each epoch that has one, in order of epochs."""
    found: dict[int, float] = {}
    for row in history:
        value, epoch = row.get(column), row.get("epoch")
        if value in (None, "") or epoch in (None, "") or math.isnan(float(str(value))):
            continue  # an empty cell of the CSV, as csv or pandas reads it
        found[int(float(str(epoch)))] = float(str(value))
    return dict(sorted(found.items()))


def _draw_series(
    axes: Axes, columns: Mapping[str, Mapping[int, float]], colours: Mapping[str, str]
) -> None:
    """Draw each figure for both splits: training dashed and thin, validation solid with dots."""
    for name, colour in colours.items():
        words = name.replace("roc_auc", "ROC-AUC")
        for split, style in (("train", TRAINED), ("val", VALIDATED)):
            values = columns.get(f"{split}/{name}", {})
            if values:
                label = f"{split} {words}"
                axes.plot(list(values), list(values.values()), color=colour, label=label, **style)


def _best_epoch(columns: Mapping[str, Mapping[int, float]]) -> tuple[int | None, str]:
    """Return the best epoch by validation and the words that say by what."""
    for column, sign, words in (
        ("val/roc_auc", 1, "best val ROC-AUC"),
        ("val/accuracy", 1, "best val accuracy"),
        ("val/loss", -1, "best val loss"),
    ):
        values = columns.get(column)
        if values:
            return max(values, key=lambda epoch: sign * values[epoch]), words
    return None, ""


@dataclass(frozen=True)
class Look:
    """How one of several detectors is drawn; runs of one family share a number."""

    name: str
    number: int

    @property
    def colour(self) -> str:
        """Return its hue."""
        return HUES[self.number % len(HUES)]

    @property
    def line(self) -> dict[str, Any]:
        """Return its hue and dashes."""
        # As hues come round again the dashes are others.
        dashes = DASHES[(self.number + self.number // len(HUES)) % len(DASHES)]
        return {"color": self.colour, "linestyle": dashes}

    @property
    def marker(self) -> str:
        """Return its shape as a point."""
        return MARKERS[(self.number + 2 * (self.number // len(HUES))) % len(MARKERS)]


@dataclass(frozen=True)
class QualityPoint:
    """A detector by what it costs and how good it is."""

    look: Look
    cost: float
    quality: float
    interval: Interval | None


def compared_roc(curves: Sequence[tuple[Look, Scores, Scores]], task: Task) -> Figure:
    """Draw ROC curves over one another, whole and where false alarms are few.

    Args:
        curves: look, false-positive rates and true-positive rates of each.
        task: names the classes.
    """
    figure, (whole, few) = _two_panels(len({look.name for look, _, _ in curves}))
    smallest = min(float(rates[rates > 0].min()) for _, rates, _ in curves)
    width = 1.8 if len(curves) < 6 else 1.2
    for look, false_positives, true_positives in curves:
        x, y = thin(false_positives, true_positives)
        whole.plot(x, y, linewidth=width, **look.line)
        # On a logarithmic axis the curve starts where the first negative is called positive.
        few.plot(
            np.maximum(x, smallest / 2), y, linewidth=width, drawstyle="steps-post", **look.line
        )
    whole.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
    _unit_axes(whole)
    few.set_xscale("log")
    few.set(xlim=(min(smallest, 0.005), 1), ylim=(-0.01, 1.01))
    few.axvline(0.01, color=MUTED, linewidth=1, linestyle=":")
    few.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    words = f"false-positive rate (share of {task.negative} called {task.positive})"
    dress(whole, "ROC curves", words, f"true-positive rate (share of {task.positive} found)")
    dress(few, "The same, false alarms on a log scale", words, "")
    _legend_below(figure, [look for look, _, _ in curves])
    return figure


def compared_training(histories: Sequence[tuple[Look, History]]) -> Figure:
    """Draw validation's loss and ROC-AUC by epoch, of several runs over one another."""
    figure, panels = _two_panels(len({look.name for look, _ in histories}))
    for axes, column in zip(panels, ("val/loss", "val/roc_auc"), strict=True):
        for look, history in histories:
            values = by_epoch(history, column)
            axes.plot(
                list(values),
                list(values.values()),
                marker=look.marker,
                markersize=4,
                linewidth=1.4,
                **look.line,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(panels[0], "Validation loss by epoch", "epoch (from 0)", "loss (nats)")
    dress(panels[1], "Validation ROC-AUC by epoch", "epoch (from 0)", "ROC-AUC")
    _legend_below(figure, [look for look, _ in histories])
    return figure


def cost_quality_plot(points: Sequence[QualityPoint], x_label: str, title: str) -> Figure:
    """Draw ROC-AUC with its interval against a cost, and a line along those nothing cheaper beats.

    Args:
        points: one a detector.
        x_label: what the cost is, and its unit.
        title: heads the drawing.
    """
    figure, (axes,) = _figure(4.4)
    best = -math.inf
    front: list[QualityPoint] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.quality)):
        if point.quality > best:
            front.append(point)
            best = point.quality
    axes.step(
        [point.cost for point in front],
        [point.quality for point in front],
        where="post",
        color=MUTED,
        linewidth=1,
        linestyle=":",
    )
    for point in points:
        low, high = point.interval or (point.quality, point.quality)
        axes.errorbar(
            [point.cost],
            [point.quality],
            yerr=[[point.quality - low], [high - point.quality]],
            color=point.look.colour,
            marker=point.look.marker,
            markersize=7,
            linewidth=0,
            elinewidth=1.2,
        )
    axes.set_xscale("log")
    axes.margins(x=0.12)
    costs = [point.cost for point in points]
    if max(costs) < 10 * min(costs):
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    dress(axes, title, x_label, "ROC-AUC, with 95% interval")
    _legend_below(figure, [point.look for point in points], points=True)
    return figure


def _two_panels(num_names: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of a page's width, its height such that the legend has room below."""
    height = 4.0 + 0.2 * -(-num_names // LEGEND_COLUMNS)
    figure = Figure(figsize=(2 * WIDTH, height), layout="constrained")
    return figure, [figure.add_subplot(1, 2, number) for number in (1, 2)]


def _legend_below(figure: Figure, looks: Sequence[Look], points: bool = False) -> None:
    """Name each family once, below the drawing."""
    handles = []
    for look in {look.name: look for look in looks}.values():
        style = {"color": look.colour, "linestyle": "", "marker": look.marker}
        handles.append(
            Line2D([], [], label=look.name, linewidth=2, **(style if points else look.line))
        )
    width = figure.get_figwidth()
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=LEGEND_COLUMNS if width > WIDTH else 2,
        fontsize=9,
        frameon=False,
        labelcolor=INK,
        handlelength=3,
    )


def plot_svg(figure: Figure) -> str:
    """Return a figure as an `<svg>` element to stand in a page, the same for the same figure.

    Its text stays text. Its ids carry a digest of its content, so that figures on one page do not
    take each other's; and the style rule that matplotlib would apply to the whole page becomes
    attributes of the element.
    """
    buffer = io.StringIO()
    # The salt replaces random ids; matplotlib takes it, and the kind of text, only from here.
    with matplotlib.rc_context({"svg.hashsalt": "faceproof", "svg.fonttype": "none"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<(metadata|style).*?</\1>", "", drawing, flags=re.DOTALL)
    prefix = "f" + hashlib.sha256(drawing.encode()).hexdigest()[:10]
    drawing = re.sub(r"<[^>]+>", lambda tag: _adopt(tag[0], prefix), drawing)
    titles = (axes.get_title(loc="left") for axes in figure.axes)
    title = " / ".join(filter(None, titles))
    view = re.search(r'viewBox="[^"]+"', drawing)
    assert view is not None, "matplotlib wrote an SVG without a viewBox"
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{view[0]} role="img" aria-label="{html.escape(title)}" '
        'stroke-linejoin="round" stroke-linecap="butt">'
    )
    return opening + drawing[drawing.index(">") + 1 :].strip()


def _adopt(tag: str, prefix: str) -> str:
    """Make one SVG tag fit for a page that holds other figures."""
    tag = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{prefix}-", tag)
    for colour, variable in PAGE_COLOURS.items():
        tag = tag.replace(colour, f"var({variable}, {colour})")
    return tag


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG on white, without the date."""
    look: dict[str, Any] = {"dpi": 150, "facecolor": "white", "metadata": {"Software": None}}
    with atomic_file(path) as partial:
        figure.savefig(partial, format="png", **look)
