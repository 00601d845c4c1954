"""Plots of several detectors: ROC curves over one another, and quality against cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from faceproof.evaluation.predictions import Scores
from faceproof.evaluation.statistics import Interval
from faceproof.reports.plots import (
    MUTED,
    Look,
    dress,
    legend_below,
    new_figure,
    thin,
    two_panels,
    unit_axes,
)
from faceproof.task import Task


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
    figure, (whole, few) = two_panels(len({look.name for look, _, _ in curves}))
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
    unit_axes(whole)
    few.set_xscale("log")
    few.set(xlim=(min(smallest, 0.005), 1), ylim=(-0.01, 1.01))
    few.axvline(0.01, color=MUTED, linewidth=1, linestyle=":")
    few.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    words = f"false-positive rate (share of {task.negative} called {task.positive})"
    dress(whole, "ROC curves", words, f"true-positive rate (share of {task.positive} found)")
    dress(few, "The same, false alarms on a log scale", words, "")
    legend_below(figure, [look for look, _, _ in curves])
    return figure


def cost_quality_plot(points: Sequence[QualityPoint], x_label: str, title: str) -> Figure:
    """Draw ROC-AUC with its interval against a cost, and a line along those nothing cheaper beats.

    Args:
        points: one a detector.
        x_label: what the cost is, and its unit.
        title: heads the drawing.
    """
    figure, (axes,) = new_figure(4.4)
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
    legend_below(figure, [point.look for point in points], points=True)
    return figure
