"""Pseudo-fakes: made from the real images of a training while it runs, and in training only.

Their settings, and what makes them in the loader. Which rows they are is in `data.synthesised`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceproof.augment.reconstruction import reconstruct
from faceproof.augment.self_blending import PORTRAIT, Oval, self_blend
from faceproof.data.image_io import Pixels
from faceproof.data.synthesised import Synthesised
from faceproof.settings import SHARE, Rule, SettingError, check, one_of

Ovals = npt.NDArray[np.float32]
# What makes an image and its pseudo-fake of a real image, by the name of the generator.
Maker = Callable[[Pixels, np.random.Generator, Oval], tuple[Pixels, Pixels]]
KINDS: dict[str, Maker] = {
    "self_blended": self_blend,
    "reconstructed": lambda image, generator, _: reconstruct(image, generator),
}
FACES = ("auto", "stored", "found", "portrait")
OF_SYNTHESIS = 2  # whose draws these are; those of augment.in_loader are of 0 and 1
NAMED = Rule(
    lambda value: (
        isinstance(value, tuple)
        and len(set(value)) == len(value)
        and all(kind in KINDS for kind in value)
    ),
    f"a list of some of {', '.join(KINDS)}",
)


@dataclass(frozen=True)
class SynthesisConfig:
    """Which pseudo-fakes a training makes of its real images, and how many.

    Attributes:
        share: of the images of an epoch, those that are a pseudo-fake or the image that it was made
            from, which come side by side; the others are those that `loader.sampler` draws. 0 for
            none; with 1 a training sees real images and pseudo-fakes of them alone.
        kinds: some of `self_blended` and `reconstructed`, in equal numbers.
        faces: where a face is, for `self_blended`: `stored` with the crops of `faceproof prepare`,
            `found` by the face detector of that command before training, or where it is in a
            `portrait`; `auto` takes what is stored, and a portrait's place where nothing is.
    """

    share: float = 0.0
    kinds: tuple[str, ...] = ()
    faces: str = "auto"

    def __post_init__(self) -> None:
        check(self, share=SHARE, kinds=NAMED, faces=one_of(*FACES))
        if self.share and not self.kinds:
            raise SettingError("kinds", f"= [] makes nothing for synthesis.share = {self.share}; "
                               f"name some of {', '.join(KINDS)}")  # fmt: skip


class Synthesis:
    """Makes pseudo-fakes, and the images beside them, of a training table's real images.

    The draws are a function of (seed, epoch, place of the pair), so that the two rows of a pair
    have the same.

    Args:
        rows: which rows they are.
        seed: of the draws.
        ovals: where the faces of the real images are, (R, 6), the three points of each `Oval`; NaN
            or None for where they are in portraits.
    """

    def __init__(self, rows: Synthesised, seed: int, ovals: Ovals | None = None) -> None:
        self.rows, self.seed, self.ovals = rows, seed, ovals

    def __call__(self, image: Pixels, epoch: int, row: int) -> Pixels:
        """Return the image of a row, (3, H, W) uint8; those of given rows are as they are."""
        if (found := self.rows.find(row)) is None:
            return image
        generator = np.random.default_rng((self.seed, epoch, OF_SYNTHESIS, found.pair))
        return KINDS[found.kind](image, generator, self._oval(found.real))[found.is_fake]

    def _oval(self, real: int) -> Oval:
        if self.ovals is None or np.isnan(self.ovals[real]).any():
            return PORTRAIT
        centre, right, down = self.ovals[real].reshape(3, 2).tolist()
        return Oval(tuple(centre), tuple(right), tuple(down))
