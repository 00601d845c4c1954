"""torchvision's transforms by their names in an augmentation's settings."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError
from faceproof.settings import SHARE, SettingError

TRIAL_SIDE = 256  # pixels of the image on which a transform is tried before the training
_drawing = threading.Lock()  # torchvision draws from torch's one generator


class TransformError(FaceproofError):
    """A transform cannot change an image of the training.

    torch puts a worker's traceback in front of the message; it is removed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


@dataclass(frozen=True)
class NamedTransform:
    """One of torchvision's transforms and the share of images that it changes."""

    name: str
    transform: v2.Transform
    probability: float

    def __call__(self, image: Pixels, generator: np.random.Generator) -> Pixels:
        """Return the changed (3, H, W) uint8, a function of the image and the generator's state.

        Raises:
            TransformError: torchvision refuses the image, as one that is smaller than a crop.
        """
        chance, seed = generator.random(), int(generator.integers(2**63))
        if chance >= self.probability:
            return image
        try:
            changed = _seeded(self.transform, torch.from_numpy(np.ascontiguousarray(image)), seed)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            height, width = image.shape[1:]
            raise TransformError(
                f"torchvision's {self.name}, of augment.torchvision, cannot change an image of "
                f"{width} x {height} pixels: {error}"
            ) from error
        return changed.numpy()


def _seeded(transform: v2.Transform, image: Tensor, seed: int) -> Tensor:
    """Apply a transform with draws of this seed alone; torch's own state stays as it was."""
    with _drawing:
        state = torch.default_generator.get_state()
        try:
            torch.default_generator.manual_seed(seed)
            changed: Tensor = transform(image)
        finally:
            torch.default_generator.set_state(state)
    return changed


def known_transforms() -> dict[str, type[v2.Transform]]:
    """Return torchvision's transforms by name."""
    return {
        name: one
        for name, one in vars(v2).items()
        if isinstance(one, type) and issubclass(one, v2.Transform) and one is not v2.Transform
    }


def named_transforms(entries: Sequence[Mapping[str, Any]]) -> tuple[NamedTransform, ...]:
    """Return the transforms of a list of settings: `name`, `probability`, and their arguments.

    Each is tried on one image.

    Raises:
        SettingError: a name is not torchvision's, or its arguments are not right.
    """
    return tuple(_make(entry, f"torchvision[{place}]") for place, entry in enumerate(entries))


def _make(entry: Mapping[str, Any], where: str) -> NamedTransform:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise SettingError(where, f"= {entry!r} must be a name and arguments, as "
                           "{name: RandomPosterize, bits: 4, probability: 0.3}")  # fmt: skip
    arguments = dict(entry)
    name, probability = arguments.pop("name"), arguments.pop("probability", 1.0)
    if not SHARE.fits(probability):
        raise SettingError(f"{where}.probability", f"= {probability!r} must be {SHARE.meaning}")
    if (create := known_transforms().get(name)) is None:
        close = get_close_matches(name, known_transforms())
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingError(
            f"{where}.name", f"= {name!r} is no class of torchvision.transforms.v2{hint}"
        )
    # The same numbers each time, and no plain colour, which some transforms cannot measure.
    image = torch.arange(3 * TRIAL_SIDE**2, dtype=torch.int64).remainder(251).to(torch.uint8)
    try:
        transform = create(**arguments)
        found: Any = _seeded(transform, image.view(3, TRIAL_SIDE, TRIAL_SIDE), 0)
    except Exception as error:  # torchvision checks arguments by whatever they fail at
        raise SettingError(
            where, f"= {dict(entry)!r} is not what torchvision's {name} takes: {error}"
        ) from error
    image_like = isinstance(found, Tensor) and found.dtype is torch.uint8
    if not image_like or found.ndim != 3 or len(found) != 3:
        raise SettingError(
            where, f"= {dict(entry)!r} does not turn an image, (3, H, W) uint8, into another one"
        )
    return NamedTransform(name, transform, float(probability))
