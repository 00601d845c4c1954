"""What detectors reach on what they never saw: a page, a table in the terminal, and files.

<folder>/
  leave_one_source_out.html   the page, complete in itself
  leave_one_source_out.json   every number of it
  leave_one_source_out.csv    a row for each source that was left out
  leave_one_source_out.tex    the same for a paper
  leave_one_source_out.png    the plot

Of generators the files are called `leave_one_generator_out`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from faceproof import __version__
from faceproof.evaluation.json_values import printable
from faceproof.evaluation.leave_one_out import LeaveOneOut, Measured, Row, Study, Value
from faceproof.evaluation.metrics import METRICS, Metric, metrics_shown
from faceproof.io.atomic import write_text
from faceproof.reports import html
from faceproof.reports import paper_tables as paper
from faceproof.reports.numbers import CHANCE, DASH, rate, span
from faceproof.reports.plots import (
    BLUE,
    LEGEND,
    MUTED,
    VERMILLION,
    WIDTH,
    dress,
    literal,
    plot_html,
)
from faceproof.words import counted

FIRST = ("roc_auc", "accuracy")  # in the terminal and in the first table, beside those at home
ROW_HEIGHT = 0.34  # inches
LIMITS = (
    "The intervals are of chance in the images alone. That of the mean says how far other images "
    "of these {things}s would move it: it is no statement about {things}s that are not in the "
    "table, of which these few are no sample, nor about other seeds, which seed=0,1,2 trains."
)
OF_SEVERAL = (
    " The best of several configurations by this table is optimistic, for it was picked as the "
    "best: choose by validation, and read its row here."
)
OF_SOURCES = (
    "A run is judged on the test images of the source that it did not see (on all images of a "
    "source without any) at the threshold that its own validation has set. A source of one class "
    "has no ROC-AUC: images of other data sets would measure how data sets differ; its accuracy is "
    "that of the one class."
)
OF_GENERATORS = (
    "A run is judged on the test fakes of the generator that it did not see, beside the real test "
    "images of the sources that these fakes come from: in a data set of one source the same real "
    "images in each row. The real images of training stay as they are."
)


def write_leave_one_out(folder: Path, found: LeaveOneOut) -> Path:
    """Write the page and its files into a folder, and return the page."""
    name = f"leave_one_{found.over}_out"
    table = _table(found)
    write_text(folder / f"{name}.csv", table.to_csv())
    write_text(folder / f"{name}.tex", table.to_latex())
    figure = draw(found)
    page = render(found, plot_html(figure))
    return html.write_page(folder, name, page, found.to_json(), {name: figure})


def verdict(found: LeaveOneOut) -> list[str]:
    """Return the result in sentences, the first for those who read no further."""
    return [sentence for one in found.studies for sentence in _verdict(found, one)]


def limits(found: LeaveOneOut) -> str:
    """Say what the table does not tell."""
    return LIMITS.format(things=found.over) + (OF_SEVERAL if len(found.studies) > 1 else "")


def _verdict(found: LeaveOneOut, study: Study) -> Iterator[str]:
    name, things = "roc_auc", f"{found.over}s"
    mean, worst = study.mean[name], study.worst[name]
    start = f"{describe(study.settings)}: on" if study.settings else "On"
    if mean.value is None or worst is None:
        yield f"{start} {things} that it never saw no ROC-AUC could be measured."
        return
    home = study.home[name].value
    beside = "" if home is None else f", at home {rate(home)}"
    yield (
        f"{start} {things} that it never saw the detector reaches a mean ROC-AUC of "
        f"{_in_words(mean)}{beside}; at worst {rate(worst.value)}, on {worst.name}."
    )
    if (num := study.counted[name]) < len(study.rows):
        yield f"The mean is of {num} of {counted(len(study.rows), found.over)}; see the table."


def _in_words(value: Value) -> str:
    return f"{rate(value.value)} ({span(value.interval)})"


def describe(settings: Mapping[str, str]) -> str:
    """Return the settings of a configuration as they are typed."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def show(console: Console, found: LeaveOneOut, page: str) -> None:
    """Print a table for each configuration, the result in sentences, and where the page is."""
    for study in found.studies:
        settings = f", {describe(study.settings)}" if study.settings else ""
        console.print(Text(printable(f"{found.data}{settings}")), soft_wrap=True)
        table = Table(f"{found.over} left out", "images")
        for name in FIRST:
            for heading in (METRICS[name].short, "95% interval", "at home"):
                table.add_column(heading, justify="right")
        for name, images, cells in _lines(study):
            table.add_row(Text(name, overflow="fold"), images, *cells)
        console.print(table)
    for sentence in verdict(found):
        console.print(Text(printable(sentence)))
    console.print(Text(limits(found)), style="dim")
    console.print(Text(printable(f"page: {page}")), soft_wrap=True)


def _lines(study: Study) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each row as name, images and cells; then the mean and the worst."""
    for row in study.rows:
        name = printable(row.name) + (f" ({printable(row.reason)})" if row.reason else "")
        pairs = [(_value(row.held_out, one), _value(row.home, one)) for one in FIRST]
        yield name, images_of(row), [cell for pair in pairs for cell in _cells(*pair)]
    means = [(study.mean[one], study.home[one]) for one in FIRST]
    yield "mean", "", [cell for pair in means for cell in _cells(*pair)]
    cells = []
    for one in FIRST:
        worst = study.worst[one]
        found = [DASH] * 3 if worst is None else [rate(worst.value), printable(worst.name), DASH]
        cells += found
    yield "worst", "", cells


def images_of(row: Row) -> str:
    """Return how many images of each class were judged."""
    if row.held_out is None:
        return DASH
    return ", ".join(f"{number:,} {name}" for name, number in row.held_out.num_by_class.items())


def _value(measured: Measured | None, name: str) -> Value:
    return Value(None) if measured is None else measured.metrics[name]


def _cells(value: Value, home: Value) -> list[str]:
    shown = [DASH if one.value is None else rate(one.value) for one in (value, home)]
    return [shown[0], span(value.interval) if value.interval else DASH, shown[1]]


def _table(found: LeaveOneOut) -> paper.PaperTable:
    """Return every row with the metrics of a report's head, on what was left out and at home."""
    settings = list(found.studies[0].settings)
    shown = metrics_shown("headline")
    columns: dict[str, str | None] = {
        **{name: name for name in settings}, found.over: f"Left-out {found.over}",
        **{f"num_{name}": name for name in found.task.classes},
        **{one.name: one.short for one in shown},
        **{f"home_{one.name}": None for one in shown},
        "run": None,
    }  # fmt: skip
    rows: list[list[paper.Cell]] = []
    for study in found.studies:
        first: list[paper.Cell] = [study.settings[name] for name in settings]
        for row in study.rows:
            numbers = row.held_out.num_by_class if row.held_out else {}
            rows.append([
                *first, row.name, *(numbers.get(name) for name in found.task.classes),
                *(_measured(_value(row.held_out, one.name)) for one in shown),
                *(_measured(_value(row.home, one.name)) for one in shown), row.folder,
            ])  # fmt: skip
        rows.append([*first, "mean", None, None, *_all(shown, study.mean),
                     *_all(shown, study.home), None])  # fmt: skip
    return paper.PaperTable(columns, rows)


def _all(shown: Sequence[Metric], values: Mapping[str, Value]) -> list[paper.Measured]:
    return [_measured(values[one.name]) for one in shown]


def _measured(value: Value) -> paper.Measured:
    return paper.Measured(value.value, value.interval)


def draw(found: LeaveOneOut) -> Figure:
    """Draw ROC-AUC on what was left out, with its interval, beside that at home."""
    names, held_out, home = list[str](), list[Value](), list[Value]()
    for study in found.studies:
        before = f"{describe(study.settings)}  " if len(found.studies) > 1 else ""
        for row in study.rows:
            if row.held_out is not None or row.home is not None:
                names.append(f"{before}{row.name}")
                held_out.append(_value(row.held_out, "roc_auc"))
                home.append(_value(row.home, "roc_auc"))
    figure = Figure(figsize=(WIDTH * 1.5, 1.6 + ROW_HEIGHT * len(names)), layout="constrained")
    axes = figure.add_subplot()
    known = [(one.value, place) for place, one in enumerate(home) if one.value is not None]
    style: dict[str, Any] = {"color": BLUE, "marker": "s", "markersize": 6, "linestyle": ""}
    axes.plot([x for x, _ in known], [place for _, place in known], label="at home", **style)
    judged = [
        (n, one.value, one.interval) for n, one in enumerate(held_out) if one.value is not None
    ]
    places, values = [n for n, _, _ in judged], np.array([x for _, x, _ in judged], np.float64)
    ends = np.array([interval or (x, x) for _, x, interval in judged], np.float64)
    style = {"color": VERMILLION, "marker": "o", "markersize": 7, "linestyle": ""}
    axes.errorbar(
        values, places, xerr=np.abs(ends.reshape(-1, 2).T - values), elinewidth=1.4,
        label=f"on the {found.over} that was left out", **style,
    )  # fmt: skip
    axes.axvline(CHANCE, color=MUTED, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(names)), map(literal, names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(right=1.01)
    words = "ROC-AUC, with 95% interval; guessing is 0.5"
    dress(axes, f"ROC-AUC by {found.over}", words, "")
    if (inside := axes.get_legend()) is not None:
        inside.remove()
    figure.legend(loc="outside lower center", ncols=2, **LEGEND)
    return figure


def render(found: LeaveOneOut, plot: str) -> str:
    """Return the page, complete in itself; `plot` is the element that shows the plot."""
    found = printable(found)
    return html.render(
        "leave_one_out.html.j2",
        found=found,
        plot=plot,
        verdict=verdict(found),
        describe=describe,
        first=[METRICS[name] for name in FIRST],
        metrics=metrics_shown("headline"),
        judged=OF_SOURCES if found.over == "source" else OF_GENERATORS,
        limits=limits(found),
        version=__version__,
    )
