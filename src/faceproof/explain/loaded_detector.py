"""Load the detector to explain, and read images in the form its network expects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from faceproof import lookup
from faceproof.artifact.artifact import read_card, read_network
from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.data.model_input import fit_image, fit_of
from faceproof.errors import FaceproofError
from faceproof.evaluation.operating_point import OperatingPoint, read_operating_point
from faceproof.evaluation.predictions import check_scores
from faceproof.explain.config import EFFORTS, THOROUGH, Effort
from faceproof.explain.faithfulness import Images, Values
from faceproof.io.run_folder import RunFolder
from faceproof.models.cost import count_multiply_adds
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.devices import pick_device
from faceproof.models.weights import load_network
from faceproof.task import Task, get_task

BATCH = 64


@dataclass(frozen=True)
class Subject:
    """A detector to explain, of a run or of an artifact.

    `point` is calibration and threshold; `digest` is of what decides its answers.
    """

    net: Detector
    task: Task
    point: OperatingPoint
    name: str
    run: RunFolder | None = None
    digest: str = ""

    @torch.inference_mode()
    def logits(self, images: Images) -> Values:
        """Return the logits (N,) of images (N, 3, S, S) in [0, 1].

        Raises:
            ScoreError: one is not finite.
        """
        net, place = self.net.eval(), self.net.input_mean.device
        batch = torch.from_numpy(images)
        parts = (batch[start : start + BATCH] for start in range(0, len(batch), BATCH))
        found = [net(part.to(place)).double().cpu().numpy() for part in parts]
        return check_scores(np.concatenate(found) if found else np.zeros(0), len(images))

    def probabilities(self, images: Images) -> Values:
        """Return the calibrated probabilities of the positive class, (N,)."""
        return self.point.calibration.apply(self.logits(images))

    def effort(self, name: str) -> Effort:
        """Return the effort of that name; `auto` is the largest that suits network and device."""
        if name in EFFORTS:
            return EFFORTS[name]
        if self.net.input_mean.device.type != "cpu":
            return THOROUGH
        work = count_multiply_adds(self.net) / 1e9
        return next(effort for effort in EFFORTS.values() if work <= effort.most)


def refuse_means(input: ImageInput) -> None:
    """Refuse to explain answers that are means over several crops or mirror images of an image."""
    if input.num_passes > 1:
        raise FaceproofError(
            f"this detector answers by the mean over {input.num_passes} views of an image (it was "
            f"trained with model.input.mode={input.mode} and model.input.tta={input.tta}), and a "
            "map shows what the answer on a single one rests on; explain a detector of "
            "model.input.mode=resize or crop, with model.input.tta=none"
        )


def load_subject(path: Path, device: str, allow: Sequence[str] = ()) -> Subject:
    """Return the detector of a run folder or of an artifact, on a torch device or `auto`.

    `allow` are modules of the user's own code that it may name; see `faceproof.lookup`.

    Raises:
        FaceproofError: the path is neither, or it cannot be loaded.
    """
    lookup.allow(allow)
    run = RunFolder(path)
    if run.best.is_file():
        subject = _load_run(run)
    elif (path / "card.json").is_file():
        subject = _load_artifact(path)
    elif (path / "ensemble.json").is_file():
        raise FaceproofError(f"{path} is an ensemble, and a map is of one network; name a member")
    else:
        raise FaceproofError(
            f"{path} is neither a run (no best.ckpt in it) nor a detector artifact (no "
            "card.json); name a folder that faceproof train or faceproof export has written"
        )
    # Channels last, as in scoring, halves the time of convolutions on a CPU.
    subject.net.eval().to(pick_device(device)).to(memory_format=torch.channels_last)
    return subject


def _load_run(run: RunFolder) -> Subject:
    run.require(run.config, run.operating_point)
    with run.unchanged() as digest:
        config, net = run.read_config(), load_network(run)
        point = read_operating_point(run)
    task, name = get_task(config["data"].get("task")), run.path.resolve().name
    return Subject(net, task, point, name, run, digest)


def _load_artifact(folder: Path) -> Subject:
    card = read_card(folder)
    if card.kind != "detector":
        raise FaceproofError(
            f"{folder} is {card.kind} of several networks, and a map is of one; name the artifact "
            "or the run of one of them"
        )
    net = read_network(folder, card.networks[0])
    task, point = get_task(card.task.name), card.detector.operating_point
    return Subject(net, task, point, card.name, digest=card.networks[0].weights.sha256)


def read_images(paths: Sequence[str], expected: ImageInput) -> Images:
    """Read image files in the form a network expects, (N, 3, S, S) float32 in [0, 1].

    Where images are cropped, it is the crop in the middle.

    Raises:
        FaceproofError: one cannot be read.
    """
    images = np.empty((len(paths), 3, expected.size, expected.size), np.float32)
    for row, path in enumerate(paths):
        try:
            fitted = fit_image(read_image(path), *fit_of(expected, tiles=False))
        except UnreadableImageError as error:
            raise FaceproofError(f"{path} cannot be explained: {error}") from error
        images[row] = fitted.float().div(255).numpy()
    return images
