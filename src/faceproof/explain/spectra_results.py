"""The mean Fourier spectra of a data set as plain data, for `faceproof spectra` and its page.

`explain.spectrum` defines the spectrum of one image and `explain.peaks` the search for frequencies
that stand out; `explain.measure_spectra` measures.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faceproof.explain import peaks as search
from faceproof.explain.peaks import Map, Peak, near
from faceproof.explain.spectrum import NOISE_IN_MAPS, Values, curve_frequencies
from faceproof.task import Task


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
        error: standard error of `curve`.
        peaks: frequencies that stand out; None where there are too few images.
        reference_peaks: those of the negative class itself; None likewise.
    """

    num_reference: int
    power: Map
    curve: Values
    error: Values
    peaks: list[Peak] | None
    reference_peaks: list[Peak] | None

    def is_new(self, peak: Peak) -> bool:
        """Say whether the negative class itself has no peak at the frequency of this one."""
        return not any(near(peak, other, len(self.power)) for other in self.reference_peaks or [])

    def to_json(self) -> dict[str, Any]:
        """Return everything but the map as plain values."""
        return {
            "num_reference": self.num_reference,
            "curve": _numbers(self.curve),
            "curve_error": _numbers(self.error),
            "peaks": _plain(self.peaks),
            "reference_peaks": _plain(self.reference_peaks),
        }


@dataclass(frozen=True)
class Group:
    """The mean spectrum of some of the images, in decibels.

    Attributes:
        kind: overall, class, source or generator.
        name: which one.
        num: images.
        power: mean, (S, S), unshifted.
        deviation: standard deviation of `power` over images; NaN of one image.
        curve: mean by rings of equal width from 0 to half a cycle per pixel, (S/2,).
        curve_deviation: standard deviation of `curve` over images; NaN of one image.
        peaks: frequencies that stand out; None where there are too few images.
        difference: from the negative class; None where the group has images of that class itself
            or its sources have none.
    """

    kind: str
    name: str
    num: int
    power: Map
    deviation: Map
    curve: Values
    curve_deviation: Values
    peaks: list[Peak] | None
    difference: Difference | None

    def to_json(self) -> dict[str, Any]:
        """Return everything but the maps as plain values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "num": self.num,
            "curve": _numbers(self.curve),
            "curve_deviation": _numbers(self.curve_deviation),
            "peaks": _plain(self.peaks),
            "difference": None if self.difference is None else self.difference.to_json(),
        }


@dataclass(frozen=True)
class Spectra:
    """The mean spectra of a data set.

    Attributes:
        data: its name.
        task: names the classes.
        size: pixels a side of the square that was analysed.
        seed: of the draw.
        num_images: images of the data set.
        num_drawn: images that were read.
        groups: all images, each class, each source and each generator.
        too_small: images left out for their size.
        unreadable: files left out.
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
            "groups": [group.to_json() for group in self.groups],
            "too_small": [asdict(image) for image in self.too_small],
            "unreadable": [asdict(file) for file in self.unreadable],
        }


def _numbers(values: Values) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _plain(peaks: list[Peak] | None) -> list[dict[str, float]] | None:
    return None if peaks is None else [asdict(peak) for peak in peaks]
