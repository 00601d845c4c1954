"""An evaluation: a run's best epoch, scored on one split of data sets, as a report."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.augment.corruptions import (
    Corruption,
    neutral_corruption,
    robustness_corruptions,
)
from faceproof.data.image_io import Pixels
from faceproof.data.listing import DataSet, recorded_data
from faceproof.data.table import concat_tables, describe_counts, evenly_spaced, read_parquet, select
from faceproof.errors import FaceproofError
from faceproof.evaluation.config import EvaluateConfig
from faceproof.evaluation.evaluation_result import Evaluation, EvaluationContext
from faceproof.evaluation.evaluation_result import evaluate as compute_evaluation
from faceproof.evaluation.metrics import metrics_shown
from faceproof.evaluation.mistakes import Mistakes, find_mistakes
from faceproof.evaluation.operating_point import (
    OperatingPoint,
    ThresholdConfig,
    fit_to_validation,
)
from faceproof.evaluation.predictions import (
    predictions_table,
    read_predictions,
    sigmoid,
    write_predictions,
)
from faceproof.evaluation.robustness import (
    CorruptionRow,
    Neutral,
    compare_neutral,
    corruption_row,
)
from faceproof.inference.scoring import Scorer, combined_scorer, run_scorer, score
from faceproof.io.atomic import explain_disk_errors
from faceproof.io.run_folder import RunFolder, find_run, read_epochs
from faceproof.models.build import build_network
from faceproof.models.detector import Detector
from faceproof.models.weights import load_best
from faceproof.reports.image_grid import mistake_images, mistakes_plot
from faceproof.reports.numbers import rate
from faceproof.reports.report import ReportExtras, write_report
from faceproof.task import Task
from faceproof.workflows.ensemble import is_ensemble, read_ensemble

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Args:
        split: the split to score, or `all`.
        name: the evaluation's folder; by default the data sets and the split.
        frames: at most so many images of each group, evenly spaced; None for all.
        threshold: another threshold than the run's own; it is fitted to the run's validation too.
        neutral: the corruption that encodes all images alike, to compare with.
        robustness: the corruptions of the robustness curves.
    """

    split: str = "test"
    name: str | None = None
    frames: int | None = None
    threshold: ThresholdConfig | None = None
    neutral: Corruption | None = None
    robustness: Sequence[Corruption] = ()


def evaluate(config: EvaluateConfig, others: Callable[[], Sequence[DataSet]] = lambda: ()) -> Path:
    """Score the best epoch of a run on a split, and return the report's folder.

    Args:
        config: what to evaluate, and how.
        others: lists other data sets to score; none for the run's own.

    Raises:
        FaceproofError: there is no such run, a data set is of another task, or a split is empty.
    """
    run = find_run(config.run)
    run.require(run.config, run.samples)
    neutral, robustness = config.neutral, config.robustness
    request = Request(
        split=config.split,
        name=config.name,
        frames=config.frames,
        threshold=config.requested_threshold(),
        neutral=None if neutral is None else neutral_corruption(neutral),
        robustness=() if robustness is None else robustness_corruptions(robustness),
    )
    own, sets = recorded_data(run), others()
    with explain_disk_errors(run.evaluations):
        return evaluate_run(run, make_scorer(run, own.task, config), own, sets, request)


def make_scorer(run: RunFolder, task: Task, config: EvaluateConfig) -> Scorer:
    """Return what scores images by a run's best epoch, or by an ensemble's members."""
    if is_ensemble(run):
        ensemble = read_ensemble(run)
        scorers = [make_scorer(one.run, task, config) for one in ensemble.members]
        return combined_scorer(scorers, ensemble.combine)
    net = build_network(run.read_config()["model"])
    loader = config.loader
    return run_scorer(run, net, task, loader.batch_size, loader.num_workers, config.device)


def store_operating_point(
    run: RunFolder, net: Detector, val: pa.Table, task: Task, threshold: ThresholdConfig
) -> None:
    """Score validation with the best epoch and store the run's calibration and threshold.

    The validation scores stay with the run, so that another threshold can be fitted later without
    any test image.
    """
    load_best(run, net)
    logits = score(net, val, task)
    point = fit_to_validation(predictions_table(val, logits, sigmoid(logits)), task, threshold)
    predictions = predictions_table(val, logits, point.calibration.apply(logits))
    write_predictions(predictions, run.validation)
    run.write_operating_point(point.to_json())
    log_mistakes(run, "validation", find_mistakes(predictions, task, point.threshold))


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
    rows, unreadable, num_seen = _select_rows(run, own.task, sets, wanted)
    point = _operating_point(run, own.task, wanted.threshold)

    def predict(corruption: Corruption | None = None) -> pa.Table:
        logits = score_rows(rows, corruption)
        return predictions_table(rows, logits, point.calibration.apply(logits))

    predictions = predict()
    names = [data.name for data in sets]
    folder = run.evaluations / (wanted.name or f"{'+'.join(names)}-{wanted.split}")
    is_test = "test" in rows["split"].cast(pa.string()).unique().to_pylist()
    if is_test:
        run.log_test_scoring(names, wanted.split, folder.name, rows.num_rows)
    corrupted = _score_corrupted(wanted, predict, predictions, own.task, point.threshold)
    record = run.read_record()
    context = EvaluationContext(
        title=f"{record.get('model')} on {'+'.join(names)}",
        task=own.task,
        run=os.path.relpath(run.path),
        model=str(record.get("model")),
        data="+".join(names),
        split=wanted.split,
        threshold=point.threshold,
        threshold_origin=point.origin,
        record=_training_record(record, num_seen),
        unreadable=[(row["path"], row["reason"]) for row in unreadable.to_pylist()],
        operating_point=point,
        test_scorings=run.count_test_scorings(names) if is_test else None,
        neutral=corrupted.neutral,
        robustness=corrupted.robustness,
    )
    evaluation = compute_evaluation(predictions, context)
    images = mistake_images(evaluation.mistakes)
    history, best_epoch = read_epochs(run.metrics), record.get("best_epoch")
    extras = ReportExtras(history, best_epoch, corrupted.tables, images)
    write_report(folder, predictions, evaluation, extras)
    log_mistakes(run, folder.name, evaluation.mistakes, images)
    print_metrics(Console(), folder, evaluation)
    return folder


class _Part(NamedTuple):
    """Readable rows to score, digests of their files, and the rows of the other files."""

    rows: pa.Table
    contents: pa.Table
    unreadable: pa.Table


def _select_rows(
    run: RunFolder, task: Task, sets: Sequence[DataSet], wanted: Request
) -> tuple[pa.Table, pa.Table, int]:
    """Return the rows to score, those that cannot be read, and the number left out as seen."""
    parts = [_rows_of(run, task, data, wanted) for data in sets]
    found = concat_tables(part.rows for part in parts)
    unreadable = concat_tables(part.unreadable for part in parts)
    contents = concat_tables(part.contents for part in parts)["content"]
    rows = found if wanted.split in ("train", "val") else _unseen(run, found, contents)
    return rows, unreadable, found.num_rows - rows.num_rows


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
            "by; a metric measured on them would mean nothing. Name another data set or split"
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
        return fit_to_validation(read_predictions(run.validation), task, threshold)
    return OperatingPoint.from_json(run.read_operating_point())


@dataclass(frozen=True)
class _Corrupted:
    """What scoring the corrupted images gave, as far as it was wanted."""

    neutral: Neutral | None
    robustness: Sequence[CorruptionRow]
    tables: Mapping[str, pa.Table]


def _score_corrupted(
    wanted: Request,
    predict: Callable[[Corruption | None], pa.Table],
    plain: pa.Table,
    task: Task,
    threshold: float,
) -> _Corrupted:
    """Score the images corrupted, as far as that is wanted."""
    tables: dict[str, pa.Table] = {}
    neutral, rows = None, list[CorruptionRow]()
    if wanted.neutral is not None:
        tables["neutral"] = predict(wanted.neutral)
        kind, level = wanted.neutral.kind, wanted.neutral.level
        neutral = compare_neutral(plain, tables["neutral"], kind, level, task, threshold)
        if neutral.parts:
            log.warning("encoding both classes alike changes more answers than chance explains")
    if wanted.robustness:
        rows.append(corruption_row("none", 0, plain, task, threshold))
        parts = []
        for corruption in wanted.robustness:
            scored = predict(corruption)
            rows.append(corruption_row(corruption.kind, corruption.level, scored, task, threshold))
            name = pa.array([str(corruption)] * scored.num_rows)
            parts.append(scored.append_column("corruption", name))
        tables["robustness"] = concat_tables(parts)
    return _Corrupted(neutral, rows, tables)


def _training_record(
    record: Mapping[str, Any], num_seen: int
) -> dict[str, str | int | float | None]:
    """Return what a report says of the run's training."""
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


def log_mistakes(
    run: RunFolder,
    name: str,
    mistakes: Mapping[str, Mistakes],
    images: Mapping[str, Pixels] | None = None,
) -> None:
    """Add the mistakes to the run's TensorBoard images at its best epoch, if it logs there.

    Args:
        run: the run.
        name: of what was scored; it is part of the images' tags.
        mistakes: those of each direction.
        images: of the mistakes, by path, if they have been read already.
    """
    if not any(run.path.glob("events.*")):
        return
    from torch.utils.tensorboard import SummaryWriter

    if images is None:
        images = mistake_images(mistakes)
    step = run.read_record().get("best_epoch") or 0
    with SummaryWriter(run.path) as writer:
        for direction, found in mistakes.items():
            if (figure := mistakes_plot(direction, found, images)) is not None:
                tag = f"mistakes/{name}/{direction}".replace(" ", "_")
                writer.add_figure(tag, figure, step)


def print_metrics(console: Console, folder: Path, evaluation: Evaluation) -> None:
    """Print the metrics and where the report is."""
    table = Table("metric", "value", title=str(os.path.relpath(folder)))
    for metric in metrics_shown("comparison"):
        table.add_row(metric.name, rate(evaluation.metrics[metric.name]))
    console.print(table)
    report = os.path.relpath(folder / "report.html")
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
