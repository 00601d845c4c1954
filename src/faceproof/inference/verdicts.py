"""Scores images with one or several networks, and turns scores into verdicts.

Knows tensors and numbers alone; `predictor` builds it from an artifact and feeds it images.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceproof.data.model_input import Fit, average_views, fit_of, to_unit
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.ensemble import combine
from faceproof.evaluation.novelty import (
    STRANGE,
    NoveltyPoint,
    combine_novelty,
    strange_flags,
)
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import ScoreError, Scores, check_scores, is_positive
from faceproof.evaluation.reliability import unsure_flags
from faceproof.evaluation.statistics import Interval
from faceproof.evaluation.video_point import VideoPoint
from faceproof.models.detector import Detector
from faceproof.models.novelty import DetectorWithNovelty, Novelty
from faceproof.task import Task

UNSURE = "unsure"
NO_FACE = "no face"
IN_BAND = "the probability lies in the unsure band"

# A batch of images for each way in which networks want them, (B, 3, S, S) uint8; (B, N, 3, S, S)
# of N tiles of each image.
Fitted = dict[Fit, Tensor]


class Network(Protocol):
    """One network, whatever runs it."""

    fit: Fit

    def __call__(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return the logits, (B,), of (B, 3, S, S) uint8; of tiles, (B, N, 3, S, S), the means.

        With novelties it returns both, (B, 2).
        """


class TorchNetwork:
    """A network that PyTorch runs, in float32."""

    def __init__(self, net: Detector, device: torch.device, novelty: Novelty | None = None) -> None:
        self.fit = fit_of(net.input)
        self.device = device
        self.net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.novelty = None if novelty is None else DetectorWithNovelty(net, novelty.to(device))

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return the logits, (B,), as `average_views` has them; with novelties both, (B, 2)."""
        images = images.to(self.device, non_blocking=True)
        found = average_views(self._run, images, self.net.input.tta)
        return np.asarray(found.float().cpu().numpy())

    def _run(self, images: Tensor) -> Tensor:
        scaled = to_unit(images)
        return self.net(scaled) if self.novelty is None else torch.stack(self.novelty(scaled), 1)


@dataclass(frozen=True)
class Verdict:
    """The verdict on one image.

    Attributes:
        verdict: a class; `unsure` where the probability lies in the unsure band, or the image is
            unlike the training images; or `no face` where the gate of a cascade finds none.
        called: the class by the threshold alone, as an evaluation counts it; or `no face`.
        probability: calibrated, of the task's positive class; None where there is no face.
        logit: the raw score; None where there is no face.
        threshold: an image is called positive from this probability on.
        gate_probability: of a face, by the gate of a cascade; None without a gate.
        novelty: how unlike the training images it is: its distance from them, 1 for a usual image
            of validation; None where the detector does not know, or there is no face.
        is_strange: whether that is too much for an answer; None as `novelty`.
        unsure: the unsure band, from the first probability on, short of the second; equal without a
            band.

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
    novelty: float | None = None
    is_strange: bool | None = None
    unsure: Interval | None = None

    @property
    def reason(self) -> str | None:
        """Why it is `unsure`; None where it is not."""
        return why_unsure(self.verdict, self.is_strange)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values; without novelty where the detector has none."""
        band = None if self.unsure is None else list(self.unsure)
        values = asdict(self) | {"unsure": band, "reason": self.reason}
        if self.novelty is None:
            del values["novelty"], values["is_strange"]
        return values


def why_unsure(verdict: str, is_strange: bool | None) -> str | None:
    """Say why a verdict is `unsure`; None of another verdict."""
    if is_strange:
        return STRANGE
    return IN_BAND if verdict == UNSURE else None


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
        novelty: from which novelty on an image is strange, where that was fitted; of an ensemble
            the novelty is the weighted mean of the members'.
    """

    task: Task
    point: OperatingPoint
    members: Sequence[Member]
    average: str | None = None
    video: VideoPoint | None = None
    novelty: NoveltyPoint | None = None

    def score(self, fitted: Fitted) -> tuple[Scores, Scores | None]:
        """Return logits and novelties, (B,) float64 each, of images resized for each network.

        The novelties are None where `novelty` is.

        Raises:
            ScoreError: a network gave something that is no score.
        """
        with_novelty = self.novelty is not None
        found = [_parts(member.network, fitted, with_novelty) for member in self.members]
        logits = [one for one, _ in found]
        weights = [member.weight for member in self.members]
        novelties = None
        if with_novelty:
            novelties = combine_novelty([one for _, one in found], weights)
        if self.average is None:
            return logits[0], novelties
        calibrations = [member.calibration for member in self.members]
        combined = combine(logits, calibrations, weights, self.average)
        return check_scores(combined, len(logits[0]), "the ensemble"), novelties

    def probabilities(self, logits: Scores) -> Scores:
        """Return the calibrated probabilities, (B,), rounded as a predictions table stores them.

        Raises:
            ScoreError: the calibration makes no finite number of a logit.
        """
        rounded = self.point.calibration.apply(logits).astype(np.float32)
        return check_scores(rounded, len(logits), "the calibration")

    def judge(self, logits: Scores, novelties: Scores | None = None) -> list[Verdict]:
        """Return the verdicts from logits and novelties, (B,) each."""
        probabilities, threshold = self.probabilities(logits), self.point.threshold
        positive = is_positive(probabilities, threshold)
        unsure = unsure_flags(probabilities, self.point.unsure)
        verdicts = []
        rows = zip(positive, unsure, probabilities.tolist(), logits.astype(np.float32), strict=True)
        for is_fake, is_unsure, probability, logit in rows:
            called = self.task.classes[int(is_fake)]
            verdict = UNSURE if is_unsure else called
            verdicts.append(
                Verdict(
                    verdict, called, probability, float(logit), threshold, self.task.name,
                    unsure=self.point.unsure,
                )
            )  # fmt: skip
        if self.novelty is None or novelties is None:
            return verdicts
        known = novelties.astype(np.float32)
        pairs = zip(verdicts, known.tolist(), strange_flags(known, self.novelty), strict=True)
        return [
            replace(
                one,
                verdict=UNSURE if strange else one.verdict,
                novelty=novelty,
                is_strange=bool(strange),
            )
            for one, novelty, strange in pairs
        ]


def _parts(network: Network, fitted: Fitted, with_novelty: bool) -> tuple[Scores, Scores | None]:
    """Return a network's logits and, where they are wanted and it gives them, its novelties, (B,).

    What is not wanted is not looked at: an ensemble may not know novelty where a member does.

    Raises:
        ScoreError: the network gave something that is no score.
    """
    images = fitted[network.fit]
    found = network(images)
    if found.ndim == 1:
        return check_scores(found, len(images)), None
    if found.ndim != 2 or found.shape[1] != 2:
        raise ScoreError(f"a network gave scores of shape {found.shape} for {len(images)} images")
    logits, novelties = found.T
    return (
        check_scores(logits, len(images)),
        check_scores(novelties, len(images), "the distance from the training images")
        if with_novelty
        else None,
    )
