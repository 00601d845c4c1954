"""From which novelty on an image is strange: unlike what a detector was trained on.

The novelty of an image is its distance from the training images; see `models.novelty`. The limit is
that of split conformal prediction (Vovk et al. 2005, "Algorithmic Learning in a Random World"; for
outliers Laxhammar and Falkman 2010): of N validation images the value of rank
ceil((N + 1) (1 - rate)). A new image of the same kind lies above it with a probability of at most
`rate`, whatever the distribution, if validation images and new ones are exchangeable. The limit is
midway between that value and the next, so that no image of validation lies on it: there the last
bit, which differs between PyTorch and ONNX Runtime, would decide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import Flags, Scores
from faceproof.io.parse import parse
from faceproof.io.run_folder import COPY_AGAIN, NOVELTY, RunFolder
from faceproof.settings import RATE, check, optional
from faceproof.words import percent

RATE_WANTED = 0.05
STRANGE = "unlike the training images"
MARGIN = 1e-4  # by which the limit is above a validation image at least, as a share of its novelty


@dataclass(frozen=True)
class NoveltyConfig:
    """Whether images are called unsure that are unlike the training images.

    Attributes:
        rate: the share of images like those of training that may be called so, such as 0.05; None
            for calling none so, which costs nothing.
    """

    rate: float | None = None

    def __post_init__(self) -> None:
        check(self, rate=optional(RATE))


@dataclass(frozen=True)
class NoveltyPoint:
    """From which novelty on an image is strange.

    Attributes:
        limit: it is strange above this.
        rate: the share of images like those of validation that was asked for; see `promised`.
        num_images: of validation, to which it was fitted.
        num_training: images of training from which the distance is measured.
        warnings: what validation could not promise, in sentences.
    """

    limit: float
    rate: float
    num_images: int
    num_training: int
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        counted = min(self.num_images, self.num_training) > 0
        if not (self.limit >= 0 and 0 < self.rate < 1 and counted):
            raise FaceproofError(
                f"a limit of novelty is from 0 on, of a rate between 0 and 1, and of images; found "
                f"{self.limit}, {self.rate}, {self.num_images} and {self.num_training}"
            )

    @property
    def promised(self) -> float:
        """The share of images like those of validation that is strange at most, on average.

        It is above `rate` where validation is too small for that: above all of N images lies a new
        one with a probability of 1 / (N + 1).
        """
        return max(self.rate, 1 / (self.num_images + 1))

    @property
    def origin(self) -> str:
        """Say what the limit is, and what it promises."""
        return (
            f"its novelty is above {self.limit:.3g}, as it is for at most "
            f"{percent(self.promised)} of images like the {self.num_images:,} of validation. "
            f"Novelty is the distance from {self.num_training:,} training images, and 1 is usual "
            "on validation"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "limit": self.limit, "rate": self.rate, "num_images": self.num_images,
            "num_training": self.num_training, "warnings": list(self.warnings),
        }  # fmt: skip


def strange_flags(novelties: npt.NDArray[np.floating], point: NoveltyPoint) -> Flags:
    """Say which images are strange, (N,)."""
    return np.asarray(np.asarray(novelties, np.float64) > point.limit)


def fit_novelty_point(novelties: Scores, rate: float, num_training: int) -> NoveltyPoint:
    """Fit the limit to the novelties of validation images, (N,), and to no others.

    With too few images for the rate the limit is just above all of them.
    """
    ranked = np.sort(np.asarray(novelties, np.float32).astype(np.float64))
    number = len(ranked)
    rank, warnings = math.ceil((number + 1) * (1 - rate)), list[str]()
    if rank > number:
        warnings.append(
            f"Validation has {number:,} images, and it takes {math.ceil(1 / rate) - 1:,} to "
            f"promise that at most {percent(rate)} are called {STRANGE}: only what is farther "
            "away than all of them is called so."
        )
        rank = number
    last, following = ranked[rank - 1], ranked[min(rank, number - 1)]
    limit = max((last + following) / 2, last * (1 + MARGIN))
    return NoveltyPoint(float(limit), rate, number, num_training, tuple(warnings))


def combine_novelty(novelties: Sequence[Scores | None], weights: Sequence[float]) -> Scores | None:
    """Return the novelties of an ensemble, (N,): the weighted mean of the members'.

    None is of members of which not all know it. Each member counts in its own units: 1 is as far as
    the median image of its validation.
    """
    known = [one for one in novelties if one is not None]
    if len(known) < len(novelties):
        return None
    return np.asarray(np.asarray(weights, np.float64) @ np.stack(known))


def novelties_of(predictions: pa.Table) -> Scores | None:
    """Return the novelties, (N,); None of predictions in which one is not known."""
    column = predictions["novelty"]
    if column.null_count:
        return None
    return np.asarray(column.to_numpy(), np.float64)


def find_strange(predictions: pa.Table, point: NoveltyPoint) -> Flags | None:
    """Say which images of a predictions table are strange, (N,); None where one is not known."""
    novelties = novelties_of(predictions)
    return None if novelties is None else strange_flags(novelties, point)


def read_novelty_point(run: RunFolder) -> NoveltyPoint | None:
    """Return from which novelty on a run calls images strange; None where that was not fitted.

    Raises:
        FaceproofError: it is damaged, or makes no sense.
    """
    values = run.read_novelty_point()
    try:
        point: NoveltyPoint | None = parse(NoveltyPoint | None, values, NOVELTY)
    except FaceproofError as error:
        raise FaceproofError(f"{run.operating_point} is damaged: {error}; {COPY_AGAIN}") from error
    return point
