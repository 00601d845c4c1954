"""The mean Fourier spectra of a data set as plain data; `explain.spectra` measures them."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faceproof.explain import peaks as search
from faceproof.explain.peaks import Map, Peak, near
from faceproof.task import Task

# Power of white noise in one cell is exponential, and the mean of the natural logarithm of such a
# value is Euler's constant below the logarithm of its mean.
NOISE_IN_MAPS = -10 / math.log(10) * float(np.euler_gamma)

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TooSmall:
    """An image that is smaller than the square that is analysed; in pixels."""

    path: str
    width: int
    height: int


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read as an image."""

    path: str
    reason: str


@dataclass(frozen=True)
class Difference:
    """How a group differs from the negative class of the same sources.

    Attributes:
        num_reference: images of the negative class.
        power: (S, S), unshifted, in decibels.
        curve: (S/2,), in decibels.
        curve_error: standard error of `curve`.
        peaks: frequencies that stand out; None where there are too few images.
        reference_peaks: those of the negative class itself; None likewise.
    """

    num_reference: int
    power: Map
    curve: Values
    curve_error: Values
    peaks: list[Peak] | None
    reference_peaks: list[Peak] | None

    def is_new(self, peak: Peak) -> bool:
        """Say whether the negative class itself has no peak at the frequency of this one."""
        return not any(near(peak, other, len(self.power)) for other in self.reference_peaks or [])


@dataclass(frozen=True)
class Group:
    """The mean spectrum of some of the images, in decibels.

    Attributes:
        kind: overall, class, source or generator.
        num: images.
        num_units: independent units of them, such as videos, each of which counts once.
        power: mean, (S, S), unshifted.
        deviation: standard deviation of `power` over units; NaN of one.
        curve: mean by rings of equal width from 0 to half a cycle per pixel, (S/2,).
        curve_deviation: standard deviation of `curve` over units; NaN of one.
        peaks: frequencies that stand out; None where there are too few units.
        difference: from the negative class; None where the group has images of that class itself
            or its sources have none.
    """

    kind: str
    name: str
    num: int
    num_units: int
    power: Map
    deviation: Map
    curve: Values
    curve_deviation: Values
    peaks: list[Peak] | None
    difference: Difference | None


@dataclass(frozen=True)
class Spectra:
    """The mean spectra of a data set.

    Attributes:
        size: pixels a side of the square that was analysed.
        num_drawn: images that were read.
        groups: all images, each class, each source and each generator.
        too_small: left out, like those `unreadable`.
    """

    data: str
    task: Task
    size: int
    seed: int
    num_images: int
    num_drawn: int
    groups: list[Group]
    too_small: list[TooSmall]
    unreadable: list[Unreadable]

    def of(self, kind: str) -> list[Group]:
        """Return the groups of a kind."""
        return [group for group in self.groups if group.kind == kind]

    def distinct(self) -> list[Group]:
        """Return the groups without those that hold the same images as one before them."""
        groups: list[Group] = []
        for kind in ("class", "overall", "source", "generator"):
            for group in self.of(kind):
                if not any(np.array_equal(group.power, other.power) for other in groups):
                    groups.append(group)
        return groups

    def compared(self) -> list[tuple[Group, Difference]]:
        """Return the groups that differ from the negative class by some measure, classes first."""
        return [(group, group.difference) for group in self.distinct() if group.difference]

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the maps, (S, S) with frequency 0 in the middle, named `mean:KIND:NAME`.

        Beside them `deviation:KIND:NAME`, `difference:KIND:NAME` where there is one, and the
        `frequencies` of both axes, (S,).
        """
        found = {"frequencies": np.fft.fftfreq(self.size)}
        for group in self.groups:
            name = f"{group.kind}:{group.name}"
            found |= {f"mean:{name}": group.power, f"deviation:{name}": group.deviation}
            if group.difference is not None:
                found[f"difference:{name}"] = group.difference.power
        return {name: np.fft.fftshift(values).astype(np.float32) for name, values in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything but the maps as plain values; what is undefined is None."""
        return {
            "data": self.data,
            "task": self.task.name,
            "size": self.size,
            "window": "Hann",
            "unit": "dB; 0 dB is white noise of 1 grey level of 255",
            "noise_of_0_db_in_maps": NOISE_IN_MAPS,
            "seed": self.seed,
            "num_images": self.num_images,
            "num_drawn": self.num_drawn,
            "search": {
                "false_alarm": search.FALSE_ALARM,
                "num_cells": search.num_cells(self.size),
                "threshold_sigmas": search.threshold(self.size),
                "lowest_frequency": search.LOWEST,
                "min_images": search.MIN_IMAGES,
                "min_height_db": search.MIN_HEIGHT,
            },
            "frequencies": curve_frequencies(self.size).tolist(),
            "groups": _plain(self.groups),
            "too_small": _plain(self.too_small),
            "unreadable": _plain(self.unreadable),
        }


def curve_frequencies(size: int) -> Values:
    """Return the middles of the rings of a curve, (S/2,), in cycles per pixel."""
    return np.asarray((np.arange(size // 2) + 0.5) / size)


def _plain(value: Any) -> Any:
    """Return a group, or a part of it, as plain values without the maps."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return [number if math.isfinite(number) else None for number in value.tolist()]
    if not is_dataclass(value):
        return value
    parts = {item.name: getattr(value, item.name) for item in fields(value)}
    maps = [name for name, part in parts.items() if isinstance(part, np.ndarray) and part.ndim == 2]
    return {name: _plain(part) for name, part in parts.items() if name not in maps}
