"""The story of `faceproof report`: a table of scores of any detector, reported as a run's are.

Read the scores, fix calibration, threshold and unsure band on validation where there is any,
compute every number, and write the page. Nothing here imports torch.
"""

import logging
from collections import Counter
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from faceproof.data.image_io import Pixels
from faceproof.data.subgroups import refuse_missing_subgroups
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import calibrated
from faceproof.evaluation.evaluation_result import Evaluation, EvaluationContext, evaluate
from faceproof.evaluation.mistakes import shown_paths
from faceproof.evaluation.operating_point import ThresholdConfig, fit_to_validation
from faceproof.evaluation.path_matching import shared_paths
from faceproof.evaluation.predictions import labelled_rows
from faceproof.evaluation.score_table import (
    ScoreFormat,
    ScoreTable,
    meanings,
    read_scores,
    refuse_unused,
    reported_split,
)
from faceproof.evaluation.scored_tables import (
    UNTUNED,
    data_name,
    origin_of,
    refuse_shared_groups,
    validation_rows,
)
from faceproof.evaluation.video_point import VideoConfig, fit_video_point
from faceproof.io.folders import from_here
from faceproof.reports.image_grid import mistake_images
from faceproof.reports.report import ReportExtras, write_report
from faceproof.reports.report_terminal import show
from faceproof.task import get_task
from faceproof.workflows.report_config import ReportConfig

log = logging.getLogger(__name__)


def report(config: ReportConfig) -> Path:
    """Report the scores of a table, and return the folder of the report.

    Raises:
        FaceproofError: a table cannot be read, or has rows that cannot be used.
    """
    how, task = score_format(config), get_task(config.task)
    table = read_scores(config.scores, how, config.images)
    refuse_missing_subgroups(config.subgroups, table.columns, str(config.images or config.scores))
    if table.left_out:
        log.warning(
            "%s: nothing reads the columns %s; --subgroups NAME tells the metrics by one",
            config.scores, ", ".join(table.left_out),
        )  # fmt: skip
    tables = [table]
    if config.validation is not None:
        tables.append(read_scores(config.validation, how, config.images))
    refuse_unused(how, tables)
    predictions, validation, split = _divided(config, *tables)
    for name, rows in (("", predictions), (" of validation", validation)):
        if rows is not None and not labelled_rows(rows).num_rows:
            raise FaceproofError(
                f"no image{name} in {config.scores} has a label: say which column has them by "
                "--columns.NAME=label, or give a table that has them by --images"
            )
    point, video = None, None
    if validation is not None:
        known = labelled_rows(validation)
        point = fit_to_validation(known, task, config.threshold)
        predictions = calibrated(predictions, point.calibration)
        fitted = calibrated(known, point.calibration)
        video = fit_video_point(fitted, task, config.threshold, VideoConfig(), point.threshold)
    name, data = config.name or config.scores.stem, data_name(predictions)
    context = EvaluationContext(
        title=name if data == config.scores.name else f"{name} on {data}",
        task=task, run=from_here(config.scores), model=name, data=data, split=split,
        threshold=UNTUNED if point is None else point.threshold,
        threshold_origin=origin_of(point), operating_point=point, video_point=video,
        skipped=_left_out(table, split), scores=_in_words(table.kind, how),
    )  # fmt: skip
    evaluation = evaluate(predictions, context)
    images = _images(evaluation, config.scores.parent)
    write_report(config.out, predictions, evaluation, ReportExtras(images=images))
    show(Console(), config.out, evaluation)
    return config.out


def score_format(config: ReportConfig) -> ScoreFormat:
    """Return how the tables are read."""
    return ScoreFormat(
        config.task, config.score, config.score_of, meanings(config.columns),
        meanings(config.labels), meanings(config.splits), config.subgroups,
    )  # fmt: skip


def _divided(
    config: ReportConfig, table: ScoreTable, other: ScoreTable | None = None
) -> tuple[pa.Table, pa.Table | None, str]:
    """Return the predictions to report, those of validation, if any, and the split's name."""
    split = reported_split(table)
    validation = validation_rows(table, split)
    if other is not None:
        if validation is not None:
            raise FaceproofError(
                f"{table.file} has rows of the split val, and --validation {other.file} gives "
                "others; leave one out"
            )
        validation = _validation_of(other)
        _refuse_shared(table.part(split), table.file, validation, other.file)
    if validation is None and config.threshold != ThresholdConfig():
        raise FaceproofError(
            "--threshold says how a threshold is fixed on validation, and there are no scores of "
            "validation: give them by --validation, or as rows of the split val"
        )
    return table.part(split), validation, split or "all"


def _validation_of(table: ScoreTable) -> pa.Table:
    """Return what a table has of validation: its rows of the split val, or all without splits."""
    splits = Counter(table.split)
    if set(splits) <= {None}:
        return table.predictions
    if "val" not in splits:
        found = ", ".join(
            f"{name or 'none'} ({splits[name]:,})" for name in sorted(splits, key=str)
        )
        raise FaceproofError(
            f"--validation {table.file} has a column of splits and no row of val in it; found "
            f"{found}: say which one is validation by --splits.WORD=val, or leave the column out "
            "by --columns.split=null"
        )
    return table.part("val")


def _refuse_shared(ours: pa.Table, file: Path, theirs: pa.Table, other: Path) -> None:
    """Refuse images and groups of validation, `theirs`, that are reported too."""
    paths = [one["path"].to_pylist() for one in (theirs, ours)]
    shared = shared_paths(paths[0], other.parent, paths[1], file.parent)
    if shared:
        raise FaceproofError(
            f"{len(shared):,} images are in both {file} and {other}, {shared[0]} for "
            "one; a threshold that is fixed on the images it is measured on says nothing of others"
        )
    refuse_shared_groups(ours, theirs, f"{file} and {other}")


def _images(evaluation: Evaluation, folder: Path) -> dict[str, Pixels]:
    """Return small copies of the mistakes' images, if they are on this machine at all."""
    paths = shown_paths(evaluation.mistakes.values())
    if not any((folder / path).is_file() for path in paths):
        return {}
    return mistake_images(evaluation.mistakes, folder)


def _in_words(kind: str, how: ScoreFormat) -> str:
    """Say what the scores are."""
    names = {"probability": "probabilities", "percent": "percentages", "logit": "logits"}
    return f"{names[kind]} of {how.score_of or get_task(how.task).positive}, as the table has them"


def _left_out(table: ScoreTable, split: str) -> dict[str, str | int]:
    """Return how many rows are not reported, by the reason in words."""
    counts = Counter(table.split)
    found: dict[str, str | int] = {
        f"Of the split {name}, not reported": number
        for name, number in counts.items()
        if name is not None and name not in (split, "val") and split != "all"
    }
    if split != "all" and counts[None]:
        found["Without a split, not reported"] = counts[None]
    if table.num_left_out:
        found["Left out by a word that means null"] = table.num_left_out
    return found
