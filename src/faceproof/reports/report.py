"""The report of an evaluation: one folder with a page, its figures, and the numbers behind them.

    <folder>/
      report.html           the page, complete in itself, to be read or sent
      report.json           every number of the page
      predictions.parquet   the predictions, from which every figure can be computed again
      figures/*.png         the drawings of the page

A section of the page is a key of `measure`, if wanted a drawing of `draw`, and a `<section>` of
`pages/report.html.j2`.
"""

import contextlib
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure
from PIL import Image

from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation import intervals, metrics, reliability
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.groups import HOWS, How, aggregate_groups, mixed_groups, unit_codes
from faceproof.evaluation.mistakes import common_folder, shown_paths, told_mistakes
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import (
    Flags,
    Scores,
    is_positive,
    label_numbers,
    labelled_rows,
    logits_of,
    probabilities_of,
)
from faceproof.evaluation.robustness import CorruptionRow, Neutral, worst
from faceproof.evaluation.statistics import LEVEL, share_interval
from faceproof.io.atomic import atomic_folder, restore_folder
from faceproof.io.folders import refuse_foreign_files, refuse_unmovable
from faceproof.reports import html as pages
from faceproof.reports import plots
from faceproof.reports.image_grid import Pixels
from faceproof.task import Task

Report = dict[str, Any]

# What a report consists of; every table that `ReportContext.tables` may bring is among it.
FILES = (
    *("report.html", "report.json", "figures/*.png"),
    *("predictions.parquet", "neutral.parquet", "robustness.parquet"),
)
MARKS = {"task", "split", "num_predictions", "figures"}  # keys by which a report is known

# What may bear on a figure: ours, what computed it, and what made the logits.
PACKAGES = ("faceproof", "torch", "timm", "numpy", "scipy", "scikit-learn", "pyarrow", "matplotlib")

TILES = (
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "average_precision",
    "recall",
    "specificity",
    "eer",
    "tpr_at_1pct_fpr",
)
NAMES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1",
    "jaccard": "Jaccard",
    "roc_auc": "ROC-AUC",
    "average_precision": "Average precision",
    "eer": "Equal error rate",
    "tpr_at_1pct_fpr": "TPR at 1% FPR",
    "brier": "Brier score",
    "rmse": "RMSE",
    "ece": "Expected calibration error",
}
MEANINGS = {
    "loss": "binary cross-entropy of the logits in nats; always answering 50% scores 0.6931",
    "accuracy": "share of all images called correctly",
    "balanced_accuracy": "mean of the two classes' shares called correctly; guessing scores 0.5",
    "precision": "share of {positive} among those called {positive}",
    "recall": "share of {positive} called {positive}",
    "specificity": "share of {negative} called {negative}",
    "f1": "harmonic mean of precision and recall",
    "jaccard": "{positive} called {positive}, as a share of all that are or were called {positive}",
    "roc_auc": "how often {positive} outranks {negative}, over all pairs; guessing scores 0.5",
    "average_precision": "precision averaged over all recalls; guessing scores {base_rate}",
    "eer": "error where both classes err equally often; lower is better",
    "tpr_at_1pct_fpr": "share of {positive} found if at most 1% of {negative} may be called so",
    "brier": "mean squared error of the probability; always answering 50% scores 0.25",
    "rmse": "square root of the Brier score",
    "ece": "how far probabilities are from shares on average, in bins of equally many images",
}

CRITERION_WORDS = {
    "youden": "largest true-positive less false-positive rate (Youden)",
    "f1": "largest F1",
    "fpr": "a false-positive rate to keep",
    "fixed": "none: the threshold was given",
}


@dataclass(frozen=True)
class ReportContext:
    """What a report says beyond its predictions.

    Attributes:
        title: heads the page.
        task: names the classes.
        run: the run, or the detector artifact, that made the predictions.
        model: its name.
        data: the data set measured on.
        split: the split measured on.
        threshold: an image is called positive from this probability on.
        threshold_origin: where the threshold comes from, in words.
        history: rows of the run's `metrics.csv`; may be empty.
        record: how the detector was trained, as name and value.
        unreadable: path and reason of each image that could not be scored.
        best_epoch: the epoch whose weights were kept, from 0; None leaves it to the history.
        operating_point: what the threshold and the calibration belong to, if they were fitted.
        test_scorings: how often the run has scored this test split, this time included; None where
            it is no test split, or was not counted.
        num_resamples: how many bootstrap resamples the intervals want.
        neutral: the images as they are against both classes wrapped alike, if that was scored.
        robustness: figures under growing damage, that of no damage first; may be empty.
        tables: other predictions that figures rest on, each written beside `predictions.parquet`.
        images: small copies of the mistakes that are shown, (h, w, 3) uint8 by path; of what is
            not among them only words are shown.
    """

    title: str
    task: Task
    run: str
    model: str
    data: str
    split: str
    threshold: float
    threshold_origin: str
    history: Sequence[Mapping[str, Any]] = ()
    record: Mapping[str, str | int | float | None] = field(default_factory=dict)
    unreadable: Sequence[tuple[str, str]] = ()
    best_epoch: int | None = None
    operating_point: OperatingPoint | None = None
    test_scorings: int | None = None
    num_resamples: int = intervals.NUM_RESAMPLES
    neutral: Neutral | None = None
    robustness: Sequence[CorruptionRow] = ()
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    images: Mapping[str, Pixels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        point = self.operating_point
        if point is not None and point.threshold != self.threshold:
            raise FaceproofError(
                f"the operating point's threshold is {point.threshold} and the report's "
                f"{self.threshold}; report at the stored threshold, or without operating point"
            )


def write_report(folder: Path, predictions: pa.Table, context: ReportContext) -> Report:
    """Compute every figure and write the report; return what `report.json` holds.

    The folder is made beside its place and then put there, replacing an earlier report whole.

    Raises:
        FaceproofError: there are no predictions, or the folder holds something else than a report.
    """
    if predictions.num_rows == 0:
        raise FaceproofError(
            f"there is no prediction to report on {context.data}, split {context.split}: "
            f"{len(context.unreadable):,} images were unreadable; check the data set and split"
        )
    folder = folder.resolve()
    restore_folder(folder)
    refuse_unmovable(folder)
    _refuse_other_folder(folder)
    with atomic_folder(folder) as partial:
        return _write(partial, predictions, context)


def _write(partial: Path, predictions: pa.Table, context: ReportContext) -> Report:
    """Write all that a report consists of to a new folder, and return its numbers."""
    (partial / "figures").mkdir()
    report = measure(predictions, context)
    drawings = draw(predictions, context)
    for name, table in {"predictions": predictions, **context.tables}.items():
        write_table(table, partial / f"{name}.parquet")
    numbers = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False)
    (partial / "report.json").write_text(numbers + "\n", encoding="utf-8")
    for name, figure in drawings.items():
        plots.save_png(figure, partial / "figures" / f"{name}.png")
    inline = {name: plots.plot_svg(figure) for name, figure in drawings.items()}
    page = render(report, inline, thumbnails(context.images))
    (partial / "report.html").write_text(page, encoding="utf-8")
    return report


def _refuse_other_folder(folder: Path) -> None:
    """Refuse to replace what is not a report; a folder given by mistake would be lost."""
    if folder.is_dir() and (not any(folder.iterdir()) or _is_report(folder)):
        refuse_foreign_files(folder, FILES)
    elif folder.exists():
        raise FaceproofError(
            f"{folder} holds something else than a report and would be replaced whole; give the "
            "report a folder of its own"
        )


def _is_report(folder: Path) -> bool:
    """Say whether the numbers in a folder are a report's; many programs write a report.json."""
    try:
        found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and set(found) >= MARKS


def measure(predictions: pa.Table, context: ReportContext) -> Report:
    """Return every number and fact of the report as plain values that JSON can hold."""
    task, threshold = context.task, context.threshold
    known = labelled_rows(predictions)
    probabilities = probabilities_of(known)
    cells = metrics.confusion(label_numbers(known, task), probabilities, threshold)
    called = is_positive(probabilities_of(predictions), threshold)
    report: Report = _plain(
        {
            "title": context.title,
            "task": asdict(task),
            "run": context.run,
            "model": context.model,
            "data": context.data,
            "split": context.split,
            "threshold": float(threshold),
            "threshold_origin": context.threshold_origin,
            "num_predictions": predictions.num_rows,
            "num_unlabelled": predictions.num_rows - known.num_rows,
            "num_called_positive": int(called.sum()),
            "num_groups": pc.count_distinct(predictions["group"]).as_py(),
            "num_unreadable": len(context.unreadable),
            "test_scorings": context.test_scorings,
            "figures": metrics.figures(predictions, task, threshold),
            "intervals": _intervals(predictions, context),
            "class_report": metrics.class_report(cells, task),
            "confusion": cells.tolist(),
            "by_generator": metrics.breakdown(predictions, task, threshold, "generator"),
            "by_source": metrics.breakdown(predictions, task, threshold, "source"),
            "worst_first": metrics.worst_first(predictions, task, threshold),
            "operating_point": _operating_point(known, context),
            "calibration": _calibration(known, task),
            "risk_coverage": _risk_coverage(known, context),
            "group_level": _group_level(predictions, context),
            "mistakes": told_mistakes(predictions, task, threshold),
            **_under_corruptions(context),
            "unreadable": [{"path": path, "reason": why} for path, why in context.unreadable],
            "record": dict(context.record),
            "versions": {"python": platform.python_version(), **_versions()},
        }
    )
    return report


def _under_corruptions(context: ReportContext) -> dict[str, Any]:
    """Return the figures of the images wrapped alike and damaged, None where not asked for."""
    neutral, rows = context.neutral, context.robustness
    low = worst(rows)
    return {
        "neutral": None if neutral is None else asdict(neutral) | {"parts": neutral.parts},
        "robustness": [asdict(row) for row in rows] or None,
        "worst_corruption": None if low is None else asdict(low),
    }


def _intervals(predictions: pa.Table, context: ReportContext) -> dict[str, Any]:
    """Return the bootstrap intervals of the figures and how they were made."""
    known = labelled_rows(predictions)
    num_drawn = intervals.affordable_resamples(known.num_rows, context.num_resamples)
    return {
        "level": LEVEL,
        "num_resamples": num_drawn,
        "num_units": int(unit_codes(known).max(initial=-1)) + 1,
        "figures": intervals.bootstrap_intervals(
            predictions, context.task, context.threshold, context.num_resamples
        ),
    }


def _operating_point(known: pa.Table, context: ReportContext) -> dict[str, Any] | None:
    """Set what validation promised against what happened here."""
    point, task = context.operating_point, context.task
    if point is None:
        return None
    labels, probabilities = label_numbers(known, task), probabilities_of(known)
    units = unit_codes(known)
    wrong = is_positive(probabilities, point.threshold) != (labels == 1)
    unsure = reliability.unsure_flags(probabilities, point.unsure)
    return {
        **point.to_json(),
        "origin": point.origin,
        "fpr": metrics.realised_fpr(labels, probabilities, point.threshold, units),
        "share_unsure": _share(unsure),
        "error_answered": _share(wrong[~unsure]),
        "error_answered_interval": share_interval(wrong[~unsure], units[~unsure]),
        "error_all": _share(wrong),
    }


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _calibration(known: pa.Table, task: Task) -> dict[str, Any]:
    """Return calibration error, Brier score and reliability, before and after calibration."""
    labels, units = label_numbers(known, task), unit_codes(known)
    found = {}
    for name, probabilities in _before_and_after(known).items():
        found[name] = {
            "ece": reliability.expected_calibration_error(labels, probabilities),
            "ece_by_chance": reliability.calibration_error_by_chance(probabilities),
            "brier": metrics.brier(labels, probabilities),
            "bins": reliability.reliability_table(labels, probabilities, units),
        }
    return found


def _before_and_after(known: pa.Table) -> dict[str, Scores]:
    """Return the probabilities as the network gave them and as they were reported."""
    return {
        "before": Calibration().apply(logits_of(known)),
        "after": probabilities_of(known),
    }


def _risk_coverage(known: pa.Table, context: ReportContext) -> dict[str, Any]:
    """Return the area under the risk-coverage curve, and the curve at ten coverages."""
    scored = label_numbers(known, context.task), probabilities_of(known), context.threshold
    coverage, risk, _ = reliability.risk_coverage(*scored)
    wanted = np.arange(1, 11) / 10
    places = np.searchsorted(coverage, wanted - 1e-9) if len(coverage) else np.empty(0, np.int64)
    return {
        "area": reliability.risk_coverage_area(*scored),
        "curve": [
            {"coverage": float(coverage[place]), "risk": float(risk[place])} for place in places
        ],
    }


REPORTED_HOWS: tuple[How, ...] = (HOWS[0], HOWS[2])  # the mean, and what one frame suffices for


def _group_level(predictions: pa.Table, context: ReportContext) -> dict[str, Any] | None:
    """Return the figures of whole groups; None where there are none."""
    known = labelled_rows(predictions)
    if not known["group"].is_valid().to_numpy().any():
        return None
    if mixed := mixed_groups(known):
        return {"num_mixed": len(mixed), "mixed": mixed[0], "by": {}}
    found: dict[str, Any] = {"num_mixed": 0, "mixed": None, "by": {}}
    for how in REPORTED_HOWS:
        grouped = aggregate_groups(known, how)
        found["num_groups"] = grouped.predictions.num_rows
        found["num_without_group"] = grouped.num_without_group
        scored = grouped.predictions, context.task, context.threshold
        found["by"][how] = {
            "figures": metrics.figures(*scored),
            "intervals": intervals.bootstrap_intervals(*scored, context.num_resamples),
        }
    return found


def _versions() -> dict[str, str]:
    """Return the versions of the installed packages of `PACKAGES`, importing none of them."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _plain(value: Any) -> Any:
    """Make facts given by the caller fit for strict JSON and for a page.

    A number that is not finite becomes None. A character that would not print is written as its
    escape: file names may hold broken bytes, line feeds, or marks that reverse what follows.
    """
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return "".join(
            sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in value
        )
    return value


def draw(predictions: pa.Table, context: ReportContext) -> dict[str, Figure]:
    """Draw what can be drawn of these predictions, by the name of the file each figure gets."""
    task, threshold = context.task, context.threshold
    known = labelled_rows(predictions)
    drawings: dict[str, Figure] = {}
    if known.num_rows:
        labels, probabilities = label_numbers(known, task), probabilities_of(known)
        cells = metrics.confusion(labels, probabilities, threshold)
        drawings["confusion"] = plots.confusion_heatmap(cells, task)
        drawings["classes"] = plots.class_bars(cells, task)
        drawings["scores"] = plots.score_histogram(labels, probabilities, threshold, task)
        if metrics.has_both_classes(labels):
            scored = labels, logits_of(known), probabilities, threshold, task
            drawings["roc"] = plots.roc_plot(*scored)
            drawings["precision_recall"] = plots.precision_recall_plot(*scored)
            drawings["reliability"] = _draw_reliability(known, context)
        unsure = context.operating_point.unsure if context.operating_point else None
        scored_here = labels, probabilities, threshold, task
        drawings["risk_coverage"] = plots.risk_coverage_plot(*scored_here, unsure)
    else:
        probabilities = probabilities_of(predictions)
        drawings["scores"] = plots.score_histogram(None, probabilities, threshold, task)
    if context.robustness:
        drawings["robustness"] = plots.robustness_plot(context.robustness)
    if context.history:
        drawings["training"] = plots.training_curves(context.history, context.best_epoch)
    return drawings


def _draw_reliability(known: pa.Table, context: ReportContext) -> Figure:
    labels, units = label_numbers(known, context.task), unit_codes(known)
    both = _before_and_after(known)
    before, after = (reliability.reliability_table(labels, both[name], units) for name in both)
    # One line, where calibration left the probabilities as they were but for float32.
    if np.allclose(both["before"], both["after"], atol=1e-6):
        before = []
    return plots.reliability_diagram(before, after, both["after"], context.task)


def thumbnails(images: Mapping[str, Pixels]) -> dict[str, str]:
    """Return images as data URLs, by their paths as the report writes them."""
    return {
        _plain(path): pages.image_url(Image.fromarray(pixels)) for path, pixels in images.items()
    }


def render(
    report: Report, drawings: Mapping[str, str], images: Mapping[str, str] | None = None
) -> str:
    """Return the page of a report, complete in itself.

    Args:
        report: what `measure` returned.
        drawings: inline SVG by name.
        images: of the mistakes, as data URLs by path.
    """
    words: dict[str, Callable[..., str]] = {
        "rate": rate,
        "count": count,
        "fact": fact,
        "span": span,
    }
    return pages.render(
        "report.html.j2",
        words | {"percent": plots.percent},
        report=report,
        drawings=drawings,
        images=images or {},
        mistakes_folder=common_folder(shown_paths(report["mistakes"])),
        verdict=verdict(report),
        tiles=TILES,
        names=NAMES,
        scorings=scorings(report),
        criteria=CRITERION_WORDS,
        meanings=_meanings(report),
        record=[(name, fact(value)) for name, value in report["record"].items()],
    )


def _meanings(report: Report) -> dict[str, str]:
    words = report["task"] | {"base_rate": rate(_base_rate(report))}
    return {name: meaning.format(**words) for name, meaning in MEANINGS.items()}


def _base_rate(report: Report) -> float | None:
    total = report["figures"]["num_images"]
    return sum(report["confusion"][1]) / total if total else None


def verdict(report: Report) -> list[str]:
    """Return the result in plain sentences, the most important first."""
    num_predictions, positive = report["num_predictions"], report["task"]["positive"]
    if report["num_unlabelled"] == num_predictions:
        called = _of(report["num_called_positive"], num_predictions, "images")
        return [
            f"The detector called {called} {positive}. They have no labels, so how often it is "
            "right cannot be said."
        ]
    return [_class_sentence(report), *_caveats(report)]


def _class_sentence(report: Report) -> str:
    """Say of each class how many of its images were called positive."""
    task, (of_negative, of_positive) = report["task"], report["confusion"]
    parts = []
    if sum(of_positive):
        found = _of(of_positive[1], sum(of_positive), f"{task['positive']} images")
        parts.append(f"recognised {found}")
    if sum(of_negative):
        alarms = _of(of_negative[1], sum(of_negative), f"{task['negative']} images")
        parts.append(f"took {alarms} for {task['positive']}")
    return f"The detector {' and '.join(parts)}."


def _caveats(report: Report) -> list[str]:
    """Say what keeps the figures from meaning what they seem to."""
    task, cells = report["task"], report["confusion"]
    support = {task["negative"]: sum(cells[0]), task["positive"]: sum(cells[1])}
    total, common = sum(support.values()), max(support, key=lambda name: support[name])
    if support[common] == total:
        sentences = [
            f"Every image is {common}: whatever tells the two classes apart cannot be measured "
            "here and is undefined."
        ]
    else:
        sentences = [
            f"Overall it called {_of(cells[0][0] + cells[1][1], total, 'images')} correctly; "
            f"always answering “{common}” would reach {plots.percent(support[common] / total)}."
        ]
    return sentences + _promises(report) + _hardest_generator(report) + _left_out(report)


def _promises(report: Report) -> list[str]:
    """Say where the operating point does not hold, and where the test split is worn."""
    sentences = []
    point = report["operating_point"]
    if point and point["promised_fpr"] and point["fpr"]["interval"]:
        low, _ = point["fpr"]["interval"]
        if low > point["promised_fpr"]:
            sentences.append(
                f"The threshold promised at most {plots.percent(point['promised_fpr'])} false "
                f"alarms and has {plots.percent(point['fpr']['rate'])} here, more than chance "
                "explains: it does not carry over to these images."
            )
    if (report["test_scorings"] or 0) > 1:
        sentences.append(scorings(report))
    return sentences


def scorings(report: Report) -> str:
    """Say how often the run has scored this split, and what that means."""
    number = report["test_scorings"]
    if number is None:
        return "not counted"
    if number == 1:
        return "This run has scored this split once: this time."
    return (
        f"Caution: this run has scored this split {number:,} times. Whatever was chosen after "
        "having seen its figures makes them look better than new images would."
    )


def _hardest_generator(report: Report) -> list[str]:
    """Name the generator that is recognised least often, where there are several."""
    rows = [row for row in report["by_generator"] if row["value"] and row["recall"] is not None]
    if len(rows) < 2:
        return []
    worst = min(rows, key=lambda row: row["recall"])
    found = round(worst["recall"] * worst["num_positive"])
    share = _of(found, worst["num_positive"], "images")
    return [f"The hardest generator is {worst['value']}: {share} were recognised."]


def _left_out(report: Report) -> list[str]:
    """Say how many images are in no figure, and why."""
    sentences = []
    if report["num_unlabelled"]:
        sentences.append(f"Without a label, and so in no figure: {report['num_unlabelled']:,}.")
    if report["num_unreadable"]:
        sentences.append(f"Unreadable, and so in no figure: {report['num_unreadable']:,}.")
    return sentences


def _of(part: int, whole: int, things: str) -> str:
    return f"{part:,} of {whole:,} {things} ({plots.percent(part / whole)})"


def rate(value: float | None) -> str:
    """Write a rate with four decimals, but never one short of 1 as 1 or one above 0 as 0."""
    if value is None:
        return "undefined"
    if 0 < value < 0.00005:
        return "< 0.0001"
    return "> 0.9999" if 0.99995 <= value < 1 else f"{value:.4f}"


def span(interval: Sequence[float] | None) -> str:
    """Write an interval with three decimals, rounded outwards so that no end looks too good."""
    if interval is None:
        return "no interval"
    low, high = interval
    # The small amounts keep what is a round number but for its last bit.
    return (
        f"{math.floor(low * 1000 + 1e-9) / 1000:.3f} to {math.ceil(high * 1000 - 1e-9) / 1000:.3f}"
    )


def count(value: int | None) -> str:
    """Write a number of things with separators of thousands."""
    return "undefined" if value is None else f"{value:,}"


def fact(value: str | int | float | None) -> str:
    """Write a fact of the record as it would be typed."""
    if value is None:
        return "not recorded"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
