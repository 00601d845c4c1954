"""Blended images: the face of another real image, laid over a real face.

After Li et al., "Face X-ray for More General Face Forgery Detection" (CVPR 2020, arXiv:1912.13458).
What any face swap leaves behind is there: a border between two images, and a face whose light, skin
and sharpness are another image's. The traces of no generator are.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from faceproof.augment.self_blending import BILINEAR, PORTRAIT, Oval, changed, face_mask
from faceproof.data.image_io import Pixels

MATCH = (0.5, 1.0)  # how far the colours of the face are brought to those that it covers
CHANGED = 0.5  # the share whose colours and sharpness are changed besides
THUMBNAIL = 32  # pixels a side by which colours are compared
LEAST = 4.0  # grey levels: of a smaller deviation the ratio says nothing


def blend(
    image: Pixels,
    generator: np.random.Generator,
    other: Pixels,
    oval: Oval = PORTRAIT,
    other_oval: Oval = PORTRAIT,
) -> Pixels:
    """Return a real image with the face of another one, (3, H, W) uint8.

    The other image is moved, turned and stretched so that its oval lies on that of the image, its
    colours are brought near to those that it covers, and it is blended in inside a bent oval. A
    grey image stays grey.

    Args:
        image: (3, H, W) uint8.
        generator: of all draws.
        other: the image whose face is taken, (3, h, w) uint8.
        oval: where the face is.
        other_oval: where the face of the other image is.
    """
    target, source = (
        Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))) for one in (image, other)
    )
    strength, is_changed = generator.uniform(*MATCH), generator.random() < CHANGED
    mask = face_mask(target.size, oval, generator)
    whole = Image.new("L", source.size, 255)
    source, covered = (_laid_over(one, target.size, oval, other_oval) for one in (source, whole))
    mask = ImageChops.multiply(mask, covered)
    source = _matched(source, target, mask, strength)
    if is_changed:
        source = changed(source, generator)
    blended = Image.composite(source, target, mask)
    if (image == image[:1]).all():  # a coloured face in a grey photograph would tell at once
        blended = blended.convert("L").convert("RGB")
    return np.array(blended).transpose(2, 0, 1)


def _laid_over(
    source: Image.Image, size: tuple[int, int], oval: Oval, source_oval: Oval
) -> Image.Image:
    """Bring a source to a size, so that its oval lies on another one; beyond it all is 0."""
    there, here = _matrix(source_oval, source.size), _matrix(oval, size)
    return source.transform(
        size, Image.Transform.AFFINE, (there @ np.linalg.inv(here))[:2].ravel().tolist(),
        Image.Resampling.BICUBIC,
    )  # fmt: skip


def _matrix(oval: Oval, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return what takes a place in an oval to pixels, (3, 3)."""
    columns = [(*oval.right, 0), (*oval.down, 0), (*oval.centre, 1)]
    return np.diag((*size, 1)) @ np.array(columns, np.float64).T


def _matched(
    source: Image.Image, target: Image.Image, mask: Image.Image, strength: float
) -> Image.Image:
    """Bring mean and deviation of a source's channels to those that it covers.

    Reinhard et al., "Color Transfer between Images" (2001), here in RGB.
    """
    small = (THUMBNAIL, THUMBNAIL)
    weights = np.asarray(mask.resize(small, BILINEAR), np.float64).ravel()
    if not weights.any():
        return source
    (have, spread), (want, wanted) = (
        _colours(np.asarray(one.resize(small, BILINEAR), np.float64).reshape(-1, 3), weights)
        for one in (source, target)
    )
    gain = 1 + strength * (np.maximum(wanted, LEAST) / np.maximum(spread, LEAST) - 1)
    offset = have + strength * (want - have) - gain * have
    return source.convert("RGB", np.column_stack([np.diag(gain), offset]).ravel().tolist())


def _colours(
    pixels: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and deviation of each channel, (3,) each."""
    mean = np.average(pixels, axis=0, weights=weights)
    return mean, np.sqrt(np.average((pixels - mean) ** 2, axis=0, weights=weights))
