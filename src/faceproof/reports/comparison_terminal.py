"""A comparison in the terminal: a table that fits its width, and the result in sentences."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faceproof.evaluation.comparison import ComparedRun, Comparison, Configuration, Spread
from faceproof.evaluation.metrics import METRICS, metrics_shown
from faceproof.reports.comparison_text import cautions, costs_in_words, verdict
from faceproof.reports.numbers import DASH, milliseconds, rate, span

WIDE = 140  # characters, from which on a table has every metric
NARROW = ("roc_auc", "accuracy", "f1", "eer")  # the metrics of a narrower one
GAP = 2  # characters between two columns
MIN_NAME = 12
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

_Compared = ComparedRun | Configuration


def show(console: Console, comparison: Comparison, page: Path) -> None:
    """Print the table of models, the result in sentences, and where the page is."""
    over_seeds = comparison.over_seeds
    title = f"{comparison.title}, over seeds" if over_seeds else comparison.title
    console.print(Text(title), soft_wrap=True)
    console.print((_seed_table if over_seeds else _run_table)(comparison, console.width))
    for sentence in (*verdict(comparison), *cautions(comparison)):
        console.print(Text(sentence))
    console.print(Text(f"page: {page}"), soft_wrap=True)


def _run_table(comparison: Comparison, width: int) -> Table:
    every = [metric.name for metric in metrics_shown("comparison")]
    shown = every if width >= WIDE else [name for name in NARROW if name in every]
    headings = [METRICS[name].short for name in shown]
    rows = [
        [*(_cell(run.metrics[name], run.intervals[name]) for name in shown), *costs_in_words(run)]
        for run in comparison.runs
    ]
    return _table(comparison.runs, [*headings, "Params", "Mult-adds", "ms"], rows, width)


def _seed_table(comparison: Comparison, width: int) -> Table:
    """Tabulate configurations by what is tested; the page has the other metrics and the runs."""
    headings = ["Seeds", "ROC-AUC", "95% interval", "Accuracy", "95% interval", "ms"]
    rows = []
    for one in comparison.configurations:
        cells = [str(len(one.runs))]
        for name in ("roc_auc", "accuracy"):
            spread, interval = one.metrics[name], one.intervals[name]
            cells += [_mean(spread), span(interval) if interval else DASH]
        rows.append([*cells, milliseconds(one.cost.milliseconds)])
    return _table(comparison.configurations, headings, rows, width)


def _table(
    compared: Sequence[_Compared],
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
) -> Table:
    """Return a table whose first column, the names, takes the width that the others leave."""
    table = Table("", box=None, padding=(0, GAP // 2))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    columns = zip(headings, *rows, strict=True)
    taken = sum(max(len(line) for cell in one for line in cell.split("\n")) for one in columns)
    left = width - taken - GAP * (1 + len(headings))
    names = distinct_names([one.name for one in compared], max(left, MIN_NAME))
    for one, name, cells in zip(compared, names, rows, strict=True):
        mark = "\nrandom weights" if one.random_weights else ""
        table.add_row(Text(f"{name}{mark}", overflow="fold"), *map(_dim_second_line, cells))
    return table


def distinct_names(names: Sequence[str], width: int) -> list[str]:
    """Return names of at most so many characters that can still be told from each other.

    What all begin with is dropped first, then each is cut in its middle. Names that would be alike
    then stay as they are.

    >>> distinct_names(["sweep resnet18 lr=0.001", "sweep resnet18 lr=0.01"], 16)
    ['…lr=0.001', '…lr=0.01']
    >>> distinct_names(["a", "b"], 16)
    ['a', 'b']
    """
    if max(map(len, names)) <= width:
        return [*names]
    letters = zip(*names, strict=False)
    alike = [one[0] for one in itertools.takewhile(lambda one: len(set(one)) == 1, letters)]
    shared = "".join(alike) if len(names) > 1 else ""
    begin = max((found.end() for found in re.finditer(r"[\s_+/,]", shared)), default=0)
    shorter = [ELLIPSIS + name[begin:] if begin else name for name in names]
    cut = [_cut(name, width) for name in shorter]
    return cut if len(set(cut)) == len(set(names)) else shorter


def _cut(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}{ELLIPSIS}{name[len(name) - (width - 1 - head) :]}"


def _mean(spread: Spread | None) -> str:
    if spread is None:
        return "undefined"
    deviation = spread.standard_deviation
    return rate(spread.mean) + ("" if deviation is None else f" ± {deviation:.3f}")


def _cell(value: float | None, interval: Sequence[float] | None) -> str:
    """Return a value, and below it the ends of its interval without their zeros."""
    if value is None or not interval:
        return rate(value)
    low, high = span(interval).split(" to ")
    return f"{rate(value)}\n{low.removeprefix('0')}{DASH}{high.removeprefix('0')}"


def _dim_second_line(cell: str) -> Text:
    first, _, second = cell.partition("\n")
    return Text(first).append(f"\n{second}" if second else "", "dim")
