"""Numbers of one grey image that may give a label away: sharpness, spectrum, marks along borders.

They feed the file statistics, in which the audit looks for duplicates and shortcuts.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft

NUM_RINGS = 16
NUM_HASH_WORDS = 16
GRID = 4
HASHED = 64  # pixels: the side to which an image is resized for its hash

Grey = npt.NDArray[np.float32]


def resized(grey: Grey, size: int) -> Grey:
    """Resize (H, W) to (size, size) by averaging, whatever its aspect."""
    box = Image.Resampling.BOX if min(grey.shape) >= size else Image.Resampling.BILINEAR
    image = Image.fromarray(grey).resize((size, size), box)
    return np.asarray(image, dtype=np.float32)


def middle(grey: Grey, size: int) -> Grey:
    """Return the middle of (H, W), at most `size` pixels a side, not resized."""
    top, left = (max(side - size, 0) // 2 for side in grey.shape)
    return grey[top : top + size, left : left + size]


def laplacian(grey: Grey) -> Grey:
    """Return the four-neighbour Laplacian of (H, W) where it is defined, or zeros (1, 1)."""
    if min(grey.shape) < 3:
        return np.zeros((1, 1), np.float32)
    around: Grey = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return around - 4 * grey[1:-1, 1:-1]


def sharpness(grey: Grey) -> float:
    """Return the log variance of the Laplacian of (H, W)."""
    return float(np.log(laplacian(grey).var() + 1e-3))


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
    height, width = grey.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    ring = np.minimum((radius * 2 * NUM_RINGS).astype(int), NUM_RINGS - 1)
    total = np.bincount(ring.ravel(), np.log(power + 1e-3).ravel(), NUM_RINGS)
    count = np.bincount(ring.ravel(), minlength=NUM_RINGS)
    return (total / np.maximum(count, 1)).astype(np.float32)


def border_detail(grey: Grey) -> Grey:
    """Return (12,) log share of detail in the outer cells of a 4 x 4 grid, from the top left.

    A mark in a corner or along an edge, which one class may carry, shows here.
    """
    detail = np.pad(laplacian(grey) ** 2, 1, mode="edge")
    cell = len(detail) // GRID
    cells = detail.reshape(GRID, cell, GRID, cell).mean((1, 3)) + 1e-3
    shares = np.log(cells / cells.mean())
    outer = np.ones((GRID, GRID), bool)
    outer[1:-1, 1:-1] = False
    return np.asarray(shares[outer], dtype=np.float32)
