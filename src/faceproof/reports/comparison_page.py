"""A comparison for people: a page, tables for a paper or a spreadsheet, and lines on a screen.

<folder>/
  comparison.html   the page, complete in itself
  comparison.json   every number of the page
  comparison.csv    the models, a row each
  comparison.md     the tables, to be pasted
  figures/*.png     the drawings of the page
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from faceproof import __version__
from faceproof.errors import FaceproofError
from faceproof.evaluation import metrics
from faceproof.evaluation.comparison import (
    FIGURES,
    LOWER_IS_BETTER,
    TESTED,
    Comparison,
    ScoredRun,
)
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.predictions import label_numbers, logits_of
from faceproof.io.run_folder import read_epochs, write_text
from faceproof.reports import html as pages
from faceproof.reports import plots
from faceproof.reports.plots import Look, QualityPoint
from faceproof.reports.report import MEANINGS, NAMES, count, fact, rate, span

HEADINGS = {
    "roc_auc": "ROC-AUC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "average_precision": "AP",
    "jaccard": "Jaccard",
    "eer": "EER",
    "tpr_at_1pct_fpr": "TPR at 1% FPR",
}
SHOWN_PAIRS = 10  # on a page; the others open at a click
MAX_PAIRS = 300  # those of 25 runs

DASH = "\N{EN DASH}"

Row = Mapping[str, Any]


def write_comparison(folder: Path, comparison: Comparison, scored: Sequence[ScoredRun]) -> Path:
    """Write a comparison into a folder and return its page.

    Args:
        folder: made if it is not there.
        comparison: what `compare.compare_runs` returned.
        scored: the runs it was made of.

    Raises:
        FaceproofError: the folder's name is that of a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FaceproofError(f"{folder} is a file; give the comparison a folder by --out")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    drawings = draw(comparison, scored)
    for name, figure in drawings.items():
        plots.save_png(figure, folder / "figures" / f"{name}.png")
    page = render(comparison, {name: plots.plot_svg(one) for name, one in drawings.items()})
    numbers = json.dumps(comparison, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(folder / "comparison.json", numbers)
    write_text(folder / "comparison.csv", models_csv(comparison))
    write_text(folder / "comparison.md", markdown(comparison))
    write_text(folder / "comparison.html", page)
    return folder / "comparison.html"


def draw(comparison: Comparison, scored: Sequence[ScoredRun]) -> dict[str, Figure]:
    """Draw what can be drawn, by the name of the file each figure gets."""
    by_folder = {str(one.folder.path): one for one in scored}
    rows = [(row, by_folder[row["folder"]]) for row in comparison["runs"]]
    looks = _looks(comparison["runs"])
    task = scored[0].task
    drawings: dict[str, Figure] = {}
    labels = label_numbers(scored[0].predictions, task)
    if metrics.has_both_classes(labels):
        curves = [
            (looks[row["name"]], *metrics.roc_curve(labels, logits_of(one.predictions)))
            for row, one in rows
        ]
        drawings["roc"] = plots.compared_roc(curves, task)
        drawings |= _cost_drawings(comparison["runs"], looks)
    histories = [(looks[row["name"]], read_epochs(one.folder.metrics)) for row, one in rows]
    if trained := [(look, history) for look, history in histories if history]:
        drawings["training"] = plots.compared_training(trained)
    return drawings


def _looks(rows: Sequence[Row]) -> dict[str, Look]:
    """Give each run a look; runs that differ only in their seed share one."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    sizes = {name: sum(row["family"] == name for row in rows) for name in families}
    return {
        row["name"]: Look(
            row["family"] + (f" ({sizes[row['family']]} runs)" if sizes[row["family"]] > 1 else ""),
            families.index(row["family"]),
        )
        for row in rows
    }


def _cost_drawings(rows: Sequence[Row], looks: Mapping[str, Look]) -> dict[str, Figure]:
    """Draw quality against time, and against multiply-adds, as far as these are known."""
    found = {}
    for name, key, scale, label, title in (
        ("time", "milliseconds", 1, "milliseconds per image (log scale)", "time"),
        ("work", "multiply_adds", 1e9, "10⁹ multiply-adds per image (log scale)", "work"),
    ):
        points = [
            QualityPoint(
                looks[row["name"]],
                row[key] / scale,
                row["figures"]["roc_auc"],
                row["intervals"]["roc_auc"],
            )
            for row in rows
            if row[key] is not None
        ]
        if points:
            found[name] = plots.cost_quality_plot(points, label, f"Quality against {title}")
    return found


def render(comparison: Comparison, drawings: Mapping[str, str]) -> str:
    """Return the page, complete in itself.

    Args:
        comparison: what `compare.compare_runs` returned.
        drawings: inline SVG by name.
    """
    task = comparison["task"]
    positive = comparison["num_by_class"][task["positive"]]
    words = task | {"base_rate": rate(positive / comparison["num_images"])}
    pairs = sorted(comparison["pairs"], key=_likeness)
    return pages.render(
        "comparison.html.j2",
        {
            "rate": rate,
            "dashed": dashed,
            "count": count,
            "fact": fact,
            "signed": signed,
            "p_value": p_value,
            "scaled": scaled,
            "milliseconds": milliseconds,
        },
        comparison=comparison,
        drawings=drawings,
        verdict=verdict(comparison),
        cautions=cautions(comparison),
        headings=HEADINGS,
        names=NAMES,
        meanings={name: MEANINGS[name].format(**words) for name in FIGURES},
        best=_best(comparison["runs"]),
        colours={name: look.colour for name, look in _looks(comparison["runs"]).items()},
        pairs=pairs[:MAX_PAIRS],
        shown_pairs=SHOWN_PAIRS,
        num_pairs_left=max(0, len(pairs) - MAX_PAIRS),
        min_units=MIN_UNITS,
        version=__version__,
    )


def _likeness(pair: Row) -> float:
    """Return the smallest p-value of a pair, for what differs most stands first."""
    return min((pair[name]["p_holm"] for name in TESTED if pair[name]), default=1.0)


def _best(rows: Sequence[Row]) -> dict[str, float]:
    """Return the best value of each figure."""
    found = {}
    for name in FIGURES:
        values = [row["figures"][name] for row in rows if row["figures"][name] is not None]
        if values:
            found[name] = min(values) if name in LOWER_IS_BETTER else max(values)
    return found


def verdict(comparison: Comparison) -> list[str]:
    """Return the result in plain sentences, the most important first."""
    rows = comparison["runs"]
    first = rows[0]
    if first["figures"]["roc_auc"] is None:
        return ["The images are of one class, so no run can be called better than another."]
    area = rate(first["figures"]["roc_auc"])
    interval = first["intervals"]["roc_auc"]
    reach = f" ({span(interval)})" if interval else ""
    sentences = [f"{first['name']} ranks the images best: ROC-AUC {area}{reach}."]
    leads = {
        pair["second"]: pair["roc_auc"]
        for pair in comparison["pairs"]
        if pair["first"] == first["name"] and pair["roc_auc"]
    }
    if not leads:
        return [*sentences, "The images are too few to say whether any difference is real."]
    sentences.append(_leads("Its lead", leads))
    return sentences + _by_accuracy(comparison) + _cheapest(rows, leads)


def _leads(subject: str, leads: Mapping[str, Row]) -> str:
    """Say over whom a lead is real, and over whom it may be chance."""
    real = [name for name, one in leads.items() if one["real"]]
    chance = [name for name in leads if name not in real]
    if not chance:
        over = "the other" if len(real) == 1 else f"each of the other {len(real)}"
        return f"{subject} over {over} is real, and not chance."
    if not real:
        over = chance[0] if len(chance) == 1 else f"any of the other {len(chance)}"
        return f"{subject} over {over} may be chance."
    return f"{subject} over {_listed(real)} is real; that over {_listed(chance)} may be chance."


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _by_accuracy(comparison: Comparison) -> list[str]:
    """Say who is called right most often, where that is another."""
    rows = comparison["runs"]
    most = max(rows, key=lambda row: row["figures"]["accuracy"])
    if most["figures"]["accuracy"] == rows[0]["figures"]["accuracy"]:
        return []
    pair = next(
        pair
        for pair in comparison["pairs"]
        if (pair["first"], pair["second"]) == (rows[0]["name"], most["name"])
    )["accuracy"]
    share = plots.percent(most["figures"]["accuracy"])
    word = "is real" if pair["real"] else "may be chance"
    return [f"{most['name']} calls more images correctly, {share}; that difference {word}."]


def _cheapest(rows: Sequence[Row], leads: Mapping[str, Row]) -> list[str]:
    """Name the fastest run that is not shown to be worse than the best."""
    equal = [row for row in rows[1:] if not leads[row["name"]]["real"]]
    timed = [row for row in equal if row["milliseconds"] is not None]
    if not timed or rows[0]["milliseconds"] is None:
        return []
    fastest = min(timed, key=lambda row: row["milliseconds"])
    times = rows[0]["milliseconds"] / fastest["milliseconds"]
    if times < 1.2:
        return []
    return [f"{fastest['name']} is not shown to be worse and is {times:.1f} times as fast."]


def cautions(comparison: Comparison) -> list[str]:
    """Say what keeps the comparison from meaning what it seems to."""
    rows = comparison["runs"]
    found = []
    criteria = sorted({str(row["criterion"] or "a given threshold") for row in rows})
    if len(criteria) > 1:
        found.append(
            f"The thresholds have different criteria ({', '.join(criteria)}): compare ROC-AUC, average "
            "precision, EER and TPR at 1% FPR, which do not depend on them."
        )
    if comparison["num_units"] < MIN_UNITS:
        found.append(
            f"There are {comparison['num_units']} independent units, too few for intervals or "
            f"tests; {MIN_UNITS} are the least."
        )
    often = [row["test_scorings"] for row in rows if (row["test_scorings"] or 0) > 1]
    if often:
        found.append(
            f"These test images were scored up to {max(often)} times by one run. Whatever was "
            "chosen after having seen their figures looks better than it is."
        )
    if len(rows) > 2:
        found.append(
            "The best of several runs owes part of its lead to chance; on new images expect a "
            "little less."
        )
    return found


def dashed(interval: Sequence[float]) -> str:
    """Write an interval as `report.span` does, in less room."""
    return span(interval).replace(" to ", DASH)


def signed(value: float) -> str:
    """Write a difference with its sign, and never one that is there as none."""
    if value == 0:
        return "0"
    return (
        f"{value:+.4f}" if abs(value) >= 0.00005 else ("under +0.0001", "above -0.0001")[value < 0]
    )


def p_value(value: float) -> str:
    """Write a p-value as papers do."""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.0995 else f"{value:.2f}"


def scaled(value: int | None) -> str:
    """Write a large count in millions or billions."""
    if value is None:
        return DASH
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return str(value)


def milliseconds(value: float | None) -> str:
    """Write a time per image."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def models_csv(comparison: Comparison) -> str:
    """Return the models as CSV, every figure with the ends of its interval; undefined is empty."""
    names = ["name", "folder", "model", "seed", "threshold"]
    figures = [f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high")]
    costs = ["parameters", "multiply_adds", "milliseconds_per_image"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names + figures + costs)
    for row in comparison["runs"]:
        values = [row[name] for name in names]
        for name in FIGURES:
            values += [row["figures"][name], *(row["intervals"][name] or (None, None))]
        writer.writerow([*values, row["parameters"], row["multiply_adds"], row["milliseconds"]])
    return text.getvalue()


def markdown(comparison: Comparison) -> str:
    """Return the tables as Markdown."""
    task = comparison["task"]
    classes = ", ".join(f"{number:,} {name}" for name, number in comparison["num_by_class"].items())
    parts = [
        f"# {_cell(comparison['title'])}",
        f"Evaluation {_cell(comparison['evaluation'])}: {classes}; positive is {task['positive']}. "
        "In brackets 95% intervals.",
        *map(_cell, verdict(comparison)),
        *(f"Caution: {_cell(sentence)}" for sentence in cautions(comparison)),
        _markdown_table(
            ["Model", *HEADINGS.values(), "Parameters", "Multiply-adds", "ms per image"],
            [_markdown_row(row) for row in comparison["runs"]],
        ),
        "## Is the difference real?",
        "First less second; p after Holm's correction.",
        _markdown_table(
            ["First", "Second", "ROC-AUC", "p", "Accuracy", "p"],
            [
                [pair["first"], pair["second"], *_tests(pair["roc_auc"]), *_tests(pair["accuracy"])]
                for pair in comparison["pairs"]
            ],
        ),
    ]
    if comparison["seeds"]:
        rows = [
            [family["name"], str(len(family["runs"])), *map(_spread, family["figures"].values())]
            for family in comparison["seeds"]
        ]
        headings = ["Model", "Seeds", *HEADINGS.values()]
        parts += ["## Over seeds", "Mean ± standard deviation (smallest to largest)."]
        parts.append(_markdown_table(headings, rows))
    return "\n\n".join(parts) + "\n"


def _markdown_row(row: Row) -> list[str]:
    figures = [
        rate(row["figures"][name])
        + (f" ({span(interval)})" if (interval := row["intervals"][name]) else "")
        for name in FIGURES
    ]
    costs = [scaled(row["parameters"]), scaled(row["multiply_adds"])]
    return [row["name"], *figures, *costs, milliseconds(row["milliseconds"])]


def _tests(one: Row | None) -> list[str]:
    if one is None:
        return ["undefined", DASH]
    low, high = one["interval"]
    return [f"{signed(one['difference'])} ({low:+.3f} to {high:+.3f})", p_value(one["p_holm"])]


def _spread(one: Row | None) -> str:
    if one is None:
        return "undefined"
    mean = f"{one['mean']:.4f} ± {one['standard_deviation']:.4f}"
    return f"{mean} ({one['min']:.4f} to {one['max']:.4f})"


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in lines)


def _cell(text: str) -> str:
    """Keep what a name holds from ending a cell, a line, or plain text."""
    for sign in "\\|<*_`[":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def show(console: Console, comparison: Comparison, page: Path) -> None:
    """Print the table of models, the result in sentences, and where the page is."""
    table = Table("", title=comparison["title"], box=None, padding=(0, 1))
    for heading in (*HEADINGS.values(), "Params", "Mult-adds", "ms"):
        table.add_column(heading, justify="right")
    for row in comparison["runs"]:
        cells = [_screen_cell(row["figures"][name], row["intervals"][name]) for name in FIGURES]
        costs = [scaled(row["parameters"]), scaled(row["multiply_adds"])]
        table.add_row(Text(row["name"]), *cells, *costs, milliseconds(row["milliseconds"]))
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
