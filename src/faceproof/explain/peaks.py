"""Find single frequencies that stand out of a mean spectrum, as the grids of up-sampling do.

False alarms are held down as follows. Each cell is compared with its surroundings: first the median
of its ring is subtracted, which removes what falls smoothly with frequency whatever its law; then
the largest of three local medians (a square, a row, a column), which removes the ridges that
upright and level edges leave. What is left is divided by its standard error: the largest of the
robust spread of its ring, the spread over images at that cell, and the median of the latter in its
ring. Without peaks these ratios are nearly normal, because they are means over many images. The
threshold is therefore the normal quantile that any one of all cells exceeds with probability
`false_alarm`, whatever the number of images.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

Map = npt.NDArray[np.float64]

FALSE_ALARM = 0.01  # the probability of any peak in a spectrum that has none
LOWEST = 1 / 16  # cycles per pixel; below it, the image itself
MIN_IMAGES = 16  # independent ones; with fewer, a mean of logarithms is too far from normal
MIN_HEIGHT = 0.5  # dB; the surroundings are not known better, however many images there are
LOBE = tuple((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1))  # of a Hann window
MIN_SPAN = 9  # cells of a local median; a line fills 3 or 4 of them, which must be fewer than half
ROBUST = 1.4826  # times the median absolute deviation is a normal standard deviation


@dataclass(frozen=True)
class Peak:
    """A frequency that stands out; its mirror image is the same one.

    Attributes:
        horizontal: cycles per pixel, at least 0.
        vertical: cycles per pixel.
        height: above its surroundings, in the unit of the spectrum (dB).
        sigmas: the same in standard errors, at its clearest cell.
    """

    horizontal: float
    vertical: float
    height: float
    sigmas: float

    @property
    def period(self) -> float:
        """Pixels from one crest to the next."""
        return 1 / math.hypot(self.horizontal, self.vertical)

    @property
    def images(self) -> list[tuple[float, float]]:
        """Its places in a plot from -0.5 to 0.5, once at each edge that it touches."""
        sides = set()
        for across, down in ((self.horizontal, self.vertical), (-self.horizontal, -self.vertical)):
            rights = (0.5, -0.5) if abs(across) == 0.5 else (across,)
            downs = (0.5, -0.5) if abs(down) == 0.5 else (down,)
            sides |= set(product(rights, downs))
        return sorted(sides)


def near(first: Peak, second: Peak, size: int) -> bool:
    """Say whether two peaks of (size, size) spectra may be one: at most a cell apart each way."""
    reach = 1.01 / size
    return any(
        abs(one[0] - other[0]) < reach and abs(one[1] - other[1]) < reach
        for one in first.images
        for other in second.images
    )


def num_cells(size: int) -> int:
    """Return how many frequencies of a (size, size) spectrum are searched."""
    return int(_searched(size).sum())


def threshold(size: int, false_alarm: float = FALSE_ALARM) -> float:
    """Return how many standard errors a peak of a (size, size) spectrum must reach.

    `false_alarm` is the probability that a spectrum without peaks shows any (Bonferroni).
    """
    return float(-special.ndtri(false_alarm / num_cells(size)))


def find_peaks(spectrum: Map, error: Map, false_alarm: float = FALSE_ALARM) -> list[Peak]:
    """Return the peaks of a mean log spectrum, or of a difference of two, the highest first.

    Two peaks are distinct if they are more than 1/16 cycle per pixel apart in some direction.

    Args:
        spectrum: (S, S), unshifted as an FFT has it, symmetric; S even.
        error: (S, S), the standard error of each cell by its spread over images.
        false_alarm: see `threshold`.
    """
    size = len(spectrum)
    ratio, residual = stand_out(spectrum, error)
    apart = 2 * (size // 16) + 1
    clearest = ratio == ndimage.maximum_filter(ratio, apart, mode="wrap")
    found = clearest & _searched(size) & (ratio > threshold(size, false_alarm))
    found &= residual >= MIN_HEIGHT
    heights: dict[tuple[float, float], Peak] = {}
    for row, column in np.argwhere(found):
        # The window spreads a line over neighbouring cells, of which another may be the clearest
        # where only some of the images have the line.
        around = [(row + down) % size * size + (column + across) % size for down, across in LOBE]
        top = max(around, key=residual.ravel().__getitem__)
        place = _canonical(*(float(np.fft.fftfreq(size)[side]) for side in divmod(top, size)))
        heights[place] = Peak(*place, float(residual.flat[top]), float(ratio[row, column]))
    return sorted(heights.values(), key=lambda peak: -peak.height)


def _canonical(vertical: float, horizontal: float) -> tuple[float, float]:
    """Return (horizontal, vertical) of the one of two mirror images that is on the right."""
    if horizontal == -0.5:  # an FFT gives half a cycle per pixel as -0.5
        return 0.5, abs(vertical)
    if horizontal < 0 or (horizontal == 0 and vertical < 0):
        horizontal, vertical = -horizontal, -vertical
    return abs(horizontal), 0.5 if vertical == -0.5 else vertical


def stand_out(spectrum: Map, error: Map) -> tuple[Map, Map]:
    """Return how far each cell exceeds its surroundings, (S, S) in standard errors and in dB.

    Of cells that are not searched the values mean nothing. For the arguments see `find_peaks`.
    """
    size = len(spectrum)
    radius = frequency_radius(size)
    flat = spectrum - _by_ring(spectrum, radius, 1 / size, np.median)
    span = max(2 * (size // 16) + 1, MIN_SPAN)
    shapes = (span, span), (1, span), (span, 1)
    around = [ndimage.median_filter(flat, shape, mode="wrap") for shape in shapes]
    residual = flat - np.maximum.reduce(around)
    rough = _by_ring(residual, radius, 1 / 16, _robust_spread)
    expected = _by_ring(error, radius, 1 / 16, np.median)
    return residual / np.maximum.reduce([rough, expected, error]), residual


def frequency_radius(size: int) -> Map:
    """Return the distance of each cell of an unshifted (size, size) spectrum from frequency 0."""
    frequencies = np.fft.fftfreq(size)
    return np.asarray(np.hypot(frequencies[:, None], frequencies))


def _by_ring(values: Map, radius: Map, width: float, summary: Any) -> Map:
    """Return a summary of each ring, interpolated linearly over the radius, (S, S)."""
    ring = np.rint(radius / width).astype(int)
    order = np.argsort(ring, axis=None, kind="stable")
    cuts = np.flatnonzero(np.diff(ring.ravel()[order])) + 1
    members = np.split(order, cuts)
    # Rings near the corners hold too few cells; there the last ring with enough of them is used.
    members = [cells for cells in members if len(cells) >= 8 or ring.flat[cells[0]] == 0]
    radii = [float(radius.flat[cells].mean()) for cells in members]
    summaries = [float(summary(values.flat[cells])) for cells in members]
    return np.asarray(np.interp(radius, radii, summaries))


def _robust_spread(values: Map) -> float:
    return ROBUST * float(np.median(np.abs(values - np.median(values))))


def _searched(size: int) -> npt.NDArray[np.bool_]:
    """Return which cells are searched: one of each mirrored pair, and none that are too low."""
    frequencies = np.fft.fftfreq(size)
    down, across = np.meshgrid(frequencies, frequencies, indexing="ij")
    alone = (across == 0) | (across == -0.5)  # columns that mirror themselves
    half = (across > 0) | (alone & ((down >= 0) | (down == -0.5)))
    return np.asarray(half & (frequency_radius(size) >= LOWEST - 1e-9))
