"""The log power spectrum of one image, and running statistics of the spectra of many.

An image's luma (ITU-R BT.601) is cut to the square in its middle. Its pixels are not resized, which
would change the spectrum. Its mean is subtracted, a Hann window is applied, and the power is given
in decibels: of each frequency for the maps, and of each ring of frequencies for the curves. 0 dB is
the power of white noise of one grey level of 255. In a map that noise is at -2.5 dB, because the
mean of a logarithm is below the logarithm of the mean (`NOISE_IN_MAPS`).
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from faceproof.explain.peaks import Map, frequency_radius

# Power of white noise in one cell is exponential, and the mean of the natural logarithm of such a
# value is Euler's constant below the logarithm of its mean.
NOISE_IN_MAPS = -10 / math.log(10) * float(np.euler_gamma)
FLOOR = 1e-3  # squared grey levels; gives a flat image a finite logarithm
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601

Values = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of one image: `power` (S, S/2 + 1) and `curve` (S/2,), both in decibels."""

    power: npt.NDArray[np.float32]
    curve: npt.NDArray[np.float32]


def image_spectrum(grey: npt.NDArray[np.float32]) -> Spectrum:
    """Return the spectrum of (S, S) grey levels from 0 to 255; S is even."""
    size = len(grey)
    rise = np.hanning(size + 1)[:size].astype(np.float32)  # periodic, as an FFT expects
    window = np.outer(rise, rise)
    values = fft.rfft2((grey - grey.mean()) * window)
    power = (values.real**2 + values.imag**2) / float((window**2).sum())
    return Spectrum(_decibels(power), _decibels(_ring_means(power)))


def _decibels(power: Floats) -> npt.NDArray[np.float32]:
    return np.asarray(10 * np.log10(power + FLOOR), np.float32)


def _ring_means(power: Floats) -> Floats:
    """Return the mean of each ring around frequency 0, (S/2,), over its whole circle."""
    size = len(power)
    radius = frequency_radius(size)[:, : size // 2 + 1]
    ring = np.minimum((radius * size).astype(int), size // 2)  # the last is what lies beyond
    weight = np.full(power.shape, 2.0)
    weight[:, [0, -1]] = 1  # each other column stands for its mirror image too
    total = np.bincount(ring.ravel(), (power * weight).ravel(), size // 2 + 1)
    count = np.bincount(ring.ravel(), weight.ravel(), size // 2 + 1)
    return np.asarray((total / count)[:-1])


def curve_frequencies(size: int) -> Values:
    """Return the middles of the rings of a curve, (S/2,), in cycles per pixel."""
    return np.asarray((np.arange(size // 2) + 0.5) / size)


def whole(half: Values) -> Map:
    """Return the whole spectrum (S, S) of a real image from its half (S, S/2 + 1)."""
    size = len(half)
    rows = -np.arange(size) % size
    return np.concatenate([half, half[rows][:, size // 2 - 1 : 0 : -1]], axis=1)


@dataclass
class RunningStatistics:
    """Number, mean and sum of squared deviations of arrays that come one by one.

    By Welford's recurrence; two are joined after Chan, Golub and LeVeque (1979). Memory does not
    grow with the number of arrays.
    """

    num: int = 0
    mean: Values = field(default_factory=lambda: np.zeros(1))
    squares: Values = field(default_factory=lambda: np.zeros(1))

    def add(self, value: Floats) -> None:
        """Include one more array."""
        self.num += 1
        before = value - self.mean
        self.mean = self.mean + before / self.num
        self.squares = self.squares + before * (value - self.mean)

    def joined(self, other: "RunningStatistics") -> "RunningStatistics":
        """Return the statistics of both streams together."""
        num = self.num + other.num
        if num == 0:
            return RunningStatistics()
        step = other.mean - self.mean
        return RunningStatistics(
            num,
            self.mean + step * (other.num / num),
            self.squares + other.squares + step**2 * (self.num * other.num / num),
        )

    @property
    def deviation(self) -> Values:
        """The sample standard deviation; NaN of fewer than two arrays."""
        if self.num < 2:
            return np.full_like(self.mean, np.nan)
        return np.asarray(np.sqrt(self.squares / (self.num - 1)))

    @property
    def error(self) -> Values:
        """The standard error of the mean."""
        return np.asarray(self.deviation / math.sqrt(self.num))


@dataclass
class SpectrumStatistics:
    """Running statistics of the spectra of images that belong together."""

    power: RunningStatistics = field(default_factory=RunningStatistics)
    curve: RunningStatistics = field(default_factory=RunningStatistics)

    @property
    def num(self) -> int:
        """The number of images."""
        return self.power.num

    def add(self, spectrum: Spectrum) -> None:
        """Include one more image."""
        self.power.add(spectrum.power)
        self.curve.add(spectrum.curve)

    def joined(self, other: "SpectrumStatistics") -> "SpectrumStatistics":
        """Return the statistics of both sets of images together."""
        return SpectrumStatistics(self.power.joined(other.power), self.curve.joined(other.curve))
