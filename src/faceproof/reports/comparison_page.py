"""A comparison for people: a page, and the same numbers for a paper or a spreadsheet.

<folder>/
  comparison.html   the page, complete in itself
  comparison.json   every number of the page
  comparison.csv    the models, a row each
  comparison.md     the tables, to be pasted
  plots/*.png       the plots of the page
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from faceproof import __version__
from faceproof.errors import FaceproofError
from faceproof.evaluation.comparison import ComparedRun, Comparison
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.metric_formulas import has_both_classes, roc_curve
from faceproof.evaluation.metrics import metrics_shown
from faceproof.evaluation.scored_runs import ScoredRun
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.io.atomic import write_text
from faceproof.io.run_folder import read_epochs
from faceproof.reports import comparison_plots, html
from faceproof.reports.comparison_plots import QualityPoint
from faceproof.reports.comparison_text import cautions, markdown, models_csv, verdict
from faceproof.reports.numbers import FILTERS, rate
from faceproof.reports.plots import Look, plot_html, save_png
from faceproof.reports.training_plots import compared_training

SHOWN_PAIRS = 10  # on a page; the others open at a click
MAX_PAIRS = 300  # those of 25 runs


def write_comparison(folder: Path, comparison: Comparison, scored: Sequence[ScoredRun]) -> Path:
    """Write a comparison into a folder and return its page.

    Args:
        folder: made if it is not there.
        comparison: what `comparison.compare_runs` returned.
        scored: the runs it was made of.

    Raises:
        FaceproofError: the folder's name is that of a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FaceproofError(f"{folder} is a file; give the comparison a folder by --out")
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    plots = draw(comparison, scored)
    for name, figure in plots.items():
        save_png(figure, folder / "plots" / f"{name}.png")
    page = render(comparison, {name: plot_html(figure) for name, figure in plots.items()})
    numbers = json.dumps(comparison.to_json(), indent=2, allow_nan=False, ensure_ascii=False)
    write_text(folder / "comparison.json", numbers + "\n")
    write_text(folder / "comparison.csv", models_csv(comparison))
    write_text(folder / "comparison.md", markdown(comparison))
    write_text(folder / "comparison.html", page)
    return folder / "comparison.html"


def draw(comparison: Comparison, scored: Sequence[ScoredRun]) -> dict[str, Figure]:
    """Draw what can be drawn, by the name of the file each plot gets."""
    by_folder = {str(one.folder.path): one for one in scored}
    rows = [(run, by_folder[run.folder]) for run in comparison.runs]
    looks = _looks(comparison.runs)
    plots: dict[str, Figure] = {}
    scores = {
        run.name: LabelledScores.from_table(one.predictions, comparison.task, run.threshold)
        for run, one in rows
    }
    if all(map(has_both_classes, scores.values())):
        curves = [
            (looks[name], *roc_curve(WeightedScores(of_run))) for name, of_run in scores.items()
        ]
        plots["roc"] = comparison_plots.compared_roc(curves, comparison.task)
        plots |= _cost_plots(comparison.runs, looks)
    histories = [(looks[run.name], read_epochs(one.folder.metrics)) for run, one in rows]
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
            QualityPoint(looks[run.name], cost / scale, area, run.intervals["roc_auc"])
            for run in runs
            if (cost := getattr(run.cost, key)) is not None
            and (area := run.metrics["roc_auc"]) is not None
        ]
        if points:
            title = f"Quality against {name}"
            found[name] = comparison_plots.cost_quality_plot(points, label, title)
    return found


def render(comparison: Comparison, plots: Mapping[str, str]) -> str:
    """Return the page, complete in itself.

    Args:
        comparison: what `comparison.compare_runs` returned.
        plots: the elements that show the plots, by name.
    """
    task, shown = comparison.task, metrics_shown("comparison")
    base = rate(comparison.num_by_class[task.positive] / comparison.num_images)
    words = {"negative": task.negative, "positive": task.positive, "base_rate": base}
    pairs = sorted(comparison.pairs, key=lambda pair: pair.smallest_p)
    return html.render(
        "comparison.html.j2",
        FILTERS,
        comparison=comparison,
        plots=plots,
        verdict=verdict(comparison),
        cautions=cautions(comparison),
        metrics=shown,
        meanings={metric.name: metric.meaning.format(**words) for metric in shown},
        best=_best(comparison.runs),
        colours={name: look.colour for name, look in _looks(comparison.runs).items()},
        pairs=pairs[:MAX_PAIRS],
        shown_pairs=SHOWN_PAIRS,
        num_pairs_left=max(0, len(pairs) - MAX_PAIRS),
        min_units=MIN_UNITS,
        version=__version__,
    )


def _best(runs: Sequence[ComparedRun]) -> dict[str, float]:
    """Return the best value of each metric."""
    found = {}
    for metric in metrics_shown("comparison"):
        values = [run.metrics[metric.name] for run in runs]
        if known := [value for value in values if value is not None]:
            found[metric.name] = min(known) if metric.better == "min" else max(known)
    return found
