"""Pseudo-fakes: made from the real images of a training while it runs, and in training only.

Their settings, and what makes them in the loader. Which rows they are is in `data.synthesised`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from faceproof.augment.reconstruction import reconstruct
from faceproof.augment.self_blending import BILINEAR, PORTRAIT, Oval, self_blend, target_of
from faceproof.data.image_io import Pixels
from faceproof.data.synthesised import Synthesised
from faceproof.settings import SHARE, Rule, SettingError, check, one_of

Ovals = npt.NDArray[np.float32]


class Kind(NamedTuple):
    """What makes pseudo-fakes of real images, and the images that stand beside them."""

    fake: Callable[[Pixels, np.random.Generator, Oval], Pixels]
    beside: Callable[[Pixels, np.random.Generator], Pixels]  # by the same draws


KINDS = {  # by the name of the generator
    "self_blended": Kind(self_blend, target_of),
    "reconstructed": Kind(
        lambda image, draws, _: reconstruct(image, draws), lambda image, _: image
    ),
}
FACES = ("auto", "stored", "found", "portrait")
MOST = 2  # times the side of the model's input
OF_SYNTHESIS = 3  # whose draws these are; those of augment.in_loader are of 0 and 1, of crops 2
NAMED = Rule(
    lambda value: (
        isinstance(value, tuple)
        and all(isinstance(kind, str) and kind in KINDS for kind in value)
        and len(set(value)) == len(value)
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
        if self.faces != "auto" and self.share and "self_blended" not in self.kinds:
            raise SettingError(
                "faces",
                f"= {self.faces} changes nothing without the kind self_blended; leave it out",
            )


class Synthesis:
    """Makes pseudo-fakes, and the images beside them, of a training table's real images.

    The draws are a function of (seed, epoch, place of the pair), so that the two rows of a pair
    have the same. An image that will be resized is made `MOST` times as large as the model's input
    first, if it is larger: most of what is changed would be lost by the resize.

    Args:
        rows: which rows they are.
        seed: of the draws.
        size: side of the model's input, in pixels; None if images are cropped and not resized.
        ovals: where the faces of the real images are, (R, 6), the three points of each `Oval`; NaN
            or None for where they are in portraits.
    """

    def __init__(self, rows: Synthesised, seed: int, size: int | None,
                 ovals: Ovals | None = None) -> None:  # fmt: skip
        self.rows, self.seed, self.ovals = rows, seed, ovals
        self.most = None if size is None else MOST * size

    def __call__(self, image: Pixels, epoch: int, row: int) -> Pixels:
        """Return the image of a row, (3, H, W) uint8; those of given rows are as they are."""
        if (found := self.rows.find(row)) is None:
            return image
        generator = np.random.default_rng((self.seed, epoch, OF_SYNTHESIS, found.pair))
        if self.most is not None:
            image = _at_most(image, self.most)
        kind = KINDS[found.kind]
        if found.is_fake:
            return kind.fake(image, generator, self._oval(found.real))
        return kind.beside(image, generator)

    def _oval(self, real: int) -> Oval:
        if self.ovals is None or np.isnan(self.ovals[real]).any():
            return PORTRAIT
        centre, right, down = self.ovals[real].reshape(3, 2).tolist()
        return Oval(tuple(centre), tuple(right), tuple(down))


def _at_most(image: Pixels, side: int) -> Pixels:
    """Return an image whose shorter side is at most so many pixels, (3, H, W) uint8."""
    height, width = image.shape[1:]
    if min(height, width) <= side:
        return image
    scale = side / min(height, width)
    whole = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    small = whole.resize((round(width * scale), round(height * scale)), BILINEAR, reducing_gap=2)
    return np.array(small).transpose(2, 0, 1)
