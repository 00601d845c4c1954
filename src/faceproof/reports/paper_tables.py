r"""Tables for papers and spreadsheets: CSV with every digit, and LaTeX with three.

A table is LaTeX's `tabular` with the rules of the package booktabs, to be taken in by `\input`.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from faceproof.evaluation.breakdown import BreakdownRow
from faceproof.evaluation.comparison import Comparison
from faceproof.evaluation.evaluation_result import Evaluation
from faceproof.evaluation.intervals import Intervals
from faceproof.evaluation.metrics import METRICS, Metrics, metrics_shown
from faceproof.evaluation.pairs import PairRanking
from faceproof.evaluation.statistics import Interval
from faceproof.evaluation.subgroups import Subgroups
from faceproof.io.atomic import write_text
from faceproof.reports.numbers import DASH, count, milliseconds, rate, scaled, span

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", DASH: "--", "±": r"$\pm$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}  # fmt: skip


class Measured(NamedTuple):
    """A metric with its 95 % interval; None is undefined."""

    value: float | None
    interval: Interval | None = None


Cell = str | int | float | None | Measured


@dataclass(frozen=True)
class PaperTable:
    """Rows of cells; `columns` are their headings by name, None for a column of the CSV alone."""

    columns: Mapping[str, str | None]
    rows: Sequence[Sequence[Cell]]

    def to_csv(self) -> str:
        """Return it as CSV: an interval is two columns of its own, and what is undefined empty."""
        measured = [
            any(isinstance(row[place], Measured) for row in self.rows)
            for place in range(len(self.columns))
        ]
        text = io.StringIO()
        writer = csv.writer(text)
        ends = [("", "_low", "_high") if one else ("",) for one in measured]
        pairs = zip(self.columns, ends, strict=True)
        writer.writerow([f"{name}{end}" for name, found in pairs for end in found])
        for row in self.rows:
            writer.writerow([one for cell in row for one in _plain(cell)])
        return text.getvalue()

    def to_latex(self) -> str:
        """Return it as LaTeX: numbers to the right, intervals in brackets."""
        headings = {n: text for n, text in enumerate(self.columns.values()) if text is not None}
        aligned = "".join(
            "l" if all(isinstance(row[place], str) for row in self.rows) else "r"
            for place in headings
        )
        lines = [
            "% In the preamble: \\usepackage{booktabs}. In brackets: 95 % intervals.",
            f"\\begin{{tabular}}{{{aligned}}}",
            "\\toprule",
            _line(list(headings.values())),
            "\\midrule",
            *(_line([_shown(row[place]) for place in headings]) for row in self.rows),
            "\\bottomrule",
            "\\end{tabular}",
        ]
        return "\n".join(lines) + "\n"


def _plain(cell: Cell) -> Sequence[Cell]:
    return (cell.value, *(cell.interval or (None, None))) if isinstance(cell, Measured) else (cell,)


def _shown(cell: Cell) -> str:
    if isinstance(cell, Measured):
        ends = f" ({span(cell.interval)})" if cell.interval else ""
        return f"{rate(cell.value)}{ends}"
    if isinstance(cell, float):
        return rate(cell)
    return DASH if cell is None else count(cell) if isinstance(cell, int) else cell


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(latex, cells))} \\\\"


def latex(text: str) -> str:
    """Return a text so that LaTeX prints it letter by letter."""
    one_line = " ".join(text.split())
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found[0]], one_line)


def report_tables(evaluation: Evaluation) -> dict[str, PaperTable]:
    """Return the tables of a report by the name of the files each gets; none without labels."""
    if not evaluation.metrics["num_images"]:
        return {}
    level = evaluation.group_level
    video = None if level is None else level.video
    classes: list[list[Cell]] = [
        [name, row.precision, row.recall, row.f1, row.support]
        for name, row in evaluation.class_report.items()
    ]
    measures = {"precision": "Precision", "recall": "Recall", "f1": "F1", "images": "Images"}
    return {
        "metrics": _metrics(evaluation.metrics, evaluation.intervals.metrics),
        **({} if video is None else {"by_video": _metrics(video.metrics, video.intervals)}),
        "classes": PaperTable({"class": "Class", **measures}, classes),
        "by_generator": _parts("generator", evaluation.by_generator),
        **({} if evaluation.pairs is None else {"pairs": _pairs(evaluation.pairs)}),
        "by_source": _parts("source", evaluation.by_source),
        **_subgroups(evaluation.subgroups),
    }


def _pairs(pairs: PairRanking) -> PaperTable:
    """Return how often fakes score above their originals: all, then by generator."""
    rows: list[list[Cell]] = [["all", pairs.num_pairs, Measured(pairs.share_above, pairs.interval)]]
    rows += [
        [row.generator or "no generator", row.num_pairs, Measured(row.share_above, row.interval)]
        for row in pairs.by_generator
    ]
    columns = {"generator": "Generator", "pairs": "Pairs", "share_above": "Above its original"}
    return PaperTable(columns, rows)


def _metrics(metrics: Metrics, intervals: Intervals) -> PaperTable:
    rows: list[list[Cell]] = [
        [name, metric.label, Measured(metrics[name], intervals[name])]
        for name, metric in METRICS.items()
    ]
    return PaperTable({"name": None, "metric": "Metric", "value": "Value"}, rows)


def _parts(what: str, rows: Sequence[BreakdownRow]) -> PaperTable:
    cells: list[list[Cell]] = [
        [row.value or f"no {what}", row.num_images, Measured(row.accuracy, row.accuracy_interval),
         Measured(row.roc_auc, row.roc_auc_interval)]
        for row in rows
    ]  # fmt: skip
    columns = {"images": "Images", "accuracy": "Accuracy", "roc_auc": "ROC-AUC"}
    return PaperTable({what: what.capitalize(), **columns}, cells)


def _subgroups(found: Sequence[Subgroups]) -> dict[str, PaperTable]:
    """Return the metrics of every subgroup, and the largest gaps between them."""
    rows: list[list[Cell]] = [
        [one.column, *cells] for one in found for cells in _parts(one.column, one.rows).rows
    ]
    measures = {"images": "Images", "accuracy": "Accuracy", "roc_auc": "ROC-AUC"}
    gaps: list[list[Cell]] = [
        [one.column, METRICS[name].label, gap.worst, gap.worst_value, gap.best, gap.best_value,
         Measured(gap.difference, gap.interval)]
        for one in found for name, gap in one.gaps.items() if gap is not None
    ]  # fmt: skip
    ends = {"worst": "Worst", "worst_value": "Value", "best": "Best", "best_value": "Value"}
    tables = {
        "subgroups": PaperTable({"column": "Column", "subgroup": "Subgroup", **measures}, rows),
        "gaps": PaperTable({"column": "Column", "metric": "Metric", **ends, "gap": "Gap"}, gaps),
    }
    return {name: table for name, table in tables.items() if table.rows}


def models_csv(comparison: Comparison) -> str:
    """Return the runs of a comparison as CSV, every metric with the ends of its interval."""
    names = ["name", "folder", "model", "seed", "initial_weights", "threshold"]
    costs = ["parameters", "multiply_adds", "milliseconds_per_image"]
    shown = [metric.name for metric in metrics_shown("comparison")]
    rows: list[list[Cell]] = [
        [*(getattr(run, name) for name in names),
         *(Measured(run.metrics[name], run.intervals[name]) for name in shown),
         run.cost.parameters, run.cost.multiply_adds, run.cost.milliseconds]
        for run in comparison.runs
    ]  # fmt: skip
    return PaperTable(dict.fromkeys((*names, *shown, *costs)), rows).to_csv()


def comparison_latex(comparison: Comparison) -> str:
    """Return what is compared as LaTeX: configurations, with their means over seeds, or runs."""
    shown = metrics_shown("comparison")
    columns = {"name": "Model", "seeds": "Seeds", **{one.name: one.short for one in shown}}
    costs = {"parameters": "Parameters", "milliseconds": "ms per image"}
    rows = list(_configurations(comparison))
    if not comparison.over_seeds:
        del columns["seeds"]
        rows = [[row[0], *row[2:]] for row in rows]
    return PaperTable(columns | costs, rows).to_latex()


def _configurations(comparison: Comparison) -> Iterator[list[Cell]]:
    intervals = {run.name: run.intervals for run in comparison.runs}
    for one in comparison.configurations:
        row: list[Cell] = [one.name, len(one.runs)]
        alone = intervals[one.runs[0]] if len(one.runs) == 1 else {}
        for name, spread in one.metrics.items():
            ends = one.intervals.get(name, alone.get(name))
            row.append(Measured(None if spread is None else spread.mean, ends))
        cost = one.cost
        yield [*row, scaled(cost.parameters), milliseconds(cost.milliseconds)]


def write_tables(folder: Path, tables: Mapping[str, PaperTable]) -> None:
    """Write each table as CSV and as LaTeX into a folder."""
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.to_csv())
        write_text(folder / f"{name}.tex", table.to_latex())
