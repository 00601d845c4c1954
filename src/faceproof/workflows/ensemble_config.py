"""The settings of `faceproof ensemble`, without what the command imports."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal, get_args

from faceproof.errors import FaceproofError

Average = Literal["probability", "logit"]
Weights = Literal["equal", "fitted"]


@dataclass(frozen=True)
class EnsembleConfig:
    """Make a run of several runs that were validated on the same images.

    Their calibrated scores are averaged; calibration and threshold of the average are fitted to
    validation. It is evaluated and compared like any run. No image is scored to make it.

    Attributes:
        runs: run folders (latest is the newest), or the folder of a sweep, which stands for every
            finished run below it.
        out: the new run folder.
        average: what is averaged.
        weights: equal, or fitted: those of the least loss on validation.
    """

    runs: tuple[Path, ...]
    _: KW_ONLY
    out: Path
    average: Average = "probability"
    weights: Weights = "equal"

    def __post_init__(self) -> None:
        for name, kind in (("average", Average), ("weights", Weights)):
            value, choices = getattr(self, name), get_args(kind)
            if value not in choices:
                raise FaceproofError(f"{name} is {' or '.join(choices)}; found {value!r}")
