"""Plots of one detector's answers: confusion, curves, scores and accuracy by class.

The two classes are told apart by hue and also by line or hatching, so that a grey print says the
same.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceproof.evaluation.metric_formulas import precision_recall_curve, roc_curve
from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.predictions import Labels, Scores
from faceproof.evaluation.scores import Counts, LabelledScores, WeightedScores
from faceproof.reports.numbers import percent
from faceproof.reports.plots import (
    BLUE,
    CLASS_COLOURS,
    GREY,
    INK,
    MUTED,
    NUM_BINS,
    SHADES,
    VERMILLION,
    dress,
    mark_point,
    new_figure,
    thin,
    unit_axes,
)
from faceproof.task import Task

FILLED: dict[str, Any] = {"alpha": 0.45}
HATCHED: dict[str, Any] = {
    "facecolor": "none",
    "edgecolor": VERMILLION,
    "hatch": "////",
    "linewidth": 1.2,
}
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 2, "alpha": 0.85}


def confusion_heatmap(cells: Counts, task: Task) -> Figure:
    """Draw the (2, 2) counts of `WeightedScores.confusion`, shaded by share of the true class."""
    figure, (axes,) = new_figure(3.6)
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


def roc_plot(scores: LabelledScores, threshold: float, task: Task) -> Figure:
    """Draw the ROC curve with its area and the operating point of the threshold.

    Raises:
        FaceproofError: only one class is there.
    """
    figure, (axes,) = new_figure(4.2)
    once = WeightedScores(scores)
    false_positives, true_positives = thin(*roc_curve(once))
    area = METRICS["roc_auc"](once)
    axes.plot(false_positives, true_positives, color=BLUE, linewidth=2, label=f"AUC {area:.4f}")
    fpr, tpr = (once.confusion[:, 1] / once.confusion.sum(axis=1)).tolist()
    label = f"threshold {threshold:.4g}: {percent(tpr)} found, {percent(fpr)} false alarms"
    mark_point(axes, fpr, tpr, label)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="chance")
    unit_axes(axes)
    dress(
        axes,
        "ROC curve: found against false alarms",
        f"false-positive rate (share of {task.negative} called {task.positive})",
        f"true-positive rate (share of {task.positive} found)",
    )
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
    axes.plot(recall, precision, color=BLUE, linewidth=2, label=f"average precision {area:.4f}")
    attained, found = METRICS["precision"](once), METRICS["recall"](once)
    if attained is not None and found is not None:
        label = f"threshold {threshold:.4g}: {percent(attained)} correct, {percent(found)} found"
        mark_point(axes, found, attained, label)
    base = float(np.mean(scores.positive))
    axes.axhline(base, color=MUTED, linewidth=1, linestyle=":", label=f"base rate {base:.4f}")
    unit_axes(axes)
    dress(
        axes,
        "Precision-recall curve: correct against found",
        f"recall (share of {task.positive} found)",
        f"precision (share of {task.positive} among those called so)",
    )
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
