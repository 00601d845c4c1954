"""Makes pseudo-fakes of a training's real images in the loader, while it runs.

Which rows they are is in `data.synthesised`, which kinds there are in `synthesis_config`.
"""

import math

import numpy as np
import torch
from PIL import Image

from faceproof.augment.autoencoder import TinyAutoencoder
from faceproof.augment.blending import blend
from faceproof.augment.donors import Donors
from faceproof.augment.reconstruction import reconstruct
from faceproof.augment.self_blending import BILINEAR, self_blend, target_of
from faceproof.augment.synthesis_config import BLENDED, KINDS, RECONSTRUCTED, SELF_BLENDED
from faceproof.data.draws import OF_SYNTHESIS
from faceproof.data.image_io import Pixels
from faceproof.data.model_input import Fit, fit_image, resized_for_crops
from faceproof.data.synthesised import Found, Synthesised
from faceproof.errors import FaceproofError

MOST = 2  # times the network's size


class Synthesis:
    """Makes pseudo-fakes, and the images beside them, of a training table's real images.

    The draws are a function of (seed, epoch, place of the pair), so that the two rows of a pair
    have the same. Images are resized before, as far as what is made would be lost by a resize that
    follows: a reconstructed one wholly, and others to `MOST` times the network's size.

    Args:
        rows: which rows they are.
        seed: of the draws.
        fit: how images are brought to the network's size.
        faces: the real images, and where their faces are.
        autoencoder: what images are reconstructed through; None for up-samplers.

    Raises:
        FaceproofError: a face is to be taken from another real image, and there is none.
    """

    def __init__(
        self, rows: Synthesised, seed: int, fit: Fit, faces: Donors,
        autoencoder: TinyAutoencoder | None = None,
    ) -> None:  # fmt: skip
        if BLENDED in rows.kinds and rows.num_real < 2:
            raise FaceproofError(
                "synthesis of the kind blended takes the face of another real image, and the "
                "training set has one alone; leave it out of synthesis.kinds"
            )
        self.rows, self.seed, self.fit, self.faces = rows, seed, fit, faces
        self.autoencoder = autoencoder

    def __call__(self, image: Pixels, epoch: int, row: int) -> Pixels:
        """Return the image of a row, (3, H, W) uint8; those of given rows are as they are."""
        if (found := self.rows.find(row)) is None:
            return image
        generator = np.random.default_rng((self.seed, epoch, OF_SYNTHESIS, found.pair))
        image = self._resized(image, found.kind)
        if found.is_fake:
            return self._fake(image, found, generator)
        return target_of(image, generator) if found.kind == SELF_BLENDED else image

    def _fake(self, image: Pixels, found: Found, generator: np.random.Generator) -> Pixels:
        if found.kind == RECONSTRUCTED:
            through = None if self.autoencoder is None else self.autoencoder.reconstruct
            return reconstruct(image, generator, through)
        oval = self.faces.oval(found.real)
        if found.kind == BLENDED:
            donor = self.faces.choose(found.real, generator)
            other = self._resized(self.faces.read(donor), BLENDED)
            return blend(image, generator, other, oval, self.faces.oval(donor))
        return self_blend(image, generator, oval)

    def through(self, row: int, draw: float) -> tuple[float, float] | None:
        """Return a point, x and y in shares of the sides, that a crop of a row must hold.

        It lies half way from the centre of the oval to its lower border, at a turn of `draw`:
        farther out, or up, a mask that is smaller or cut may not reach. None where any crop will
        do.
        """
        found = self.rows.find(row)
        if found is None or not KINDS[found.kind].of_oval:
            return None
        oval, turn = self.faces.oval(found.real), math.pi * draw
        x, y = (
            middle + (math.cos(turn) * right + math.sin(turn) * down) / 2
            for middle, right, down in zip(oval.centre, oval.right, oval.down, strict=True)
        )
        return x, y

    def _resized(self, image: Pixels, kind: str) -> Pixels:
        size, interpolation, crop = self.fit
        tensor = torch.from_numpy(np.ascontiguousarray(image))
        if crop is not None:
            return np.asarray(resized_for_crops(tensor, crop, interpolation).numpy())
        if KINDS[kind].fine:
            return np.asarray(fit_image(tensor, size, interpolation).numpy())
        return _at_most(image, MOST * size)


def _at_most(image: Pixels, side: int) -> Pixels:
    """Return an image whose shorter side is at most so many pixels, (3, H, W) uint8."""
    height, width = image.shape[1:]
    if min(height, width) <= side:
        return image
    scale = side / min(height, width)
    whole = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    small = whole.resize((round(width * scale), round(height * scale)), BILINEAR, reducing_gap=2)
    return np.array(small).transpose(2, 0, 1)
