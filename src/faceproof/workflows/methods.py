"""What the settings choose for a training beside its loss, made; a teacher is read as data."""

import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from faceproof.artifact.artifact import is_artifact, read_card, read_network
from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.seen import read_seen
from faceproof.augment.autoencoder import read_autoencoder
from faceproof.augment.mixing import Mix, cutmix, mixup
from faceproof.data.model_input import fit_image
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.ensemble import combine
from faceproof.io.run_folder import RunFolder
from faceproof.models.adapters import merged_weights
from faceproof.models.detector import RESIZE, Detector
from faceproof.models.weights import load_network
from faceproof.task import Task
from faceproof.training.config import TrainConfig
from faceproof.training.method_config import CutMixConfig, DistillConfig, MixConfig
from faceproof.training.methods import Distillation, Methods
from faceproof.training.sharpness import Sharpness
from faceproof.workflows.ensemble import is_ensemble, read_ensemble

log = logging.getLogger(__name__)


@dataclass
class Teacher:
    """One network, or an ensemble, that answers on the images of another network.

    Attributes:
        nets: each brings images to the size that it was trained with, and normalises them itself.
        calibrations: of an ensemble's networks.
        weights: likewise.
        average: what an ensemble averages; None of one network.
        task: the name of what it answers.
        digest: of what decides the answers.
        seen: the file of the images that it was trained on or chosen by; None where it has none.
    """

    nets: Sequence[Detector]
    calibrations: Sequence[Calibration]
    weights: Sequence[float]
    average: str | None
    task: str
    digest: str
    seen: Path | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits, (B,), of (B, 3, S, S) in [0, 1]."""
        logits = [self._answer(net, images) for net in self.nets]
        if self.average is None:
            return logits[0]
        known = [one.double().cpu().numpy() for one in logits]
        combined = combine(known, self.calibrations, self.weights, self.average)
        return torch.from_numpy(combined).to(logits[0])

    def _answer(self, net: Detector, images: Tensor) -> Tensor:
        if net.input_mean.device != images.device:
            net.to(images.device)
        fitted = fit_image(images, net.input.size, net.input.interpolation)
        return net(fitted.clamp(0, 1))  # type: ignore[no-any-return]


def read_teacher(config: DistillConfig) -> Teacher:
    """Return the detector of a run, of an ensemble's run, or of an artifact, in eval mode.

    Raises:
        FaceproofError: the folder is none of these.
    """
    path = Path(config.teacher)
    run = None if is_artifact(path) else RunFolder(path)
    found = _of_artifact(path) if run is None else _of_run(run)
    found.seen = run.seen if run is not None and run.seen.is_file() else None
    for net in found.nets:
        net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return found


def _of_run(run: RunFolder) -> Teacher:
    if not (is_ensemble(run) or run.best.is_file()):
        raise FaceproofError(
            f"distill.teacher = {run.path} is neither a run (no best.ckpt in it) nor a detector "
            "artifact (no card.json); name a folder that faceproof train, ensemble or export wrote"
        )
    with run.unchanged() as digest:
        if is_ensemble(run):
            ensemble = read_ensemble(run)
            members, average = ensemble.members, ensemble.average
            nets = [load_network(one.run) for one in members]
            calibrations, weights = zip(*((m.calibration, m.weight) for m in members), strict=True)
            tasks = {str(one.run.read_config()["data"].get("task")) for one in members}
            task = " and ".join(sorted(tasks))
            return Teacher(nets, calibrations, weights, average, task, digest)
        task = str(run.read_config()["data"].get("task"))
        return Teacher([load_network(run)], [], [], None, task, digest)


def _of_artifact(folder: Path) -> Teacher:
    card = read_card(folder)
    if card.gate is not None:
        raise FaceproofError(
            f"distill.teacher = {folder} is a cascade of a gate and a detector; name its detector"
        )
    networks = card.detector.networks
    nets = [read_network(folder, one) for one in networks]
    digest = hashlib.sha256(json.dumps(card.to_json(), sort_keys=True).encode()).hexdigest()
    calibrations = [one.calibration for one in networks]
    weights = [one.weight for one in networks]
    average = card.detector.average
    return Teacher(nets, calibrations, weights, average, card.task.name, digest)


def check_teacher(teacher: Teacher, task: Task, recorded: str | None) -> None:
    """Refuse a teacher of another task or of crops, or another than a resumed run has recorded.

    Raises:
        FaceproofError: it is one of these.
    """
    if teacher.task != task.name:
        raise FaceproofError(
            f"distill.teacher was trained for the task {teacher.task}, and this training is for "
            f"{task.name}; name a teacher of the same task"
        )
    for given in (net.input for net in teacher.nets):
        if (given.mode, given.tta) != (RESIZE, "none"):
            raise FaceproofError(
                f"distill.teacher judges images by model.input.mode={given.mode} with "
                f"tta={given.tta}, and in a training it is given what the network sees, once, "
                "resized to its own size: its answers would be others than those that were "
                f"measured; name a teacher of mode={RESIZE} and tta=none"
            )
    if recorded not in (None, teacher.digest):
        raise FaceproofError(
            "distill.teacher holds another detector than when this run began; put the first one "
            "back, or train anew"
        )


def check_unseen(teacher: Teacher, listed: pa.Table, kept: pa.Table) -> dict[str, Any]:
    """Refuse a teacher that has seen what the training leaves out; return what to record of it.

    Its answers would tell the network of those images. What an artifact has seen is not known: it
    holds no list of its images. Nothing is recorded where nothing is left out.

    Args:
        teacher: as `read_teacher` returns it.
        listed: the image table, with what is left out.
        kept: the same without that.

    Raises:
        FaceproofError: the teacher is a run that was trained on or chosen by images left out.
    """
    if listed.num_rows == kept.num_rows:
        return {}
    if teacher.seen is None:
        log.warning(
            "what distill.teacher was trained on is not known: if it has seen what leave_out "
            "leaves out, that is no stranger to this network either; name the teacher's run to "
            "have it looked up"
        )
        return {"teacher_saw_left_out": None}
    seen = read_seen(teacher.seen)
    left = listed.filter(pc.invert(pc.is_in(listed["path"], kept["path"].combine_chunks())))
    known = pc.is_in(left["path"], seen["path"].combine_chunks())
    if not pc.any(known).as_py():  # under other names
        content = file_statistics_of(left)["content"]
        known = pc.is_in(content, seen["content"].combine_chunks(), skip_nulls=True)
    if number := pc.sum(known).as_py():
        first = left["path"].filter(known)[0].as_py()
        raise FaceproofError(
            f"distill.teacher was trained on or chosen by {number:,} of the {left.num_rows:,} "
            f"images that leave_out leaves out, {first} for one, so that they would be no "
            "strangers to this network; train the teacher with the same leave_out"
        )
    return {"teacher_saw_left_out": False}


def check_autoencoder(file: str | None, recorded: str | None) -> dict[str, Any]:
    """Refuse an autoencoder that cannot be read; return what to record of it.

    Args:
        file: `synthesis.autoencoder`; None for none.
        recorded: what a resumed run has recorded of it.

    Raises:
        FaceproofError: it cannot be read, or is another than when a resumed run began.
    """
    if file is None:
        return {}
    digest = read_autoencoder(Path(file)).digest
    if recorded not in (None, digest):
        raise FaceproofError(
            f"synthesis.autoencoder = {file} is another file than when this run began; put the "
            "first one back, or train anew"
        )
    return {"autoencoder": digest}


def make_methods(net: Detector, config: TrainConfig, teacher: Teacher | None) -> Methods:
    """Return what the settings choose for the training of a network."""
    rho, distill = config.optimizer.sam_rho, config.distill
    return Methods(
        mix=None if config.mix is None else _make_mix(config.mix),
        sharpness=None if rho is None else Sharpness(net, rho),
        distillation=None if teacher is None or distill is None else
        Distillation(teacher, distill.temperature, distill.weight),
        merge=None if config.adapter is None else functools.partial(merged_weights, net),
    )  # fmt: skip


def _make_mix(config: MixConfig) -> Mix:
    mix = cutmix if isinstance(config, CutMixConfig) else mixup
    return functools.partial(mix, alpha=config.alpha)
