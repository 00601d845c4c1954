"""Plots of how far the probabilities can be trusted: reliability, risk and robustness."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.predictions import Labels, Scores, is_positive
from faceproof.evaluation.reliability import ReliabilityBin, risk_coverage, unsure_flags
from faceproof.evaluation.robustness import CorruptionRow
from faceproof.evaluation.statistics import Interval
from faceproof.reports.numbers import percent
from faceproof.reports.plots import (
    BLUE,
    GREY,
    INK,
    MUTED,
    NUM_BINS,
    VERMILLION,
    WIDTH,
    dress,
    mark_point,
    new_figure,
    thin,
    unit_axes,
)
from faceproof.task import Task

LEVEL_UNITS = {
    "jpeg": "JPEG quality",
    "resize": "scale",
    "blur": "standard deviation (pixels)",
    "noise": "standard deviation (of 255)",
    "brightness": "factor",
    "screenshot": "times",
}


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
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfect calibration")
    if before:
        said, was = _said_and_was(before)
        upper.plot(said, was, color=GREY, linestyle="--", linewidth=1.2, label="uncalibrated")
    said, was = _said_and_was(after)
    ends = np.array([row.interval for row in after])
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

    Args:
        labels: classes, (N,).
        probabilities: of the positive class, (N,).
        threshold: see `predictions.is_positive`.
        task: names the classes.
        unsure: the band of an operating point; the share of images in it is shaded.
    """
    figure, (axes,) = new_figure(3.6)
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
            mark_point(axes, answered, outside, f"without them: {percent(outside)} wrong")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    words = f"coverage (share answered {task.negative} or {task.positive})"
    dress(axes, "Risk against coverage", words, "share wrong")
    return figure


def robustness_plot(rows: Sequence[CorruptionRow]) -> Figure:
    """Draw accuracy and ROC-AUC against the level of each kind of corruption.

    Args:
        rows: first the uncorrupted images, then kind by kind from mild to strong.
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
                label=METRICS[name].label,
            )
        axes.set_xticks(range(len(steps)), ["none", *(f"{row.level:g}" for row in steps[1:])])
        axes.set_ylim(lowest, 1.02)
        if number == 0:
            axes.legend(fontsize=9, frameon=False, labelcolor=INK, loc="lower left")
        dress(axes, kind, LEVEL_UNITS.get(kind, "level"), "share")
    return figure
