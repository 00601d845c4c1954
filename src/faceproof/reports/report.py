"""The report of an evaluation: one folder with a page, its plots, and the numbers behind them.

    <folder>/
      report.html           the page, complete in itself, to be read or sent
      report.json           every number of the page
      predictions.parquet   the predictions, from which every metric can be computed again
      plots/                the plots of the page, as PNG and as PDF
      tables/               metrics with intervals, and by class, generator ..., CSV and LaTeX

A section of the page is a `<section>` of `templates/report.html.j2`: it shows a field of
`evaluation_result.Evaluation`, and maybe a plot of `draw`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from PIL import Image

from faceproof.data.image_io import Pixels
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation import metrics, reliability
from faceproof.evaluation.evaluation_result import Evaluation, EvaluationContext, before_and_after
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.json_values import printable
from faceproof.evaluation.metric_formulas import has_both_classes
from faceproof.evaluation.mistakes import common_folder, shown_paths
from faceproof.evaluation.predictions import label_numbers, labelled_rows, probabilities_of
from faceproof.evaluation.robustness import most_changed, worst
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.evaluation.video_point import in_words
from faceproof.io.atomic import atomic_folder, restore_folder, write_json
from faceproof.io.folders import refuse_foreign_files, refuse_unmovable
from faceproof.io.left_behind import holds_nothing
from faceproof.io.plain_files import read_object
from faceproof.io.stamps import digest_of
from faceproof.reports import html, score_plots, training_plots
from faceproof.reports.numbers import rate, typed
from faceproof.reports.paper_tables import report_tables, write_tables
from faceproof.reports.plots import plot_html, save_pdf, save_png
from faceproof.reports.robustness_text import neutral_changes, neutral_verdict
from faceproof.reports.verdict_text import scorings, verdict
from faceproof.reports.verdict_warnings import verdict_warnings

# What a report consists of; every table that `ReportExtras.tables` may bring is among it.
FILES = (
    *("report.html", "report.json", "plots/*.png", "plots/*.pdf", "tables/*.csv", "tables/*.tex"),
    *("predictions.parquet", "neutral.parquet", "robustness.parquet", "left_out.parquet"),
)
MARKS = {"task", "split", "num_predictions", "metrics"}  # keys by which a report is known

CRITERION_WORDS = {
    "youden": "largest true-positive minus false-positive rate (Youden)",
    "f1": "largest F1",
    "fpr": "a given false-positive rate",
    "fixed": "nothing: it was given",
}


@dataclass(frozen=True)
class ReportExtras:
    """What a report shows beside the evaluation.

    Attributes:
        history: rows of the run's `metrics.csv`.
        tables: other predictions that metrics rest on, each written beside `predictions.parquet`.
        images: small copies of the mistakes that are shown, (h, w, 3) uint8 by path; of what is
            not among them only words are shown.
    """

    history: Sequence[Mapping[str, Any]] = ()
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    images: Mapping[str, Pixels] = field(default_factory=dict)


def write_report(
    folder: Path, predictions: pa.Table, evaluation: Evaluation, extras: ReportExtras | None = None
) -> None:
    """Write the report of an evaluation and the predictions it was computed from.

    The folder is made beside its place and then put there, replacing an earlier report whole.

    Raises:
        FaceproofError: the folder holds something else than a report.
    """
    folder = folder.resolve()
    restore_folder(folder)
    refuse_unmovable(folder)
    _refuse_other_folder(folder)
    extras = extras or ReportExtras()
    with atomic_folder(folder) as partial:
        (partial / "plots").mkdir()
        plots = draw(predictions, evaluation.context, extras)
        for name, table in {"predictions": predictions, **extras.tables}.items():
            write_table(table, partial / f"{name}.parquet")
        of = {"predictions": digest_of(partial / "predictions.parquet")}
        write_json(partial / "report.json", {**evaluation.to_json(), **of})
        for name, figure in plots.items():
            save_png(figure, partial / "plots" / f"{name}.png")
            save_pdf(figure, partial / "plots" / f"{name}.pdf")
        write_tables(partial / "tables", report_tables(printable(evaluation)))
        inline = {name: plot_html(figure) for name, figure in plots.items()}
        page = render(evaluation, inline, thumbnails(extras.images))
        (partial / "report.html").write_text(page, encoding="utf-8")


def _refuse_other_folder(folder: Path) -> None:
    """Refuse to replace what is not a report; a folder given by mistake would be lost."""
    if folder.is_dir() and (holds_nothing(folder) or _is_report(folder)):
        refuse_foreign_files(folder, FILES)
    elif folder.exists():
        raise FaceproofError(
            f"{folder} holds something else than a report and would be replaced whole; give the "
            "report a folder of its own"
        )


def _is_report(folder: Path) -> bool:
    """Say whether the numbers in a folder are a report's; many programs write a report.json."""
    try:
        return set(read_object(folder / "report.json", "")) >= MARKS
    except FaceproofError:
        return False


def draw(
    predictions: pa.Table, context: EvaluationContext, extras: ReportExtras
) -> dict[str, Figure]:
    """Draw what can be drawn of these predictions, by the name of the file each plot gets."""
    task, threshold = context.task, context.threshold
    known = labelled_rows(predictions)
    if known.num_rows:
        plots = _draw_labelled(known, context)
    else:
        probabilities = probabilities_of(predictions)
        plots = {"scores": score_plots.score_histogram(None, probabilities, threshold, task)}
    if context.robustness:
        plots["robustness"] = score_plots.robustness_plot(context.robustness)
    if extras.history:
        plots["training"] = training_plots.training_curves(extras.history, context.best_epoch)
    return plots


def _draw_labelled(known: pa.Table, context: EvaluationContext) -> dict[str, Figure]:
    task, threshold = context.task, context.threshold
    labels, probabilities = label_numbers(known, task), probabilities_of(known)
    scores = LabelledScores.from_table(known, task, threshold)
    cells = WeightedScores(scores).confusion
    plots = {
        "confusion": score_plots.confusion_heatmap(cells, task),
        "classes": score_plots.class_bars(cells, task),
        "scores": score_plots.score_histogram(labels, probabilities, threshold, task),
    }
    if has_both_classes(scores):
        plots["roc"] = score_plots.roc_plot(scores, threshold, task)
        plots["precision_recall"] = score_plots.precision_recall_plot(scores, threshold, task)
        plots["reliability"] = _draw_reliability(known, context)
    unsure = context.operating_point.unsure if context.operating_point else None
    risk = score_plots.risk_coverage_plot(labels, probabilities, threshold, task, unsure)
    return plots | {"risk_coverage": risk}


def _draw_reliability(known: pa.Table, context: EvaluationContext) -> Figure:
    labels, units = label_numbers(known, context.task), unit_codes(known)
    both = before_and_after(known)
    before, after = (reliability.reliability_table(labels, both[name], units) for name in both)
    # One line, where calibration left the probabilities as they were but for float32.
    if np.allclose(both["before"], both["after"], atol=1e-6):
        before = []
    return score_plots.reliability_diagram(before, after, both["after"], context.task)


def thumbnails(images: Mapping[str, Pixels]) -> dict[str, str]:
    """Return images as data URLs, by their paths as the report writes them."""
    urls = {path: html.image_url(Image.fromarray(pixels)) for path, pixels in images.items()}
    return {printable(path): url for path, url in urls.items()}


def render(
    evaluation: Evaluation, plots: Mapping[str, str], images: Mapping[str, str] | None = None
) -> str:
    """Return the page of a report; `plots` are elements by name, `images` data URLs by path."""
    shown = printable(evaluation)
    neutral = shown.context.neutral
    return html.render(
        "report.html.j2",
        report=shown,
        context=shown.context,
        plots=plots,
        images=images or {},
        mistakes_folder=common_folder(shown_paths(shown.mistakes.values())),
        verdict=verdict(shown),
        warnings=verdict_warnings(shown),
        metrics=list(metrics.METRICS.values()),
        headline=metrics.metrics_shown("headline"),
        meanings=meanings(shown),
        scorings=scorings(shown.context),
        criteria=CRITERION_WORDS,
        record=[(name, typed(value)) for name, value in shown.context.record.items()],
        neutral_verdict=neutral and neutral_verdict(neutral),
        neutral_changes=neutral and neutral_changes(neutral, shown.context.task),
        video_rule=_video_rule(shown),
        worst_corruption=worst(shown.context.robustness),
        most_changed=most_changed(shown.context.robustness),
        min_units=MIN_UNITS,
        labels={name: metric.label for name, metric in metrics.METRICS.items()},
    )


def _video_rule(evaluation: Evaluation) -> str | None:
    video = evaluation.context.video_point
    return None if video is None else in_words(video.rule, evaluation.context.task)


def meanings(evaluation: Evaluation) -> dict[str, str]:
    """Return what each metric means, in the words of the task."""
    task, total = evaluation.context.task, sum(map(sum, evaluation.confusion))
    base = rate(sum(evaluation.confusion[1]) / total if total else None)
    words = {"negative": task.negative, "positive": task.positive, "base_rate": base}
    return {name: metric.meaning.format(**words) for name, metric in metrics.METRICS.items()}
