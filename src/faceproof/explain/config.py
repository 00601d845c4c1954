"""Settings of the explaining commands that need no library, so that `--help` answers at once.

How much is computed to explain a detector follows from the network's multiply-adds and not from a
clock: the same run gives the same numbers on any CPU, and `faceproof explain RUN` ends within two
minutes on two cores, whatever the network. An accelerator has time for all of it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from faceproof.errors import FaceproofError

Method = Literal["cam", "occlusion", "integrated_gradients"]
Removal = Literal["blur", "mean"]
EffortName = Literal["auto", "thorough", "standard", "coarse", "least"]

METHODS: tuple[Method, ...] = ("cam", "occlusion", "integrated_gradients")
REMOVALS: tuple[Removal, ...] = ("blur", "mean")
MIN_SPECTRUM = 32  # pixels a side of the square that `faceproof spectra` analyses
SAMPLE = 2000  # images that a data set is measured on
MAX_SEED = 2**32 - 1  # the largest that numpy and scikit-learn both take


def check_seed(seed: int) -> None:
    """Refuse a seed that the libraries which draw do not take."""
    if not 0 <= seed <= MAX_SEED:
        raise FaceproofError(f"'{seed}' is no seed; give a number from 0 to {MAX_SEED}")


def check_sample(sample: int | None, all: bool) -> None:
    """Refuse a number of images beside all of them."""
    if all and sample is not None:
        raise FaceproofError(f"--sample {sample} changes nothing with --all; leave out one")


def number_of(sample: int | None, all: bool) -> int | None:
    """Return how many images a data set is measured on; None for all."""
    return None if all else SAMPLE if sample is None else sample


def check_choice(given: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is not one of those allowed."""
    if given not in allowed:
        raise FaceproofError(f"{given!r} must be one of {', '.join(allowed)}")


@dataclass(frozen=True)
class Grain:
    """How fine maps are: windows of occlusion along a side, and steps of integrated gradients."""

    num_windows: int
    num_steps: int


FINE = Grain(num_windows=8, num_steps=16)


@dataclass(frozen=True)
class Effort:
    """How much is computed.

    Attributes:
        name: on the command line.
        most: `auto` chooses it up to so many multiply-adds of one image, in 10⁹.
        grain: how fine the maps are.
        shown: mistakes of each direction.
        sample: images on which the maps are measured.
        num_orders: random orders of each image that a map has to beat.
        num_steps: of each deletion and insertion curve.
        num_randomised: images of the randomisation test.
        num_stages: how often these are explained again while the weights are shuffled.
        num_placed: images on the plane of `faceproof features`.
    """

    name: str
    most: float
    grain: Grain
    shown: int
    sample: int
    num_orders: int
    num_steps: int
    num_randomised: int
    num_stages: int
    num_placed: int = 500

    def to_json(self) -> dict[str, Any]:
        """Return what it computes as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "most"}


# With three methods some 7,700, 3,800, 1,000 and 380 passes of one image through the network, where
# a backward pass counts as one; planted forgeries add up to 60 %. On two cores a ViT-B/16 makes 4.6
# a second and an EfficientNet-B0 51.
THOROUGH = Effort("thorough", 0.3, FINE, 6, 24, 5, 10, 6, 3)
STANDARD = Effort("standard", 2, Grain(num_windows=6, num_steps=8), 6, 16, 5, 10, 4, 3)
COARSE = Effort("coarse", 8, Grain(num_windows=5, num_steps=8), 3, 8, 3, 5, 3, 1)
LEAST = Effort("least", math.inf, Grain(num_windows=4, num_steps=4), 2, 4, 2, 4, 2, 1, 200)
EFFORTS = {effort.name: effort for effort in (THOROUGH, STANDARD, COARSE, LEAST)}


@dataclass(frozen=True)
class MapConfig:
    """How maps are computed.

    Attributes:
        methods: of `METHODS`, in the order of the page.
        layer: the module whose output is the feature map of `cam`; None for the last feature map.
        removal: what a removed pixel becomes, in every method and measure.
        seed: of samples, random orders and shuffled weights.
    """

    methods: Sequence[str] = METHODS
    layer: str | None = None
    removal: Removal = "blur"
    seed: int = 0
    effort: Effort = THOROUGH

    def __post_init__(self) -> None:
        for method in self.methods:
            check_choice(method, METHODS)
        if not self.methods:
            raise FaceproofError(f"name at least one method of {', '.join(METHODS)}")
        check_choice(self.removal, REMOVALS)
        check_seed(self.seed)
