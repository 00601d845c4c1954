"""Reconstructed images: a real image made half as large, and enlarged as a generator enlarges.

Every generator ends in layers that double the side of an image, and these leave a grid in it that
its spectrum shows. Zhang, Karaman and Chang, "Detecting and Simulating Artifacts in GAN Fake
Images" (WIFS 2019, arXiv:1907.06515), train on real images with that grid, without any generator.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from faceproof.augment.self_blending import BILINEAR, RATIOS
from faceproof.data.image_io import Pixels

Resampling = Image.Resampling
REDUCTIONS = (Resampling.BOX, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS)
UNEVEN = (0.02, 0.1)  # deviation of the gains of a transposed convolution's four phases
PAD = 2  # pixels that Pillow's filters leave unchanged, and more


def reconstruct(
    image: Pixels,
    generator: np.random.Generator,
    through: Callable[[Pixels], Pixels] | None = None,
) -> Pixels:
    """Return the reconstructed image of a real one, (3, H, W) uint8.

    The reconstruction is laid over the image with one of the shares of `self_blending.RATIOS`: a
    detector that sees it whole alone would learn that fakes are less sharp.

    Args:
        image: (3, H, W) uint8.
        generator: of all draws.
        through: what reconstructs an image, (3, H, W) uint8, in the place of the up-samplers.
    """
    whole = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    if through is None:
        large = _halved_and_enlarged(whole, generator)
    else:
        large = Image.fromarray(np.ascontiguousarray(through(image).transpose(1, 2, 0)))
    ratio = RATIOS[int(generator.integers(len(RATIOS)))]
    mixed = np.array(Image.blend(whole, large, ratio))
    return mixed.transpose(2, 0, 1)


def _halved_and_enlarged(whole: Image.Image, generator: np.random.Generator) -> Image.Image:
    halved = ((whole.width + 1) // 2, (whole.height + 1) // 2)
    small = whole.resize(halved, REDUCTIONS[int(generator.integers(len(REDUCTIONS)))])
    enlarge = ENLARGEMENTS[int(generator.integers(len(ENLARGEMENTS)))]
    return enlarge(small, generator).crop((0, 0, *whole.size))


def _nearest(small: Image.Image, _: np.random.Generator) -> Image.Image:
    return small.resize((2 * small.width, 2 * small.height), Resampling.NEAREST)


def _bilinear(small: Image.Image, _: np.random.Generator) -> Image.Image:
    return small.resize((2 * small.width, 2 * small.height), BILINEAR)


def _zero_insertion(small: Image.Image, _: np.random.Generator) -> Image.Image:
    """Put zeros between the pixels, and smooth; what lies between is the mean around it."""
    return _filtered(small, np.outer((0.5, 1, 0.5), (0.5, 1, 0.5)))


def _transposed_convolution(small: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Do the same by weights that were not learned to the end: each phase has its own gain.

    Odena et al., "Deconvolution and Checkerboard Artifacts" (Distill, 2016).
    """
    gains = 1 + generator.uniform(*UNEVEN) * generator.standard_normal((2, 2))
    gains /= gains.mean()
    phases = np.array([1, 0, 1])  # of a kernel's rows, where its middle lies on a pixel
    return _filtered(small, np.outer((0.5, 1, 0.5), (0.5, 1, 0.5)) * gains[np.ix_(phases, phases)])


ENLARGEMENTS: tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...] = (
    _nearest, _bilinear, _zero_insertion, _transposed_convolution,
)  # fmt: skip


def _filtered(small: Image.Image, kernel: np.ndarray) -> Image.Image:
    """Insert zeros between the pixels of an image, and convolve with a (3, 3) kernel."""
    padded = np.pad(np.asarray(small), ((PAD, PAD), (PAD, PAD), (0, 0)), "edge")
    wide = np.zeros((2 * padded.shape[0], 2 * padded.shape[1], 3), np.uint8)
    wide[::2, ::2] = padded
    smooth = Image.fromarray(wide).filter(ImageFilter.Kernel((3, 3), kernel.ravel().tolist(), 1))
    begin = 2 * PAD
    return smooth.crop((begin, begin, begin + 2 * small.width, begin + 2 * small.height))
