"""An evaluation: a run's best epoch, scored on one split of data sets, as a report."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.augment.corruptions import Corruption
from faceproof.data.frames import evenly_spaced
from faceproof.data.listing import DataSet
from faceproof.data.table import concat_tables, describe_counts, read_parquet, select
from faceproof.errors import FaceproofError
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.operating_point import (
    OperatingPoint,
    ThresholdConfig,
    fit_operating_point,
)
from faceproof.evaluation.predictions import (
    label_numbers,
    logits_of,
    predictions_table,
    read_predictions,
    write_predictions,
)
from faceproof.evaluation.robustness import compare_neutral, corruption_row
from faceproof.evaluation.scoring import Scorer, load_best, score, sigmoid
from faceproof.io.run_folder import RunFolder, read_epochs
from faceproof.models.detector import Detector
from faceproof.reports.mistake_images import log_mistakes, mistake_images
from faceproof.reports.report import ReportContext, write_report
from faceproof.task import Task

SHOWN = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "jaccard", "eer")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Args:
        split: the split to score, or `all`.
        name: the evaluation's folder; by default the data sets and the split.
        frames: at most so many images of each group, evenly spaced; None for all.
        criterion: another criterion than the run's own; it is fitted to the run's validation too.
        neutral: the condition that wraps all images alike, to compare with.
        robustness: the conditions of the robustness curves.
    """

    split: str = "test"
    name: str | None = None
    frames: int | None = None
    threshold: ThresholdConfig | None = None
    neutral: Corruption | None = None
    robustness: Sequence[Corruption] = ()


def store_operating_point(
    run: RunFolder, net: Detector, val: pa.Table, task: Task, threshold: ThresholdConfig
) -> None:
    """Score validation with the best epoch and store the run's calibration and threshold.

    The validation scores stay with the run, so that another threshold can be fitted later without
    any test image.
    """
    load_best(run, net)
    logits = score(net, val, task)
    point = fit_threshold(predictions_table(val, logits, sigmoid(logits)), task, threshold)
    predictions = predictions_table(val, logits, point.calibration.apply(logits))
    write_predictions(predictions, run.validation)
    run.write_operating_point(point.to_json())
    log_mistakes(run, "validation", predictions, task, point.threshold)


def fit_threshold(validation: pa.Table, task: Task, threshold: ThresholdConfig) -> OperatingPoint:
    """Fit an operating point to a predictions table of validation."""
    return fit_operating_point(
        label_numbers(validation, task),
        logits_of(validation),
        units=unit_codes(validation),
        method=threshold.calibration,
        criterion=threshold.criterion,
        fpr=threshold.fpr,
        threshold=threshold.value,
    )


def evaluate_run(
    run: RunFolder,
    score_rows: Scorer,
    own: DataSet,
    others: Sequence[DataSet] = (),
    request: Request | None = None,
) -> Path:
    """Score a run and write `evaluations/<name>/`; return that folder.

    Args:
        run: the run.
        score_rows: gives its logits of images; see `scoring.run_scorer`.
        own: the data set it was trained on, as the run recorded it.
        others: other data sets to score, each at the run's threshold; none for its own.
        request: what to evaluate.

    Raises:
        FaceproofError: a set is of another task, or a split has no images.
    """
    wanted = request or Request()
    sets = list(others) or [own]
    parts = [_rows_of(run, own.task, data, wanted) for data in sets]
    found = concat_tables(part.rows for part in parts)
    unreadable = concat_tables(part.unreadable for part in parts)
    contents = concat_tables(part.contents for part in parts)["content"]
    rows = found if wanted.split in ("train", "val") else _unseen(run, found, contents)
    point = _operating_point(run, own.task, wanted.threshold)
    console = Console()

    def predict(condition: Corruption | None = None) -> pa.Table:
        logits = score_rows(rows, condition)
        return predictions_table(rows, logits, point.calibration.apply(logits))

    predictions = predict()
    names = [data.name for data in sets]
    data_name = "+".join(names)
    folder = run.evaluations / (wanted.name or f"{data_name}-{wanted.split}")
    is_test = "test" in rows["split"].cast(pa.string()).unique().to_pylist()
    if is_test:
        run.log_test_scoring(names, wanted.split, folder.name, rows.num_rows)
    images = mistake_images(predictions, own.task, point.threshold)
    context = ReportContext(
        title=f"{run.read_record().get('model')} on {data_name}",
        task=own.task,
        run=os.path.relpath(run.path),
        model=str(run.read_record().get("model")),
        data=data_name,
        split=wanted.split,
        threshold=point.threshold,
        threshold_origin=point.origin,
        history=read_epochs(run.metrics),
        record=_facts(run, found.num_rows - rows.num_rows),
        unreadable=[(row["path"], row["reason"]) for row in unreadable.to_pylist()],
        best_epoch=run.read_record().get("best_epoch"),
        operating_point=point,
        test_scorings=run.count_test_scorings(names) if is_test else None,
        images=images,
        **_damage(wanted, predict, predictions, own.task, point.threshold),
    )
    report = write_report(folder, predictions, context)
    log_mistakes(run, folder.name, predictions, own.task, point.threshold, images)
    _print_metrics(console, folder, report["figures"])
    return folder


class _Part(NamedTuple):
    """What is scored of a data set: readable rows, digests of their files, and the other files."""

    rows: pa.Table
    contents: pa.Table
    unreadable: pa.Table


def _rows_of(run: RunFolder, task: Task, data: DataSet, wanted: Request) -> _Part:
    """Return the rows of a split that can be read, and the others."""
    if data.task != task:
        raise FaceproofError(
            f"{run.path} was trained for the task {task.name} and data set {data.name} is of "
            f"the task {data.task.name}"
        )
    split = wanted.split
    rows = data.table if split == "all" else select(data.table, split)
    if rows.num_rows == 0:
        raise FaceproofError(
            f"data set {data.name} has no images in the split {split!r}; found "
            f"{describe_counts(data.table)}; set split=train, val, test, unlabelled or all"
        )
    if wanted.frames is not None:
        rows = evenly_spaced(rows, wanted.frames)
    statistics = file_statistics_of(rows)
    readable, unreadable = readable_rows(replace(data, table=rows), stats=statistics)
    known = statistics.filter(pc.is_null(statistics["reason"]))
    return _Part(readable, known.select(["content"]), unreadable)


def _unseen(run: RunFolder, rows: pa.Table, contents: pa.ChunkedArray) -> pa.Table:
    """Leave out the images that the run was trained on or chosen by, wherever they lie now.

    Raises:
        FaceproofError: no other is left.
    """
    seen = read_parquet(run.seen)
    known = pc.or_(pc.is_in(rows["path"], seen["path"]), pc.is_in(contents, seen["content"]))
    num_seen = pc.sum(known).as_py() or 0
    if num_seen == rows.num_rows:
        raise FaceproofError(
            f"all of these {num_seen:,} images are ones that {run.path} was trained on or chosen "
            "by; a figure on them would mean nothing. Name another data set or split"
        )
    if num_seen:
        log.warning(
            "%s of %s images are ones that the run was trained on or chosen by; left out",
            f"{num_seen:,}", f"{rows.num_rows:,}",
        )  # fmt: skip
    return rows.filter(pc.invert(known))


def _operating_point(
    run: RunFolder, task: Task, threshold: ThresholdConfig | None
) -> OperatingPoint:
    """Return the run's operating point, or one for another criterion, fitted to its validation."""
    if not run.operating_point.is_file():
        raise FaceproofError(
            f"{run.path} has no operating point: its training has not ended; let it end by "
            f"python train.py {run.argument('resume')}"
        )
    run.require(run.validation)
    if threshold is not None:
        return fit_threshold(read_predictions(run.validation), task, threshold)
    return OperatingPoint.from_json(run.read_operating_point())


def _damage(
    wanted: Request,
    predict: Callable[[Corruption | None], pa.Table],
    plain: pa.Table,
    task: Task,
    threshold: float,
) -> dict[str, Any]:
    """Score the images damaged, as far as that is wanted; return what the report is told."""
    told: dict[str, Any] = {"tables": {}}
    if wanted.neutral is not None:
        wrapped = predict(wanted.neutral)
        told["tables"]["neutral"] = wrapped
        kind, level = wanted.neutral.kind, wanted.neutral.level
        told["neutral"] = compare_neutral(plain, wrapped, kind, level, task, threshold)
        if told["neutral"].parts:
            log.warning("wrapping both classes alike changes the answers by more than chance")
    if wanted.robustness:
        rows = [corruption_row("none", 0, plain, task, threshold)]
        damaged = []
        for condition in wanted.robustness:
            scored = predict(condition)
            rows.append(corruption_row(condition.kind, condition.level, scored, task, threshold))
            name = pa.array([str(condition)] * scored.num_rows)
            damaged.append(scored.append_column("condition", name))
        told["robustness"] = rows
        told["tables"]["robustness"] = concat_tables(damaged)
    return told


def _facts(run: RunFolder, num_seen: int) -> dict[str, str | int | float | None]:
    """Return what a report says of the run's training."""
    record = run.read_record()
    audit = record.get("audit")
    versions = record.get("versions", {})
    return {
        "initial weights": record.get("weights"),
        "trained on": f"{record.get('data')} ({record.get('images')})",
        "audit of these": "; ".join(audit) or "nothing was found" if audit is not None else None,
        "left out here, for it was trained on or chosen by them": num_seen or None,
        "epochs trained": record.get("epochs"),
        "best epoch": record.get("best_epoch"),
        "chosen by": record.get("monitor"),
        "device": record.get("device"),
        "precision": record.get("precision"),
        **{f"trained with {package}": version for package, version in versions.items()},
    }


def _print_metrics(console: Console, folder: Path, figures: dict[str, float | None]) -> None:
    """Print the figures and where the report is."""
    table = Table("figure", "value", title=str(os.path.relpath(folder)))
    for name in SHOWN:
        value = figures[name]
        table.add_row(name, "undefined" if value is None else f"{value:.4f}")
    console.print(table)
    report = os.path.relpath(folder / "report.html")
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
