"""The last step of a training: calibration, threshold and unsure band, fitted on validation."""

import contextlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from faceproof.data.image_io import Pixels
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.mistakes import Mistakes, find_mistakes
from faceproof.evaluation.operating_point import (
    OperatingPoint,
    ThresholdConfig,
    fit_to_validation,
)
from faceproof.evaluation.point_check import check_point
from faceproof.evaluation.predictions import (
    label_numbers,
    predictions_table,
    probabilities_of,
    sigmoid,
    write_predictions,
)
from faceproof.evaluation.video_point import VideoConfig, fit_video_point
from faceproof.inference.scoring import score
from faceproof.io.run_folder import RunFolder
from faceproof.models.detector import Detector
from faceproof.models.weights import load_best
from faceproof.reports.image_grid import mistake_images, mistakes_plot
from faceproof.task import Task


def store_operating_point(
    run: RunFolder, net: Detector, val: pa.Table, task: Task, threshold: ThresholdConfig,
    num_workers: int | str = "auto", writer: Any = None, video: VideoConfig | None = None,
) -> str:  # fmt: skip
    """Score validation with the best epoch and store the run's calibration and threshold.

    The validation scores stay with the run, so that another threshold can be fitted later without
    any test image. `writer` is the run's own of TensorBoard, if it is open. `video` says how a
    verdict on a video is made; see `video_point`. Returns what the detector does on validation, in
    a sentence for people.
    """
    with run.unchanged():
        load_best(run, net)
        logits = score(net, val, task, num_workers=num_workers)
    point = fit_to_validation(predictions_table(val, logits, sigmoid(logits)), task, threshold)
    predictions = predictions_table(val, logits, point.calibration.apply(logits))
    write_predictions(predictions, run.validation)
    how = fit_video_point(predictions, task, threshold, video or VideoConfig(), point.threshold)
    run.write_operating_point(point.to_json(), None if how is None else how.to_json())
    mistakes = find_mistakes(predictions, task, point.threshold)
    log_mistakes(run, "validation", mistakes, writer=writer)
    return verdict(predictions, task, point)


def verdict(predictions: pa.Table, task: Task, point: OperatingPoint) -> str:
    """Return what a detector does on validation, in a sentence for people."""
    area = measure(predictions, task, point.threshold)["roc_auc"]
    labels, units = label_numbers(predictions, task), unit_codes(predictions)
    check = check_point(labels, probabilities_of(predictions), units, point)
    parts = ["ROC-AUC undefined" if area is None else f"ROC-AUC {area:.3f}"]
    if check.in_use is not None:
        parts.append(f"in use {check.in_use}")
    said = "; ".join(parts)
    return (
        f"{said}; measured on the {predictions.num_rows:,} validation images that also chose the "
        "best epoch, so it is optimistic: evaluate on test images"
    )


def log_mistakes(
    run: RunFolder,
    name: str,
    mistakes: Mapping[str, Mistakes],
    images: Mapping[str, Pixels] | None = None,
    writer: Any = None,
) -> None:
    """Add the mistakes to the run's TensorBoard images at its best epoch, if it logs there.

    `name` is part of the images' tags; `images` are those of the mistakes, if they were read;
    `writer` is TensorBoard's, if one is open, else another file is begun.
    """
    if not any(run.path.glob("events.*")):
        return
    from torch.utils.tensorboard import SummaryWriter

    if images is None:
        images = mistake_images(mistakes)
    step = run.read_record().get("best_epoch") or 0
    with SummaryWriter(run.path) if writer is None else contextlib.nullcontext(writer) as writer:
        for direction, found in mistakes.items():
            if (figure := mistakes_plot(direction, found, images)) is not None:
                tag = f"mistakes/{name}/{direction}".replace(" ", "_")
                writer.add_figure(tag, figure, step)
