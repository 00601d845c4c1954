"""An evaluation: a run's best epoch, scored on one split of data sets, as a report."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from faceproof.audit.file_statistics import Look, file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.augment.corruptions import Corruption, neutral_corruption, robustness_corruptions
from faceproof.data.leave_out import HELD_OUT
from faceproof.data.listing import DataSet, describe_crop, framing_of
from faceproof.data.run_tables import held_out_data, recorded_data
from faceproof.data.table import (
    concat_tables,
    describe_counts,
    evenly_spaced,
    select,
    subgroups_of,
)
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import calibrated
from faceproof.evaluation.cluster_config import LOCAL
from faceproof.evaluation.config import EvaluateConfig
from faceproof.evaluation.evaluation_result import Evaluation, EvaluationContext
from faceproof.evaluation.evaluation_result import evaluate as compute_evaluation
from faceproof.evaluation.json_values import plain
from faceproof.evaluation.novelty import read_novelty_point
from faceproof.evaluation.operating_point import (
    OperatingPoint,
    fit_to_validation,
    read_operating_point,
    with_other_band,
)
from faceproof.evaluation.predictions import (
    predictions_table,
    read_predictions,
)
from faceproof.evaluation.robustness import CorruptionRow, Neutral, compare_neutral, corruption_row
from faceproof.evaluation.stored_evaluations import usual_name
from faceproof.evaluation.video_point import (
    VideoConfig,
    VideoPoint,
    fit_video_point,
    read_video_point,
    with_other_video_band,
)
from faceproof.io.atomic import explain_disk_errors
from faceproof.io.folders import from_here
from faceproof.io.newest_runs import find_run
from faceproof.io.run_folder import RunFolder, read_epochs
from faceproof.io.stamps import key_of
from faceproof.prepare.cropping import read_crop
from faceproof.reports.image_grid import mistake_images
from faceproof.reports.report import ReportExtras, write_report
from faceproof.reports.report_terminal import show
from faceproof.reports.robustness_text import neutral_changes, neutral_verdict
from faceproof.task import Task
from faceproof.training.boards import reopened_boards
from faceproof.workflows.audit_on_ray import look_on_ray
from faceproof.workflows.calibrate import log_mistakes
from faceproof.workflows.ensemble import is_ensemble, read_ensemble
from faceproof.workflows.evaluate_on_ray import make_cluster_scorer
from faceproof.workflows.left_out import LeftOut, leave_out_seen
from faceproof.workflows.scorers import Scorer, make_scorer
from faceproof.workflows.training_record import training_record

log = logging.getLogger(__name__)

# Trainer options that can cut a training short of its epochs, and what leaves it whole: 1.0 is all
# batches, and 1 a single one.
WHOLE = {
    "limit_train_batches": 1.0, "limit_val_batches": 1.0, "max_steps": -1, "max_time": None,
    "fast_dev_run": False, "overfit_batches": 0.0,
}  # fmt: skip
OFF_AT_0 = ("fast_dev_run", "overfit_batches")


def evaluate(config: EvaluateConfig, others: Callable[[], Sequence[DataSet]] = lambda: ()) -> Path:
    """Score the best epoch of a run on a split, and return the report's folder.

    `others` lists other data sets to score; without any, the run's own is scored.

    Raises:
        FaceproofError: there is no such run, a data set is of another task, or a split is empty.
    """
    run = find_run(config.run)
    run.require(run.config, run.samples)
    neutral, curves = _corruptions(config)  # refuses an unknown name before anything is read
    own, sets = recorded_data(run), others()
    _warn_of_other_crops(run, sets)
    if config.split == HELD_OUT:
        sets = _held_out(run, sets)
    with explain_disk_errors(run.evaluations):
        detector = run.detector_digest
        if config.engine == LOCAL:
            score_rows = make_scorer(run, own.task, config)
        else:
            corruptions = [*filter(None, [neutral]), *curves]
            score_rows = make_cluster_scorer(run, own.task, config, corruptions, detector)
        return evaluate_run(run, config, score_rows, own, sets, detector)


def _held_out(run: RunFolder, sets: Sequence[DataSet]) -> list[DataSet]:
    """Return the images to judge of what was left out of a run."""
    if sets:
        raise FaceproofError(
            f"split={HELD_OUT} is of the run's own images, and data= names others; leave out one"
        )
    return [held_out_data(run)]


def _warn_of_other_crops(run: RunFolder, sets: Sequence[DataSet]) -> None:
    """Warn where images are framed otherwise than those that a run was trained on."""
    trained = plain(read_crop(run.read_record().get("crop")))
    for data in sets:
        if framing_of(data.crop) != framing_of(trained):
            log.warning(
                "%s: %s, and the run was trained on %s: a metric on it is of the framing too; "
                "faceproof prepare cuts faces out alike",
                data.name, describe_crop(data.crop), describe_crop(trained),
            )  # fmt: skip


def _corruptions(config: EvaluateConfig) -> tuple[Corruption | None, Sequence[Corruption]]:
    """Return the corruption that encodes all images alike, and those of the robustness curves."""
    neutral, curves = config.neutral, config.robustness
    return (
        None if neutral is None else neutral_corruption(neutral),
        () if curves is None else robustness_corruptions(curves),
    )


def evaluate_run(
    run: RunFolder,
    config: EvaluateConfig,
    score_rows: Scorer,
    own: DataSet,
    others: Sequence[DataSet] = (),
    detector: str | None = None,
) -> Path:
    """Score other data sets, or a run's own, and write `evaluations/<name>/`; return that folder.

    `detector` is the digest of the detector when the scorer was made; None for now.

    Raises:
        FaceproofError: a set is of another task, a split has no images, or the weights have been
            changed since the scorer was made.
    """
    sets = list(others) or [own]
    rows, unreadable, left_out = _select_rows(run, own.task, sets, config, own=not others)
    subgroups = _subgroups(rows, config.subgroups)
    names = [data.name for data in sets]
    folder = run.evaluation_folder(config.name or usual_name("+".join(names), config.split))
    is_test = "test" in rows["split"].cast(pa.string()).unique().to_pylist()
    with run.unchanged(detector) as detector:
        point = _operating_point(run, own.task, config)
        video = _video_point(run, own.task, config, point)

        def predict(corruption: Corruption | None = None) -> pa.Table:
            logits, novelties = score_rows(rows, corruption)
            probabilities = point.calibration.apply(logits)
            return predictions_table(rows, logits, probabilities, novelties, subgroups)

        predictions = predict()
        if is_test:
            run.log_test_scoring(names, config.split, folder.name, rows.num_rows)
        neutral, robustness, tables = _score_corrupted(
            config, predict, predictions, own.task, point.threshold
        )
    if left_out.images.num_rows:
        tables["left_out"] = left_out.images
    record = run.read_record()
    context = EvaluationContext(
        title=f"{record.get('model')} on {'+'.join(names)}",
        task=own.task, run=from_here(run.path), model=str(record.get("model")),
        data="+".join(names), split=config.split,
        threshold=point.threshold, threshold_origin=point.origin,
        **_training(run, record),
        unreadable=[(row["path"], row["reason"]) for row in unreadable.to_pylist()],
        operating_point=point,
        video_point=video,
        novelty_point=read_novelty_point(run),
        home=sorted(filter(None, select(own.table, "train")["source"].unique().to_pylist())),
        test_scorings=run.count_test_scorings(names) if is_test else None,
        skipped=left_out.record(),
        num_seen=left_out.images.num_rows,
        neutral=neutral, robustness=robustness, detector=detector, images=_images_digest(rows),
        protocols=[one for data in sets for one in data.coverage],
    )  # fmt: skip
    _report(run, folder, predictions, compute_evaluation(predictions, context), tables)
    return folder


def _report(
    run: RunFolder, folder: Path, predictions: pa.Table, evaluation: Evaluation,
    tables: Mapping[str, pa.Table],
) -> None:  # fmt: skip
    """Write the report, show it on the run's boards, and its metrics in the terminal."""
    images = mistake_images(evaluation.mistakes)
    extras = ReportExtras(read_epochs(run.metrics), tables, images)
    write_report(folder, predictions, evaluation, extras)
    with reopened_boards(run) as boards:
        log_mistakes(run, folder.name, evaluation.mistakes, images, boards)
        for board in boards:
            board.log_report(folder.name, evaluation.metrics, folder / "report.html")
    show(Console(), folder, evaluation)


def _select_rows(
    run: RunFolder, task: Task, sets: Sequence[DataSet], config: EvaluateConfig, own: bool
) -> tuple[pa.Table, pa.Table, LeftOut]:
    """Return the rows to score, those that cannot be read, and what was left out as seen.

    The rows to score have the digests of their files as `content`. `own` says that the run's own
    images are asked for.
    """
    parts = [_rows_of(run, task, data, config) for data in sets]
    found, statistics, unreadable = map(concat_tables, zip(*parts, strict=True))
    found = found.append_column("content", statistics["content"])
    of_training = config.split in ("train", "val")
    if own and of_training:
        return found, unreadable, LeftOut()
    left_out = leave_out_seen(run, found, statistics, of_training)
    kept = pc.invert(pc.is_in(found["path"], left_out.images["path"].combine_chunks()))
    return found.filter(kept), unreadable, left_out


def _subgroups(rows: pa.Table, wanted: Sequence[str] | None) -> list[str]:
    """Return the further columns to break the metrics down by: those wanted, or all there are."""
    there = [name for name in subgroups_of(rows) if name != "content"]
    if wanted is None:
        return there
    if missing := [name for name in wanted if name not in there]:
        raise FaceproofError(
            f"subgroups names {missing[0]}, which is no column of these images; found "
            f"{', '.join(there) or 'none'}. An image table has them: evaluate by data=table "
            "data.file=FILE, or data=prepared data.root=FOLDER, or train on it with data.subgroups"
        )
    return list(wanted)


def _images_digest(rows: pa.Table) -> str:
    """Return a digest of paths and bytes of images, in whatever order they are."""
    ordered = rows.select(["path", "content"]).sort_by("path").to_pydict()
    pairs = zip(ordered["path"], ordered["content"], strict=True)
    return key_of(part for pair in pairs for part in pair)


def _rows_of(
    run: RunFolder, task: Task, data: DataSet, config: EvaluateConfig
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the readable rows of a split, the statistics of their files, and the other rows."""
    if data.task != task:
        raise FaceproofError(
            f"{run.path} was trained for the task {task.name} and data set {data.name} is of "
            f"the task {data.task.name}"
        )
    split = config.split
    rows = data.table if split in ("all", HELD_OUT) else select(data.table, split)
    if rows.num_rows == 0:
        raise FaceproofError(
            f"data set {data.name} has no images in the split {split!r}; found "
            f"{describe_counts(data.table)}; set split=train, val, test, unlabelled or all"
        )
    if config.frames is not None:
        rows = evenly_spaced(rows, config.frames)
    statistics = file_statistics_of(rows, _look(config))
    readable, unreadable = readable_rows(replace(data, table=rows), stats=statistics)
    known = statistics.filter(pc.is_null(statistics["reason"]))
    return readable, known.select(["content", "look"]), unreadable


def _look(config: EvaluateConfig) -> Look | None:
    """Return what looks at the files; None for this machine. No worker needs a GPU for it."""
    if config.engine == LOCAL:
        return None
    return look_on_ray(config.engine, replace(config.cluster, gpus_per_worker=0))


def _operating_point(run: RunFolder, task: Task, config: EvaluateConfig) -> OperatingPoint:
    """Return the run's operating point, or one for another criterion or another unsure band.

    What is other is fitted to the run's validation.
    """
    run.require(run.operating_point, run.validation)
    stored, threshold = read_operating_point(run), config.requested_threshold()
    if threshold is not None:
        if not config.other_band:
            threshold = replace(threshold, max_risk=stored.max_risk)
        return fit_to_validation(read_predictions(run.validation), task, threshold)
    if config.other_band:
        max_risk = config.threshold["max_risk"]
        return with_other_band(stored, read_predictions(run.validation), task, max_risk)
    return stored


def _video_point(
    run: RunFolder, task: Task, config: EvaluateConfig, point: OperatingPoint
) -> VideoPoint | None:
    """Return how the run judges videos, for the images' operating point that is used.

    The rule stays the run's own. A run of an older version has none, and gets one with another
    criterion alone.
    """
    stored, other = read_video_point(run), config.requested_threshold()
    if other is None and (stored is None or not config.other_band):
        return stored
    predictions = calibrated(read_predictions(run.validation), point.calibration)
    if other is not None:
        other = replace(other, max_risk=point.max_risk)
        rule = VideoConfig(stored.rule if stored else "auto")
        found = fit_video_point(predictions, task, other, rule, point.threshold)
        return replace(found, reason=stored.reason) if found and stored else found
    assert stored is not None
    max_risk = point.max_risk
    return with_other_video_band(stored, predictions, task, max_risk, point.threshold)


def _score_corrupted(
    config: EvaluateConfig,
    predict: Callable[[Corruption | None], pa.Table],
    plain: pa.Table,
    task: Task,
    threshold: float,
) -> tuple[Neutral | None, Sequence[CorruptionRow], dict[str, pa.Table]]:
    """Score the images corrupted; return what that changes, and the predictions tables."""
    tables: dict[str, pa.Table] = {}
    found, rows = None, list[CorruptionRow]()
    neutral, robustness = _corruptions(config)
    if neutral is not None:
        tables["neutral"] = predict(neutral)
        kind, level = neutral.kind, neutral.level
        found = compare_neutral(plain, tables["neutral"], kind, level, task, threshold)
        words = [neutral_verdict(found), *neutral_changes(found, task)]
        severity = logging.INFO if found.answers == "hold" else logging.WARNING
        log.log(severity, "with both classes encoded alike: %s", "\n".join(words))
    if robustness:
        rows.append(corruption_row("none", 0, plain, task, threshold))
        parts = []
        for corruption in robustness:
            scored = predict(corruption)
            kind, level = corruption.kind, corruption.level
            rows.append(corruption_row(kind, level, scored, task, threshold, plain))
            name = pa.array([str(corruption)] * scored.num_rows)
            parts.append(scored.append_column("corruption", name))
        tables["robustness"] = concat_tables(parts)
    return found, rows, tables


def _training(run: RunFolder, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report says of the training, as fields of its context."""
    trained = [one.run for one in read_ensemble(run).members] if is_ensemble(run) else [run]
    return {
        "record": training_record(run),
        "commands": tuple(record.get("commands") or ()),
        "best_epoch": record.get("best_epoch"),
        "limits": list(dict.fromkeys(limit for one in trained for limit in limits_of(one))),
        "shortcuts": list(
            dict.fromkeys(text for one in trained for text in shortcuts_of(one.read_record()))
        ),
    }


def limits_of(run: RunFolder) -> list[str]:
    """Return the settings that cut a training short of its epochs."""
    trainer = run.read_config().get("trainer")
    held = trainer if isinstance(trainer, Mapping) else {}
    return [
        f"trainer.{name}={value}"
        for name, whole in WHOLE.items()
        if (value := held.get(name)) is not None
        and (type(value), value) != (type(whole), whole)
        and not (name in OFF_AT_0 and not value)
    ]


def shortcuts_of(record: Mapping[str, Any]) -> list[str]:
    """Return what the audit found of shortcuts beyond their limits, as sentences to go on with."""
    findings = [str(finding).split(": ", 2) for finding in record.get("audit") or ()]
    return [parts[2] for parts in findings if parts[0] == "shortcut" and len(parts) == 3]
