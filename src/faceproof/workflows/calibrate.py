"""The last step of a training: calibration, threshold and unsure band, fitted on validation."""

from collections.abc import Mapping

import pyarrow as pa

from faceproof.data.image_io import Pixels
from faceproof.evaluation.mistakes import Mistakes, find_mistakes
from faceproof.evaluation.operating_point import ThresholdConfig, fit_to_validation
from faceproof.evaluation.predictions import predictions_table, sigmoid, write_predictions
from faceproof.inference.scoring import score
from faceproof.io.run_folder import RunFolder
from faceproof.models.detector import Detector
from faceproof.models.weights import load_best
from faceproof.reports.image_grid import mistake_images, mistakes_plot
from faceproof.task import Task


def store_operating_point(
    run: RunFolder, net: Detector, val: pa.Table, task: Task, threshold: ThresholdConfig,
    num_workers: int | str = "auto",
) -> None:  # fmt: skip
    """Score validation with the best epoch and store the run's calibration and threshold.

    The validation scores stay with the run, so that another threshold can be fitted later without
    any test image.
    """
    with run.unchanged():
        load_best(run, net)
        logits = score(net, val, task, num_workers=num_workers)
    point = fit_to_validation(predictions_table(val, logits, sigmoid(logits)), task, threshold)
    predictions = predictions_table(val, logits, point.calibration.apply(logits))
    write_predictions(predictions, run.validation)
    run.write_operating_point(point.to_json())
    log_mistakes(run, "validation", find_mistakes(predictions, task, point.threshold))


def log_mistakes(
    run: RunFolder,
    name: str,
    mistakes: Mapping[str, Mistakes],
    images: Mapping[str, Pixels] | None = None,
) -> None:
    """Add the mistakes to the run's TensorBoard images at its best epoch, if it logs there.

    `name` is part of the images' tags; `images` are those of the mistakes, if they were read.
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
