"""How much is computed to explain a detector: less of everything where the network is large.

So that `faceproof explain RUN` ends within two minutes on two cores, whatever the network. Which
effort it is follows from the network's multiply-adds and not from a clock: the same run gives the
same numbers on any CPU. An accelerator has time for all of it.
"""

from dataclasses import asdict, dataclass
from typing import Any

from faceproof.errors import FaceproofError
from faceproof.models.cost import count_multiply_adds
from faceproof.models.detector import Detector

AUTO = "auto"


@dataclass(frozen=True)
class Grain:
    """How fine maps are: `num_windows` of occlusion along a side, `num_steps` of the gradients."""

    num_windows: int
    num_steps: int


FINE = Grain(num_windows=8, num_steps=16)


@dataclass(frozen=True)
class Effort:
    """What is computed.

    Attributes:
        name: on the command line.
        most: the multiply-adds of one image up to which `auto` chooses it, in 10⁹.
        grain: how fine the maps are.
        shown: mistakes of each direction.
        sample: images that the maps are measured on.
        num_orders: random orders of each that a map has to beat.
        num_steps: of each deletion and insertion curve.
        num_randomised: images of the randomisation test.
        num_stages: how often they are explained again while the weights are shuffled.
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


# With three methods some 7,700, 3,800, 1,000 and 380 passes of one image through the network; a
# pass backwards counts as one; planted forgeries add up to 60 %. A ViT-B/16 makes 4.6 a second on
# two cores, an EfficientNet-B0 51.
THOROUGH = Effort("thorough", 0.3, FINE, 6, 24, 5, 10, 6, 3)
STANDARD = Effort("standard", 2, Grain(num_windows=6, num_steps=8), 6, 16, 5, 10, 4, 3)
COARSE = Effort("coarse", 8, Grain(num_windows=5, num_steps=8), 3, 8, 3, 5, 3, 1)
LEAST = Effort(
    "least", float("inf"), Grain(num_windows=4, num_steps=4), 2, 4, 2, 4, 2, 1, num_placed=200
)
EFFORTS = {effort.name: effort for effort in (THOROUGH, STANDARD, COARSE, LEAST)}


def choose_effort(name: str, net: Detector) -> Effort:
    """Return the effort of that name; `auto` for the largest that suits network and device.

    Raises:
        FaceproofError: there is none of that name.
    """
    if name in EFFORTS:
        return EFFORTS[name]
    if name != AUTO:
        raise FaceproofError(f"effort {name!r} must be one of {AUTO}, {', '.join(EFFORTS)}")
    if net.input_mean.device.type != "cpu":
        return THOROUGH
    work = count_multiply_adds(net) / 1e9
    return next(effort for effort in EFFORTS.values() if work <= effort.most)
