"""Scores images with one or several networks, and turns scores into verdicts.

Knows tensors and numbers alone; `predictor` builds it from an artifact and feeds it images.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceproof.data.model_input import Fit, average_logits, fit_of, to_unit
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.ensemble import combine
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import Scores, check_scores, is_positive
from faceproof.evaluation.reliability import unsure_flags
from faceproof.evaluation.video_point import VideoPoint
from faceproof.models.detector import Detector
from faceproof.task import Task

UNSURE = "unsure"
NO_FACE = "no face"

# A batch of images for each way in which networks want them, (B, 3, S, S) uint8; (B, N, 3, S, S)
# of N tiles of each image.
Fitted = dict[Fit, Tensor]


class Network(Protocol):
    """One network, whatever runs it."""

    fit: Fit

    def __call__(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return the logits, (B,), of (B, 3, S, S) uint8; of tiles, (B, N, 3, S, S), the means."""


class TorchNetwork:
    """A network that PyTorch runs, in float32."""

    def __init__(self, net: Detector, device: torch.device) -> None:
        self.fit = fit_of(net.input)
        self.device = device
        self.net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return the logits, (B,), as `average_logits` has them."""
        images = images.to(self.device, non_blocking=True)
        tta = self.net.input.tta
        logits = average_logits(lambda view: self.net(to_unit(view)), images, tta)
        return np.asarray(logits.float().cpu().numpy())


@dataclass(frozen=True)
class Verdict:
    """The verdict on one image.

    Attributes:
        verdict: a class, `unsure` where the probability lies in the unsure band, or `no face` where
            the gate of a cascade finds none.
        called: the class by the threshold alone, as an evaluation counts it; or `no face`.
        probability: calibrated, of the task's positive class; None where there is no face.
        logit: the raw score; None where there is no face.
        threshold: an image is called positive from this probability on.
        gate_probability: of a face, by the gate of a cascade; None without a gate.

    Examples:
        >>> import faceproof as fp
        >>> verdict = fp.load("detector")("image.jpg")
        >>> verdict.verdict in ("real", "fake", "unsure"), 0 <= verdict.probability <= 1
        (True, True)
    """

    verdict: str
    called: str
    probability: float | None
    logit: float | None
    threshold: float
    task: str
    gate_probability: float | None = None

    def to_json(self) -> dict[str, str | float | None]:
        """Return the verdict as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Member:
    """A network of a scorer, with its weight and calibration in an ensemble."""

    network: Network
    weight: float = 1.0
    calibration: Calibration = field(default_factory=Calibration)


@dataclass(frozen=True)
class Scorer:
    """One network, or the networks of an ensemble, with an operating point.

    Attributes:
        point: calibration, threshold and unsure band.
        members: one network, or those of an ensemble.
        average: what an ensemble averages, `probability` or `logit`; None for one network.
        video: how the answers on frames become one on a video, where that was fitted.
    """

    task: Task
    point: OperatingPoint
    members: Sequence[Member]
    average: str | None = None
    video: VideoPoint | None = None

    def score(self, fitted: Fitted) -> Scores:
        """Return the logits, (B,) float64, of images resized for each network.

        Raises:
            ScoreError: a network gave something that is no score.
        """
        networks = [member.network for member in self.members]
        batches = [(one, fitted[one.fit]) for one in networks]
        logits = [check_scores(one(images), len(images)) for one, images in batches]
        if self.average is None:
            return logits[0]
        calibrations = [member.calibration for member in self.members]
        weights = [member.weight for member in self.members]
        combined = combine(logits, calibrations, weights, self.average)
        return check_scores(combined, len(logits[0]), "the ensemble")

    def probabilities(self, logits: Scores) -> Scores:
        """Return the calibrated probabilities, (B,), rounded as a predictions table stores them.

        Raises:
            ScoreError: the calibration makes no finite number of a logit.
        """
        rounded = self.point.calibration.apply(logits).astype(np.float32)
        return check_scores(rounded, len(logits), "the calibration")

    def judge(self, logits: Scores) -> list[Verdict]:
        """Return the verdicts from logits, (B,)."""
        probabilities, threshold = self.probabilities(logits), self.point.threshold
        positive = is_positive(probabilities, threshold)
        unsure = unsure_flags(probabilities, self.point.unsure)
        verdicts = []
        rows = zip(positive, unsure, probabilities.tolist(), logits.astype(np.float32), strict=True)
        for is_fake, is_unsure, probability, logit in rows:
            called = self.task.classes[int(is_fake)]
            verdict = UNSURE if is_unsure else called
            verdicts.append(
                Verdict(verdict, called, probability, float(logit), threshold, self.task.name)
            )
        return verdicts
