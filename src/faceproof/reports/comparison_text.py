"""A comparison as text: sentences for people, CSV, Markdown, and a table for the terminal."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faceproof.evaluation.comparison import ComparedRun, Comparison, Spread, Tested
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.metrics import metrics_shown
from faceproof.reports.numbers import (
    DASH,
    milliseconds,
    p_value,
    percent,
    rate,
    scaled,
    signed,
    span,
)


def verdict(comparison: Comparison) -> list[str]:
    """Return the result in plain sentences, the most important first."""
    first = comparison.runs[0]
    if first.metrics["roc_auc"] is None:
        return ["The images are of one class, so no run can be called better than another."]
    interval = first.intervals["roc_auc"]
    reach = f" (95% interval {span(interval)})" if interval else ""
    area = rate(first.metrics["roc_auc"])
    sentences = [f"{first.name} ranks the images best: ROC-AUC {area}{reach}."]
    pairs = [pair for pair in comparison.pairs if pair.first == first.name]
    leads = {pair.second: pair.roc_auc for pair in pairs if pair.roc_auc}
    if not leads:
        return [*sentences, "The images are too few to say whether any difference is real."]
    sentences.append(_leads("Its lead", leads))
    return sentences + _by_accuracy(comparison) + _cheapest(comparison.runs, leads)


def _leads(subject: str, leads: Mapping[str, Tested]) -> str:
    """Say over which runs a lead is real, and over which it may be chance."""
    real = [name for name, one in leads.items() if one.real]
    chance = [name for name in leads if name not in real]
    if not chance:
        over = "the other" if len(real) == 1 else f"each of the other {len(real)}"
        return f"{subject} over {over} is real: chance alone does not explain it."
    if not real:
        over = chance[0] if len(chance) == 1 else f"any of the other {len(chance)}"
        return f"{subject} over {over} may be chance."
    return f"{subject} over {_listed(real)} is real; that over {_listed(chance)} may be chance."


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _by_accuracy(comparison: Comparison) -> list[str]:
    """Name the run that calls most images correctly, where that is another."""
    first = comparison.runs[0]
    most = max(comparison.runs, key=lambda run: run.metrics["accuracy"] or 0.0)
    share = most.metrics["accuracy"]
    if share is None or share == first.metrics["accuracy"]:
        return []
    names = first.name, most.name
    tested = next(of.accuracy for of in comparison.pairs if (of.first, of.second) == names)
    word = "is real" if tested and tested.real else "may be chance"
    return [f"{most.name} calls more images correctly, {percent(share)}; that difference {word}."]


def _cheapest(runs: Sequence[ComparedRun], leads: Mapping[str, Tested]) -> list[str]:
    """Name the fastest run that is not shown to be worse than the best."""
    best = runs[0].cost.milliseconds
    equal = [run for run in runs[1:] if not leads[run.name].real]
    timed = [(run.cost.milliseconds, run) for run in equal if run.cost.milliseconds is not None]
    if not timed or best is None:
        return []
    least, fastest = min(timed, key=lambda pair: pair[0])
    if best / least < 1.2:
        return []
    return [f"{fastest.name} is not shown to be worse and is {best / least:.1f} times as fast."]


def cautions(comparison: Comparison) -> list[str]:
    """Say what limits the comparison."""
    runs = comparison.runs
    found = []
    criteria = sorted({run.criterion or "a given threshold" for run in runs})
    if len(criteria) > 1:
        found.append(
            f"The thresholds were chosen by different criteria ({', '.join(criteria)}): compare "
            "ROC-AUC, average precision, EER and TPR at 1% FPR, which do not depend on them."
        )
    if comparison.num_units < MIN_UNITS:
        found.append(
            f"There are {comparison.num_units} independent units, too few for intervals or "
            f"tests, which need at least {MIN_UNITS}."
        )
    often = max(run.test_scorings or 0 for run in runs)
    if often > 1:
        found.append(
            f"One run scored these test images up to {often} times. If any choice was made "
            "after seeing an earlier result, its metrics are optimistic."
        )
    if len(runs) > 2:
        found.append(
            "The best of several runs owes part of its lead to chance; on new images expect a "
            "little less."
        )
    return found


def models_csv(comparison: Comparison) -> str:
    """Return the models as CSV, every metric with the ends of its interval; undefined is empty."""
    shown = [metric.name for metric in metrics_shown("comparison")]
    names = ["name", "folder", "model", "seed", "threshold"]
    columns = [f"{name}{end}" for name in shown for end in ("", "_low", "_high")]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*names, *columns, "parameters", "multiply_adds", "milliseconds_per_image"])
    for run in comparison.runs:
        values = [getattr(run, name) for name in names]
        for name in shown:
            values += [run.metrics[name], *(run.intervals[name] or (None, None))]
        cost = run.cost
        writer.writerow([*values, cost.parameters, cost.multiply_adds, cost.milliseconds])
    return text.getvalue()


def markdown(comparison: Comparison) -> str:
    """Return the tables as Markdown."""
    headings = [metric.short for metric in metrics_shown("comparison")]
    classes = ", ".join(f"{number:,} {name}" for name, number in comparison.num_by_class.items())
    pairs = [
        [pair.first, pair.second, *_tests(pair.roc_auc), *_tests(pair.accuracy)]
        for pair in comparison.pairs
    ]
    parts = [
        f"# {_cell(comparison.title)}",
        f"Evaluation {_cell(comparison.evaluation)}: {classes}; the positive class is "
        f"{comparison.task.positive}. In brackets 95% intervals.",
        *map(_cell, verdict(comparison)),
        *(f"Caution: {_cell(sentence)}" for sentence in cautions(comparison)),
        _markdown_table(
            ["Model", *headings, "Parameters", "Multiply-adds", "ms per image"],
            [_markdown_row(run) for run in comparison.runs],
        ),
        "## Is the difference real?",
        "First less second; p after Holm's correction.",
        _markdown_table(["First", "Second", "ROC-AUC", "p", "Accuracy", "p"], pairs),
    ]
    if comparison.seeds:
        rows = [
            [family.name, str(len(family.runs)), *map(_spread, family.metrics.values())]
            for family in comparison.seeds
        ]
        parts += ["## Over seeds", "Mean ± standard deviation (smallest to largest)."]
        parts.append(_markdown_table(["Model", "Seeds", *headings], rows))
    return "\n\n".join(parts) + "\n"


def _markdown_row(run: ComparedRun) -> list[str]:
    values = [
        rate(run.metrics[name]) + (f" ({span(interval)})" if interval else "")
        for name, interval in run.intervals.items()
    ]
    return [run.name, *values, *_costs(run)]


def _costs(run: ComparedRun) -> list[str]:
    cost = run.cost
    return [scaled(cost.parameters), scaled(cost.multiply_adds), milliseconds(cost.milliseconds)]


def _tests(one: Tested | None) -> list[str]:
    if one is None:
        return ["undefined", DASH]
    low, high = one.interval
    return [f"{signed(one.difference)} ({low:+.3f} to {high:+.3f})", p_value(one.p_holm)]


def _spread(one: Spread | None) -> str:
    if one is None:
        return "undefined"
    return f"{one.mean:.4f} ± {one.standard_deviation:.4f} ({one.min:.4f} to {one.max:.4f})"


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in lines)


def _cell(text: str) -> str:
    """Keep what a name holds from ending a cell, a line, or plain text."""
    return " ".join(re.sub(r"[\\|<*_`\[]", r"\\\g<0>", text).split())


def show(console: Console, comparison: Comparison, page: Path) -> None:
    """Print the table of models, the result in sentences, and where the page is."""
    table = Table("", title=Text(comparison.title), box=None, padding=(0, 1))
    headings = [metric.short for metric in metrics_shown("comparison")]
    for heading in (*headings, "Params", "Mult-adds", "ms"):
        table.add_column(heading, justify="right")
    for run in comparison.runs:
        cells = [_screen_cell(run.metrics[name], ends) for name, ends in run.intervals.items()]
        table.add_row(Text(run.name), *cells, *_costs(run))
    console.print(table)
    for sentence in (*verdict(comparison), *cautions(comparison)):
        console.print(Text(sentence))
    console.print(Text(f"page: {page}"), soft_wrap=True)


def _screen_cell(value: float | None, interval: Sequence[float] | None) -> Text:
    if value is None:
        return Text("undefined", "dim")
    cell = Text(f"{value:.4f}")
    if interval:
        ends = DASH.join(f"{end:.2f}".removeprefix("0") for end in interval)
        cell.append(f"\n{ends}", "dim")
    return cell
