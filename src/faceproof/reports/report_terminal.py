"""A report in the terminal: the metrics with their intervals, and the result in sentences."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faceproof.evaluation.evaluation_result import Evaluation
from faceproof.evaluation.metrics import metrics_shown
from faceproof.evaluation.statistics import Interval
from faceproof.io.folders import from_here
from faceproof.io.plain_files import printable
from faceproof.reports.numbers import DASH, rate, span
from faceproof.reports.verdict_text import verdict
from faceproof.reports.verdict_warnings import verdict_warnings


def show(console: Console, folder: Path, evaluation: Evaluation) -> None:
    """Print the metrics with their intervals, the result in sentences, and where the report is."""
    context, intervals = evaluation.context, evaluation.intervals.metrics
    title = f"{context.model} on {context.data}, {context.split}: {evaluation.num_predictions:,}"
    console.print(Text(printable(f"{title} images")), soft_wrap=True)
    level = evaluation.group_level
    video = None if level is None else level.video
    by_video = () if video is None else ("by video", "95% interval")
    table = Table("metric", "value", "95% interval", *by_video)
    for metric in metrics_shown("comparison"):
        cells = [*_cells(evaluation.metrics[metric.name], intervals[metric.name])]
        if video is not None:
            cells += _cells(video.metrics[metric.name], video.intervals[metric.name])
        table.add_row(metric.name, *cells)
    if (pairs := evaluation.pairs) is not None:
        table.add_row("above_original", *_cells(pairs.share_above, pairs.interval))
    console.print(table)
    for line in (*verdict(evaluation), *map(str, verdict_warnings(evaluation))):
        console.print(Text(printable(line)), soft_wrap=True)
    report = printable(from_here(folder / "report.html"))
    console.print(f"report: {report}", soft_wrap=True, highlight=False, markup=False)


def _cells(value: float | None, interval: Interval | None) -> tuple[str, str]:
    return rate(value), span(interval) if interval else DASH
