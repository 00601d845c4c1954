"""A comparison as a page, and the same numbers for a paper or a spreadsheet.

<folder>/
  comparison.html   the page, complete in itself
  comparison.json   every number of the page
  comparison.csv    the models, a row each
  comparison.tex    what is compared, for a paper
  comparison.md     the tables, to be pasted
  plots/            the plots of the page, as PNG and as PDF
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from faceproof import __version__
from faceproof.errors import FaceproofError
from faceproof.evaluation.comparison import ComparedRun, Comparison
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.metric_formulas import has_both_classes, roc_curve
from faceproof.evaluation.metrics import metrics_shown
from faceproof.evaluation.predictions import Scores
from faceproof.evaluation.scored_runs import ScoredRun
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.statistics import Interval
from faceproof.io.atomic import write_text
from faceproof.io.run_folder import read_epochs
from faceproof.reports import html
from faceproof.reports.comparison_text import cautions, markdown, verdict
from faceproof.reports.numbers import rate
from faceproof.reports.paper_tables import comparison_latex, models_csv
from faceproof.reports.plots import (
    MUTED,
    Look,
    dress,
    legend_below,
    new_figure,
    plot_html,
    save_pdf,
    thin,
    two_panels,
    unit_axes,
)
from faceproof.reports.subgroup_text import compared_columns, gap_cell
from faceproof.reports.training_plots import compared_training
from faceproof.task import Task

SHOWN_PAIRS = 10  # on a page; the others open at a click
MAX_PAIRS = 300  # those of 25 runs

_Point = tuple[Look, float, float, Interval]  # a run's look, cost, ROC-AUC and its interval


def write_comparison(folder: Path, comparison: Comparison, scored: Sequence[ScoredRun]) -> Path:
    """Write a comparison of scored runs into a folder and return its page.

    Raises:
        FaceproofError: the folder's name is that of a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FaceproofError(f"{folder} is a file; give the comparison a folder by --out")
    plots = draw(comparison, scored)
    page = render(comparison, {name: plot_html(figure) for name, figure in plots.items()})
    write_text(folder / "comparison.csv", models_csv(comparison))
    write_text(folder / "comparison.tex", comparison_latex(comparison))
    write_text(folder / "comparison.md", markdown(comparison))
    for name, figure in plots.items():
        save_pdf(figure, folder / "plots" / f"{name}.pdf")
    files = {f"plots/{name}": figure for name, figure in plots.items()}
    return html.write_page(folder, "comparison", page, comparison.to_json(), files)


def draw(comparison: Comparison, scored: Sequence[ScoredRun]) -> dict[str, Figure]:
    """Draw what can be drawn, by the name of the file each plot gets."""
    by_folder = {str(one.path): one for one in scored}
    rows = [(run, by_folder[run.folder]) for run in comparison.runs]
    looks, plots = _looks(comparison.runs), dict[str, Figure]()
    task = comparison.task
    scores = {
        run.name: LabelledScores.from_table(one.predictions, task, run.threshold)
        for run, one in rows
    }
    if all(map(has_both_classes, scores.values())):
        curves = [(looks[name], *roc_curve(WeightedScores(of))) for name, of in scores.items()]
        plots["roc"] = _compared_roc(curves, task)
        plots |= _cost_plots(comparison.runs, looks)
    histories = [
        (looks[run.name], read_epochs(one.metrics)) for run, one in rows if one.metrics is not None
    ]
    if trained := [(look, history) for look, history in histories if history]:
        plots["training"] = compared_training(trained)
    return plots


def _looks(runs: Sequence[ComparedRun]) -> dict[str, Look]:
    """Give each run a look; runs that differ only in their seed share one."""
    families = list(dict.fromkeys(run.family for run in runs))
    sizes = {name: sum(run.family == name for run in runs) for name in families}
    names = {name: f"{name} ({size} runs)" if size > 1 else name for name, size in sizes.items()}
    return {run.name: Look(names[run.family], families.index(run.family)) for run in runs}


def _cost_plots(runs: Sequence[ComparedRun], looks: Mapping[str, Look]) -> dict[str, Figure]:
    """Draw quality against time, and against multiply-adds, as far as these are known."""
    found = {}
    for name, key, scale, label in (
        ("time", "milliseconds", 1, "milliseconds per image (log scale)"),
        ("work", "multiply_adds", 1e9, "10⁹ multiply-adds per image (log scale)"),
    ):
        points = [
            (looks[run.name], cost / scale, area, run.intervals["roc_auc"] or (area, area))
            for run in runs
            if (cost := getattr(run.cost, key)) is not None
            and (area := run.metrics["roc_auc"]) is not None
        ]
        if points:
            found[name] = _cost_quality(points, label, f"Quality against {name}")
    return found


def _compared_roc(curves: Sequence[tuple[Look, Scores, Scores]], task: Task) -> Figure:
    """Draw ROC curves (false- and true-positive rates), whole and where false alarms are few."""
    figure, (whole, few) = two_panels(len({look.name for look, _, _ in curves}))
    smallest = min(float(rates[rates > 0].min()) for _, rates, _ in curves)
    width = 1.8 if len(curves) < 6 else 1.2
    for look, false_positives, true_positives in curves:
        x, y = thin(false_positives, true_positives)
        whole.plot(x, y, linewidth=width, **look.line)
        # On a logarithmic axis the curve starts where the first negative is called positive.
        x = np.maximum(x, smallest / 2)
        few.plot(x, y, linewidth=width, drawstyle="steps-post", **look.line)
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


def _cost_quality(points: Sequence[_Point], x_label: str, title: str) -> Figure:
    """Draw ROC-AUC with its interval against a cost, and a line along those nothing cheaper beats.

    The points are runs; the line joins configurations, each the mean of its runs. `x_label` says
    what the cost is, and its unit.
    """
    figure, (axes,) = new_figure(4.4)
    axes.step(
        *zip(*_unbeaten(points), strict=True), where="post", color=MUTED, linewidth=1, linestyle=":"
    )
    for look, cost, quality, (low, high) in points:
        axes.errorbar(
            [cost], [quality], yerr=[[quality - low], [high - quality]], color=look.colour,
            marker=look.marker, markersize=7, linewidth=0, elinewidth=1.2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.12)
    costs = [cost for _, cost, _, _ in points]
    if max(costs) < 10 * min(costs):
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    dress(axes, title, x_label, "ROC-AUC, with 95% interval")
    legend_below(figure, [look for look, *_ in points], points=True)
    return figure


def _unbeaten(points: Sequence[_Point]) -> list[tuple[float, float]]:
    """Return mean cost and quality of the configurations that no cheaper one outranks."""
    families: dict[str, list[tuple[float, float]]] = {}
    for look, cost, quality, _ in points:
        families.setdefault(look.name, []).append((cost, quality))
    means = [tuple(map(fmean, zip(*of, strict=True))) for of in families.values()]
    best, corners = -math.inf, []
    for cost, quality in sorted(means, key=lambda one: (one[0], -one[1])):
        if quality > best:
            best = quality
            corners.append((cost, quality))
    return corners


def render(comparison: Comparison, plots: Mapping[str, str]) -> str:
    """Return the page, complete in itself; `plots` are the elements that show them, by name."""
    task, shown = comparison.task, metrics_shown("comparison")
    base = rate(comparison.num_by_class[task.positive] / comparison.num_images)
    words = {"negative": task.negative, "positive": task.positive, "base_rate": base}
    pairs = sorted(comparison.pairs, key=lambda pair: pair.smallest_p)
    colours = {name: look.colour for name, look in _looks(comparison.runs).items()}
    colours |= {one.name: colours[one.runs[0]] for one in comparison.configurations}
    return html.render(
        "comparison.html.j2",
        comparison=comparison,
        plots=plots,
        verdict=verdict(comparison),
        cautions=cautions(comparison),
        metrics=shown,
        meanings={metric.name: metric.meaning.format(**words) for metric in shown},
        best=_best(comparison.runs),
        colours=colours,
        pairs=pairs[:MAX_PAIRS],
        subgroups=compared_columns(comparison.subgroups),
        gap_cell=gap_cell,
        shown_pairs=SHOWN_PAIRS,
        num_pairs_left=max(0, len(pairs) - MAX_PAIRS),
        min_units=MIN_UNITS,
        version=__version__,
    )


def _best(runs: Sequence[ComparedRun]) -> dict[str, float]:
    found = {}
    for metric in metrics_shown("comparison"):
        values = [run.metrics[metric.name] for run in runs]
        if known := [value for value in values if value is not None]:
            found[metric.name] = min(known) if metric.better == "min" else max(known)
    return found
