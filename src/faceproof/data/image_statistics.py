"""Numbers of one grey image that may give a label away: sharpness, spectrum, marks along borders.

They feed the file statistics, in which the audit looks for duplicates and shortcuts, and what a
server counts of the images it is sent.
"""

import functools
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft

NUM_RINGS = 16
NUM_HASH_WORDS = 16
GRID = 4
HASHED = 64  # pixels: the side to which an image is resized for its hash
JUDGED = 512  # pixels: the side of its middle, whose sharpness is taken

LEVELS = np.arange(256.0)  # of an 8-bit channel

Grey = npt.NDArray[np.float32]
AnyNumber = TypeVar("AnyNumber", np.float32, np.uint8)
Numbers = npt.NDArray[np.float64]


def grey_of(pixels: npt.NDArray[np.uint8]) -> Grey:
    """Return the mean of the channels of (3, H, W) uint8, (H, W)."""
    red, green, blue = pixels
    total: Grey = red.astype(np.float32)
    total += green
    total += blue
    total /= 3
    return total


def colours(pixels: npt.NDArray[np.uint8]) -> tuple[Numbers, Numbers]:
    """Return mean and standard deviation of each channel of (3, H, W) uint8, (3,) each.

    They are those of the histogram, which Pillow counts faster than NumPy adds.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    shares = np.reshape(image.histogram(), (3, 256)) / (image.width * image.height)
    mean = shares @ LEVELS
    return mean, np.sqrt((shares * (LEVELS - mean[:, None]) ** 2).sum(1))


def resized(grey: Grey, size: int) -> Grey:
    """Resize (H, W) to (size, size) by averaging, whatever its aspect."""
    if grey.shape == (size, size):
        return grey
    box = Image.Resampling.BOX if min(grey.shape) >= size else Image.Resampling.BILINEAR
    image = Image.fromarray(grey).resize((size, size), box)
    return np.asarray(image, dtype=np.float32)


def middle(pixels: npt.NDArray[AnyNumber], size: int) -> npt.NDArray[AnyNumber]:
    """Return the middle of (..., H, W), at most `size` pixels a side, not resized."""
    top, left = (max(side - size, 0) // 2 for side in pixels.shape[-2:])
    return pixels[..., top : top + size, left : left + size]


def laplacian(grey: Grey) -> Grey:
    """Return the four-neighbour Laplacian of (H, W) where it is defined, or zeros (1, 1)."""
    if min(grey.shape) < 3:
        return np.zeros((1, 1), np.float32)
    around: Grey = grey[:-2, 1:-1] + grey[2:, 1:-1]
    around += grey[1:-1, :-2]
    around += grey[1:-1, 2:]
    around -= 4 * grey[1:-1, 1:-1]
    return around


def sharpness(grey: Grey) -> float:
    """Return the log variance of the Laplacian of (H, W)."""
    return log_variance(laplacian(grey))


def log_variance(detail: Grey) -> float:
    """Return the log variance of a Laplacian, (H, W): how sharp its image is."""
    centred = detail - detail.mean()
    centred *= centred
    return float(np.log(centred.mean() + 1e-3))


def perceptual_hash(grey: Grey) -> npt.NDArray[np.uint16]:
    """Return (16,) uint16 that hardly change when an image is encoded again, resized or brightened.

    The bits say which of the 16 x 16 lowest frequencies of the cosine transform exceed their
    median, after Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
    (2010), who takes 8 x 8.
    """
    side = NUM_HASH_WORDS
    low = fft.dctn(resized(grey, HASHED), norm="ortho")[:side, :side].ravel()
    bits = low > np.median(low[1:])
    words: npt.NDArray[np.uint16] = np.packbits(bits).view(np.uint16)
    return words


def radial_spectrum(grey: Grey) -> Grey:
    """Return (16,) mean log power in rings of equal width, from 0 to half a cycle a pixel."""
    window, ring, count = _rings(*grey.shape)
    waves = fft.rfft2((grey - grey.mean()) * window)
    power = waves.real**2 + waves.imag**2
    total = np.bincount(ring, np.log(power + 1e-3).ravel(), NUM_RINGS)
    return (total / np.maximum(count, 1)).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _rings(height: int, width: int) -> tuple[Grey, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the window of a spectrum, each frequency's ring, and how many a ring has."""
    along, across = (np.hanning(side + 2)[1:-1].astype(np.float32) for side in (height, width))
    window = along[:, None] * across
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    ring = np.minimum((radius * 2 * NUM_RINGS).astype(int), NUM_RINGS - 1).ravel()
    return window, ring, np.bincount(ring, minlength=NUM_RINGS)


def border_detail(detail: Grey) -> Grey:
    """Return (12,) log share of detail in the outer cells of a 4 x 4 grid, from the top left.

    `detail` is the Laplacian of a square grey image whose side four divides. A mark in a corner or
    along an edge, which one class may carry, shows here.
    """
    squares = np.pad(detail * detail, 1, mode="edge")
    cell = len(squares) // GRID
    rows = squares.reshape(-1, GRID, cell).mean(2)  # along both axes at once takes four times that
    cells = rows.reshape(GRID, cell, GRID).mean(1) + 1e-3
    shares = np.log(cells / cells.mean())
    outer = np.ones((GRID, GRID), bool)
    outer[1:-1, 1:-1] = False
    return np.asarray(shares[outer], dtype=np.float32)
