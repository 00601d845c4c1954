"""The last step of a training: calibration, threshold and unsure band, fitted on validation."""

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from faceproof.data.image_io import Pixels
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.mistakes import Mistakes, find_mistakes
from faceproof.evaluation.novelty import NoveltyPoint, find_strange
from faceproof.evaluation.operating_point import (
    OperatingPoint,
    fit_to_validation,
)
from faceproof.evaluation.point_check import check_point
from faceproof.evaluation.predictions import (
    label_numbers,
    logits_of,
    predictions_table,
    probabilities_of,
    sigmoid,
    write_predictions,
)
from faceproof.evaluation.statistics import auc_interval
from faceproof.evaluation.video_point import fit_video_point
from faceproof.io.run_folder import RunFolder
from faceproof.models.detector import Detector
from faceproof.models.weights import load_best
from faceproof.reports.image_grid import mistake_images, mistakes_plot
from faceproof.reports.verdict_warnings import chance_warning
from faceproof.task import Task
from faceproof.training.boards import Board, reopened_boards
from faceproof.training.config import TrainConfig
from faceproof.workflows.novelty import Wanted, score_validation, store_novelty


def store_operating_point(
    run: RunFolder, net: Detector, train: pa.Table, val: pa.Table, task: Task, config: TrainConfig,
    boards: Sequence[Board] | None = None,
) -> tuple[str, list[str]]:  # fmt: skip
    """Score validation with the best epoch and store the run's calibration and threshold.

    With them goes how videos are judged, and what tells that an image is unlike those of training,
    if either is fitted. The validation scores stay with the run, so that another threshold can be
    fitted later without any test image. `boards` are the run's own, if they are open.
    Returns what the detector does on validation, in a sentence for people, and what to warn of.
    """
    rate, workers, threshold = config.novelty.rate, config.loader.num_workers, config.threshold
    wanted = None if rate is None else Wanted(train, rate, net.input.num_passes)
    with run.unchanged():
        load_best(run, net)
        logits, novelties, novelty = score_validation(net, val, task, workers, wanted)
    strange = None
    if wanted is not None and novelty is not None and novelties is not None:
        strange = store_novelty(run, novelty, novelties, wanted)
    point = fit_to_validation(predictions_table(val, logits, sigmoid(logits)), task, threshold)
    predictions = predictions_table(val, logits, point.calibration.apply(logits), novelties)
    write_predictions(predictions, run.validation)
    how = fit_video_point(predictions, task, threshold, config.video, point.threshold)
    of_videos, of_novelty = (None if one is None else one.to_json() for one in (how, strange))
    run.write_operating_point(point.to_json(), of_videos, of_novelty)
    mistakes = find_mistakes(predictions, task, point.threshold)
    log_mistakes(run, "validation", mistakes, boards=boards)
    said = verdict(predictions, task, point, strange)
    return said, warnings(predictions, task, point, None if how is None else how.operating_point)


def verdict(
    predictions: pa.Table, task: Task, point: OperatingPoint, limit: NoveltyPoint | None = None
) -> str:
    """Return what a detector does on validation, in a sentence for people.

    `limit` is from which novelty on an image is strange, if that was fitted.
    """
    area = measure(predictions, task, point.threshold)["roc_auc"]
    labels, units = label_numbers(predictions, task), unit_codes(predictions)
    strange = None if limit is None else find_strange(predictions, limit)
    check = check_point(labels, probabilities_of(predictions), units, point, strange)
    parts = ["ROC-AUC undefined" if area is None else f"ROC-AUC {area:.3f}"]
    if check.in_use is not None:
        parts.append(f"in use {check.in_use}")
    said = "; ".join(parts)
    return (
        f"{said}; measured on the {predictions.num_rows:,} validation images that also chose the "
        "best epoch, so it is optimistic: evaluate on test images"
    )


def warnings(
    predictions: pa.Table, task: Task, point: OperatingPoint, of_videos: OperatingPoint | None
) -> list[str]:
    """Return in sentences what makes the result on validation less than it seems."""
    units, logits = unit_codes(predictions), logits_of(predictions)
    fake, interval = label_numbers(predictions, task) == 1, None
    if len(np.unique(units)) >= MIN_UNITS:
        interval = auc_interval(logits[fake], logits[~fake], units[fake], units[~fake])
    chance = chance_warning(interval)
    points = [point] if of_videos is None else [point, of_videos]
    return [
        *([] if chance is None else [str(chance)]),
        *(text for one in points for text in one.warnings),
    ]


def log_mistakes(
    run: RunFolder,
    name: str,
    mistakes: Mapping[str, Mistakes],
    images: Mapping[str, Pixels] | None = None,
    boards: Sequence[Board] | None = None,
) -> None:
    """Show the mistakes on the run's boards, such as TensorBoard, at its best epoch.

    `name` is part of the figures' names; `images` are those of the mistakes, if they were read;
    `boards` are those of the run, if they are open, else they are opened again.
    """
    again = reopened_boards(run) if boards is None else contextlib.nullcontext(boards)
    with again as open_boards:
        if not open_boards:
            return
        if images is None:
            images = mistake_images(mistakes)
        step = run.read_record().get("best_epoch") or 0
        for direction, found in mistakes.items():
            if (figure := mistakes_plot(direction, found, images)) is not None:
                tag = f"mistakes/{name}/{direction}".replace(" ", "_")
                for board in open_boards:
                    board.add_figure(tag, figure, step)
