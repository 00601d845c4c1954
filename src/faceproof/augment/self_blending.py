"""Self-blended images: a real face, changed a little and blended back into its own image.

After Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images" (CVPR 2022,
arXiv:2204.08376). What a face swap leaves behind, two kinds of pixels that meet at a soft border,
is there, and the traces of no generator are, so that a detector cannot learn those instead.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from faceproof.data.image_io import Pixels

BILINEAR = Image.Resampling.BILINEAR
# From the authors' code (github.com/mapooon/SelfBlendedImages).
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # of blending
RGB_SHIFT, RGB_SHIFTED = 20, 0.3  # grey levels of 255, and the share of images
BRIGHTNESS = CONTRAST = 0.1
SHIFT_X, SHIFT_Y, SCALE = 0.03, 0.015, 0.95  # of the source, which is scaled by up to 1 / SCALE too
# Theirs change hue and saturation by less than a grey level; these are chosen here.
SATURATION, HUE = 0.1, 0.1  # a factor within 1 -/+ this; radians
SMALLER = (0.25, 0.7)  # scale of a reduction; theirs is a half or a quarter
SHARPER = (0.1, 0.4)  # weight of each of the eight neighbours
# Their mask is the hull of 81 landmarks, bent a little; an oval is bent more. Swaps by the usual 68
# landmarks end at the brows, so that half of the ovals do: there, 0 is the oval's middle and -1 its
# upper end. Their border is 5 to 25 pixels of 224 wide; that of many swaps is nearly sharp.
OVAL_SCALE, OVAL_SHIFT = (0.7, 1.1), 0.1
CUT_AT_BROWS, BROWS = 0.5, (-0.6, -0.2)
EDGE = (
    1 / 224,
    25 / 224,
)  # width of the mask's soft border, as a share of the side
BENDS, BEND = 6, 0.03  # points a side at which the mask is bent, and by how much (a deviation)
GRID = 48  # points a side on which the mask's border is computed


@dataclass(frozen=True)
class Oval:
    """Where a face is: an ellipse, in shares of the image's width and height.

    Attributes:
        centre: x and y. The defaults are those of a portrait that fills its image.
        right: from the centre to the face's side, x and y.
        down: from the centre to the chin, x and y.
    """

    centre: tuple[float, float] = (0.5, 0.54)
    right: tuple[float, float] = (0.27, 0.0)
    down: tuple[float, float] = (0.0, 0.36)


PORTRAIT = Oval()


def self_blend(image: Pixels, generator: np.random.Generator, oval: Oval = PORTRAIT) -> Pixels:
    """Return the self-blended image of a real one, (3, H, W) uint8.

    Source and target are the same image. One of the two, by chance, gets other colours and another
    sharpness; the source is moved and scaled, and blended into the target inside a bent oval with a
    soft border.

    Args:
        image: (3, H, W) uint8.
        generator: of all draws.
        oval: where the face is.
    """
    source = target = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    if _changes_target(generator):
        target = changed(target, generator)
    else:
        source = changed(source, generator)
    mask = face_mask(target.size, oval, generator)
    blended = Image.composite(_moved(source, generator), target, mask)
    return np.array(blended).transpose(2, 0, 1)


def target_of(image: Pixels, generator: np.random.Generator) -> Pixels:
    """Return the target of `self_blend` by the same draws, (3, H, W) uint8.

    It is the real image that stands beside the pseudo-fake, and equal to it outside the oval.
    """
    if not _changes_target(generator):
        return image
    target = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return np.array(changed(target, generator)).transpose(2, 0, 1)


def _changes_target(generator: np.random.Generator) -> bool:
    return bool(generator.random() < 0.5)


def changed(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Change the colours, and make the image less sharp, sharper, or neither."""
    image = image.convert("RGB", _colour_matrix(generator))
    turn = generator.random()
    if turn < 1 / 3:
        return image
    if turn < 2 / 3:
        scale = generator.uniform(*SMALLER)
        width, height = (max(round(side * scale), 1) for side in image.size)
        return image.resize((width, height), BILINEAR).resize(image.size, BILINEAR)
    weight = generator.uniform(*SHARPER)
    around = [-weight] * 4
    return image.filter(ImageFilter.Kernel((3, 3), [*around, 1 + 8 * weight, *around], scale=1))


def _colour_matrix(generator: np.random.Generator) -> tuple[float, ...]:
    """Draw a change of colours: 3 rows of 4 numbers, with which Pillow multiplies (R, G, B, 1)."""
    saturation, contrast, brightness, angle = generator.uniform(-1, 1, 4) * (
        SATURATION, CONTRAST, BRIGHTNESS, HUE
    )  # fmt: skip
    shift = generator.uniform(-RGB_SHIFT, RGB_SHIFT, 3)
    if generator.random() >= RGB_SHIFTED:
        shift[:] = 0
    # A turn about the axis of greys by Rodrigues' formula, and a stretch away from it.
    grey = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = math.cos(angle) * (np.eye(3) - grey) + math.sin(angle) * cross
    matrix = (1 + contrast) * (grey + (1 + saturation) * turn)
    offset = shift + 255 * (brightness - contrast / 2)
    return tuple(np.column_stack([matrix, offset]).ravel().tolist())


def _moved(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Shift and scale an image; beyond its border the nearest pixel is repeated."""
    width, height = image.size
    shift = generator.uniform(-1, 1, 2) * (SHIFT_X * width, SHIFT_Y * height)
    scale = generator.uniform(SCALE, 1 / SCALE)
    seen = np.array([width, height]) / scale  # of what is shown
    start = ([width, height] - seen) / 2 - shift
    spare = math.ceil(max(width, height) * (SHIFT_X + (1 / SCALE - 1) / 2)) + 1
    # Pillow resizes no part that reaches beyond an image.
    padded = Image.fromarray(
        np.pad(np.asarray(image), ((spare, spare), (spare, spare), (0, 0)), "edge")
    )
    left, top = (start + spare).tolist()
    return padded.resize(image.size, BILINEAR, (left, top, left + seen[0], top + seen[1]))


def face_mask(size: tuple[int, int], oval: Oval, generator: np.random.Generator) -> Image.Image:
    """Draw where the source is laid, and how strongly: 0 is nowhere, 255 is wholly.

    The oval is scaled, shifted and bent, and half of them end at the brows. What is computed on a
    coarse grid and enlarged is not the mask itself but how far a pixel is inside, so that a border
    may be narrower than the grid.
    """
    scale, shift = generator.uniform(*OVAL_SCALE, 2), generator.uniform(-OVAL_SHIFT, OVAL_SHIFT, 2)
    axes = np.array([oval.right, oval.down]) * scale[:, None]
    bends = generator.standard_normal((BENDS, BENDS, 2)) * BEND
    points = _grid() + np.stack([_enlarged(bends[..., axis]) for axis in (0, 1)], -1)
    points = points - oval.centre - shift @ axes
    places = points @ np.linalg.inv(axes)  # in the oval, across and down
    radius = np.sqrt((places**2).sum(-1))
    inside = (1 - radius) * math.sqrt(abs(np.linalg.det(axes)))  # in shares of the side
    is_cut, brows = generator.random() < CUT_AT_BROWS, generator.uniform(*BROWS)
    if is_cut:
        inside = np.minimum(inside, (places[..., 1] - brows) * float(np.hypot(*axes[1])))
    edge, ratio = generator.uniform(*EDGE), RATIOS[int(generator.integers(len(RATIOS)))]
    reach = max(edge, 3 / GRID)  # half of the range of distances that 8 bits hold
    levels = ((inside / reach + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    ramp = np.clip((np.arange(256) / 127.5 - 1) * reach / edge + 0.5, 0, 1)
    smooth = ramp**2 * (3 - 2 * ramp) * 255 * ratio
    return Image.fromarray(levels).resize(size, BILINEAR).point(smooth.round().tolist())


@functools.cache
def _grid() -> npt.NDArray[np.float64]:
    """Return x and y of the middle of each cell of the grid, (GRID, GRID, 2), in shares."""
    places = (np.arange(GRID) + 0.5) / GRID
    return np.stack(np.meshgrid(places, places), -1)


def _enlarged(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return (BENDS, BENDS) numbers as a smooth field, (GRID, GRID)."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((GRID, GRID), Image.Resampling.BICUBIC))
