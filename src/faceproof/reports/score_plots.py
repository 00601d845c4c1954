"""Plots of one detector's answers, and of how far its probabilities can be trusted.

The two classes are told apart by hue and also by line or hatching, so that a grey print says the
same.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from faceproof.evaluation.metric_formulas import precision_recall_curve, roc_curve
from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.predictions import Labels, Scores, is_positive
from faceproof.evaluation.reliability import ReliabilityBin, risk_coverage, unsure_flags
from faceproof.evaluation.robustness import CorruptionRow
from faceproof.evaluation.scores import Counts, LabelledScores, WeightedScores
from faceproof.evaluation.statistics import Interval
from faceproof.reports.numbers import rate
from faceproof.reports.plots import (
    BLUE,
    CLASS_COLOURS,
    GREY,
    INK,
    LEGEND,
    MUTED,
    NUM_BINS,
    SHADES,
    VERMILLION,
    WIDTH,
    dress,
    mark_point,
    new_figure,
    thin,
    unit_axes,
)
from faceproof.task import Task
from faceproof.words import percent

FILLED = {"alpha": 0.45}
HATCHED = {"facecolor": "none", "edgecolor": VERMILLION, "hatch": "////", "linewidth": 1.2}
LEVEL_UNITS = {
    "jpeg": "JPEG quality",
    "resize": "scale",
    "blur": "standard deviation (pixels)",
    "noise": "standard deviation (of 255)",
    "brightness": "factor",
    "screenshot": "times",
}
DOTTED: dict[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": ":"}
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 2, "alpha": 0.85}


def confusion_heatmap(cells: Counts, task: Task) -> Figure:
    """Draw the (2, 2) counts of `WeightedScores.confusion`, shaded by share of the true class."""
    figure, (axes,) = new_figure(3.6)
    totals = cells.sum(axis=1, keepdims=True)
    shares = np.divide(cells, totals, out=np.zeros((2, 2)), where=totals > 0)
    axes.pcolormesh(shares, cmap=SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    for row, column in np.ndindex(2, 2):
        share = float(shares[row, column])
        of_class = f"{percent(share)} of {task.classes[row]}" if totals[row] else "none"
        axes.text(
            column + 0.5, row + 0.5, f"{cells[row, column]:,}\n{of_class}",
            ha="center", va="center", fontsize=11, linespacing=1.5,
            color="#ffffff" if share > 0.5 else "#111827",
        )  # fmt: skip
    title = "Confusion matrix: images by true and predicted class"
    dress(axes, title, "predicted class", "true class")
    axes.grid(visible=False)
    axes.set_xticks([0.5, 1.5], task.classes)
    axes.set_yticks([0.5, 1.5], task.classes)
    axes.invert_yaxis()
    return figure


def roc_plot(scores: LabelledScores, threshold: float, task: Task) -> Figure:
    """Draw the ROC curve with its area and the operating point of the threshold.

    Raises:
        FaceproofError: only one class is there.
    """
    figure, (axes,) = new_figure(4.2)
    once = WeightedScores(scores)
    area = METRICS["roc_auc"](once)
    axes.plot(*thin(*roc_curve(once)), color=BLUE, linewidth=2, label=f"AUC {rate(area)}")
    fpr, tpr = (once.confusion[:, 1] / once.confusion.sum(axis=1)).tolist()
    label = f"threshold {threshold:.4g}: {percent(tpr)} found, {percent(fpr)} false alarms"
    mark_point(axes, fpr, tpr, label)
    axes.plot([0, 1], [0, 1], label="chance", **DOTTED)
    unit_axes(axes)
    across = f"false-positive rate (share of {task.negative} called {task.positive})"
    up = f"true-positive rate (share of {task.positive} found)"
    dress(axes, "ROC curve: found against false alarms", across, up)
    return figure


def precision_recall_plot(scores: LabelledScores, threshold: float, task: Task) -> Figure:
    """Draw precision against recall, with the base rate that guessing attains.

    Raises:
        FaceproofError: only one class is there.
    """
    figure, (axes,) = new_figure(4.2)
    once = WeightedScores(scores)
    precision, recall = thin(*precision_recall_curve(once))
    area = METRICS["average_precision"](once)
    axes.plot(recall, precision, color=BLUE, linewidth=2, label=f"average precision {rate(area)}")
    attained, found = METRICS["precision"](once), METRICS["recall"](once)
    if attained is not None and found is not None:
        label = f"threshold {threshold:.4g}: {percent(attained)} correct, {percent(found)} found"
        mark_point(axes, found, attained, label)
    base = float(np.mean(scores.positive))
    axes.axhline(base, label=f"base rate {rate(base)}", **DOTTED)
    unit_axes(axes)
    across = f"recall (share of {task.positive} found)"
    up = f"precision (share of {task.positive} among those called so)"
    dress(axes, "Precision-recall curve: correct against found", across, up)
    return figure


def score_histogram(
    labels: Labels | None, probabilities: Scores, threshold: float, task: Task
) -> Figure:
    """Count the images of each class by probability; without labels, all images together.

    The counts are on a logarithmic scale: what matters most, the few that are wrong and sure of
    it, would not be seen on a linear one.
    """
    figure, (axes,) = new_figure(3.6)
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
    up = f"images per bin of {1 / NUM_BINS:.3g} (log scale)"
    dress(axes, title, f"probability of {task.positive}", up)
    # The drawing leaves a legend no room inside.
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axes.legend(ncols=3, borderpad=0, **above, **LEGEND)
    axes.set_title(title, color=INK, fontsize=11, loc="left", pad=26)
    return figure


def _draw_counts(axes: Axes, values: Scores, name: str, style: dict[str, Any]) -> None:
    counts, edges = np.histogram(values, bins=NUM_BINS, range=(0, 1))
    axes.stairs(counts, edges, fill=True, label=f"{name} ({len(values):,})", **style)


def class_bars(cells: Counts, task: Task) -> Figure:
    """Draw the share of each class that was called by its name."""
    figure, (axes,) = new_figure(1.9)
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
    upper.plot([0, 1], [0, 1], label="perfect calibration", **DOTTED)
    if before:
        said, was = _said_and_was(before)
        upper.plot(said, was, color=GREY, linestyle="--", linewidth=1.2, label="uncalibrated")
    said, was = _said_and_was(after)
    reach = np.abs(np.array([row.interval for row in after]).T - was)
    upper.errorbar(
        said, was, yerr=reach, color=BLUE, marker="o", markersize=5, linewidth=1.6, elinewidth=1,
        label="as reported, with 95% intervals",
    )  # fmt: skip
    counts, edges = np.histogram(probabilities, bins=NUM_BINS, range=(0, 1))
    lower.stairs(counts, edges, fill=True, color=GREY, alpha=0.6)
    lower.set_yscale("symlog", linthresh=1)
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.set_yticks(_powers(int(counts.max())))
    lower.minorticks_off()
    unit_axes(upper)
    title = f"Reliability: probability of {task.positive} against observed share"
    dress(upper, title, "", f"share of {task.positive}")
    dress(lower, "", f"probability of {task.positive}", "images")
    return figure


def _said_and_was(rows: Sequence[ReliabilityBin]) -> tuple[list[float], list[float]]:
    return [row.mean_probability for row in rows], [row.share_positive for row in rows]


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

    The share of images in the band `unsure` of an operating point is shaded.
    """
    figure, (axes,) = new_figure(3.6)
    coverage, risk, _ = thin(*risk_coverage(labels, probabilities, threshold))
    axes.plot(coverage, risk, color=BLUE, linewidth=2, label="share wrong of those answered")
    overall = float(risk[-1])
    label = f"all answered: {percent(overall)} wrong"
    axes.axhline(overall, label=label, **DOTTED)
    if unsure is not None and unsure[0] < unsure[1]:
        out = unsure_flags(probabilities, unsure)
        answered = float(1 - out.mean())
        label = f"unsure: {percent(1 - answered)} of the images"
        axes.axvspan(answered, 1, color=GREY, alpha=0.2, linewidth=0, label=label)
        if not out.all():
            wrong = is_positive(probabilities, threshold) != (labels == 1)
            outside = float(wrong[~out].mean())
            mark_point(axes, answered, outside, f"without them: {percent(outside)} wrong")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    words = f"coverage (share answered {task.negative} or {task.positive})"
    dress(axes, "Risk against coverage", words, "share wrong")
    return figure


def robustness_plot(rows: Sequence[CorruptionRow]) -> Figure:
    """Draw accuracy and ROC-AUC against the level of each kind of corruption.

    `rows` are first the uncorrupted images, then kind by kind from mild to strong.
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
            values = np.array([getattr(row, name) for row in steps], float)  # None becomes NaN
            axes.plot(
                values, linestyle=style, color=colour, marker="o", markersize=4,
                label=METRICS[name].label,
            )  # fmt: skip
        axes.set_xticks(range(len(steps)), ["none", *(f"{row.level:g}" for row in steps[1:])])
        axes.set_ylim(lowest, 1.02)
        if number == 0:
            axes.legend(loc="lower left", **LEGEND)
        dress(axes, kind, LEVEL_UNITS.get(kind, "level"), "share")
    return figure
