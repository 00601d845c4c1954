"""Measure the mean Fourier spectra of a data set, by class, source and generator.

An image's luma (ITU-R BT.601) is cut to the square in its middle. Its pixels are not resized, which
would change the spectrum. Its mean is subtracted, a Hann window is applied, and the power is given
in decibels: of each frequency for the maps, and of each ring of frequencies for the curves. 0 dB is
the power of white noise of one grey level of 255. In a map that noise is at -2.5 dB, because the
mean of a logarithm is below the logarithm of the mean (`NOISE_IN_MAPS`).

Every image is read once, and any number of images fits into the same memory. Images of one group (a
video; see `evaluation.groups`) are averaged first: their spectra are alike, so that as many frames
would let chance look like a peak. Means and standard errors are those of groups.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import fft

from faceproof.audit.readable import readable_rows
from faceproof.data.image_io import UNREADABLE, UnreadableImageError, read_file, read_image
from faceproof.data.image_limits import open_image
from faceproof.data.listing import DataSet
from faceproof.errors import FaceproofError
from faceproof.evaluation.groups import unit_codes
from faceproof.explain.config import MIN_SPECTRUM
from faceproof.explain.peaks import MIN_IMAGES, Map, Peak, find_peaks, frequency_radius, near
from faceproof.explain.sampling import LUMA, class_names, draw_sample, read_each
from faceproof.explain.spectra_results import (
    Difference,
    Group,
    Spectra,
    TooSmall,
    Unreadable,
    Values,
)
from faceproof.task import Task

SIZE = 128  # pixels a side
NUM_MEASURED = 500  # images whose size is looked up to choose one
FLOOR = 1e-3  # squared grey levels; gives a flat image a finite logarithm

Floats = npt.NDArray[np.floating[Any]]
Key = tuple[str, str, str | None]  # class, source, generator


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
        squares = self.squares + other.squares + step**2 * (self.num * other.num / num)
        return RunningStatistics(num, self.mean + step * (other.num / num), squares)

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
    """Running statistics of the spectra of independent units, and their number of images."""

    power: RunningStatistics = field(default_factory=RunningStatistics)
    curve: RunningStatistics = field(default_factory=RunningStatistics)
    num_images: int = 0

    @property
    def num(self) -> int:
        """The number of independent units."""
        return self.power.num

    def add(self, unit: "SpectrumStatistics") -> None:
        """Include one more unit: the mean of its images."""
        self.power.add(unit.power.mean)
        self.curve.add(unit.curve.mean)
        self.num_images += unit.num_images

    def add_image(self, spectrum: Spectrum) -> None:
        """Include one more image of a unit."""
        self.power.add(spectrum.power)
        self.curve.add(spectrum.curve)
        self.num_images += 1

    def joined(self, other: "SpectrumStatistics") -> "SpectrumStatistics":
        """Return the statistics of both sets of images together."""
        return SpectrumStatistics(
            self.power.joined(other.power),
            self.curve.joined(other.curve),
            self.num_images + other.num_images,
        )


Gathered = dict[Key, SpectrumStatistics]


def measure_spectra(
    data: DataSet, size: int | None = SIZE, num: int | None = None, seed: int = 0
) -> Spectra:
    """Measure the mean spectra of a data set, on `num` images drawn by class, or on all.

    `size` is that of the analysed square, even; None takes one that suits the images.

    Raises:
        FaceproofError: too many files cannot be read, or every image is too small.
    """
    rows = draw_sample(data.table, num, seed)
    if size is None:
        size = suitable_size(rows)
    found, too_small, unreadable = _gather(rows, size)
    reasons = {one.path: one.reason for one in unreadable}
    paths = rows["path"].to_pylist()
    reason = pa.array(map(reasons.get, paths), pa.string())
    stats = pa.table({"path": paths, "reason": reason})
    readable_rows(replace(data, table=rows), stats=stats)  # refuses too many unreadable files
    if not found:
        raise _all_too_small(data.name, size, too_small)
    groups = list(_groups(found, data.task))
    return Spectra(
        data.name, data.task, size, seed, data.table.num_rows, rows.num_rows, groups, too_small,
        unreadable,
    )  # fmt: skip


def _all_too_small(name: str, size: int, too_small: list[TooSmall]) -> FaceproofError:
    first = too_small[0]
    largest = max(min(image.width, image.height) for image in too_small) // 2 * 2
    advice = f"set --size to {largest} or less"
    if largest < MIN_SPECTRUM:
        advice = f"a spectrum needs {MIN_SPECTRUM} x {MIN_SPECTRUM} at least"
    return FaceproofError(
        f"every image of data set {name} that was read is smaller than {size} x {size} pixels, "
        f"{first.path} the first ({first.width} x {first.height}); {advice}"
    )


def suitable_size(rows: pa.Table) -> int:
    """Return `SIZE`, or less where more than a twentieth of the images have no such square."""
    places = np.linspace(0, rows.num_rows - 1, min(rows.num_rows, NUM_MEASURED)).round()
    sides = []
    for path in rows["path"].take(pa.array(places.astype(np.int64))).to_pylist():
        # Unreadable files are counted and named later, when all are read.
        unreadable = contextlib.suppress(*UNREADABLE, UnreadableImageError)
        with unreadable, open_image(read_file(path)) as image:
            sides.append(min(image.size))
    if not sides:
        return SIZE
    common = int(np.quantile(sides, 0.05, method="lower")) // 2 * 2
    return max(MIN_SPECTRUM, min(SIZE, common))


def _gather(rows: pa.Table, size: int) -> tuple[Gathered, list[TooSmall], list[Unreadable]]:
    """Read every image once, and add its spectrum to those of the same class, source, generator.

    The images of a unit come one after the other, so that the spectra of one are held at a time.
    """
    rows, codes = _unit_by_unit(rows)
    gathered: Gathered = {}
    too_small, unreadable = [], []
    sources, generators = (rows[name].to_pylist() for name in ("source", "generator"))
    keys = zip(class_names(rows), sources, generators, strict=True)
    found = read_each(rows["path"].to_pylist(), partial(_read_spectrum, size=size), "spectra")
    for _, unit in groupby(zip(codes, keys, found, strict=True), key=itemgetter(0)):
        of_unit: Gathered = {}
        for _, key, one in unit:
            match one:
                case TooSmall():
                    too_small.append(one)
                case Unreadable():
                    unreadable.append(one)
                case Spectrum():
                    of_unit.setdefault(key, SpectrumStatistics()).add_image(one)
        for key, mean in of_unit.items():
            gathered.setdefault(key, SpectrumStatistics()).add(mean)
    return gathered, too_small, unreadable


def _unit_by_unit(rows: pa.Table) -> tuple[pa.Table, list[int]]:
    """Return the rows in order of the first of their unit, and the numbers of their units."""
    codes = unit_codes(rows)
    _, first, unit = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first[unit], kind="stable")
    return rows.take(pa.array(order)), codes[order].tolist()


def _read_spectrum(path: str, size: int) -> Spectrum | TooSmall | Unreadable:
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        return Unreadable(path, str(error))
    _, height, width = image.shape
    if min(height, width) < size:
        return TooSmall(path, width, height)
    top, left = (height - size) // 2, (width - size) // 2
    cut = image[:, top : top + size, left : left + size]
    return image_spectrum(np.tensordot(LUMA, cut.astype(np.float32), 1))


def _groups(gathered: Gathered, task: Task) -> Iterator[Group]:
    """Join what was gathered to all images, each class, each source and each generator."""
    yield _group("overall", "all images", gathered, gathered, task)
    for place, kind in enumerate(("class", "source", "generator")):
        names = sorted({key[place] or "" for key in gathered} - {""})
        if kind == "class":
            names.sort(key=lambda name: (*task.classes, name).index(name))
        for name in names:
            own = {key: one for key, one in gathered.items() if key[place] == name}
            yield _group(kind, name, own, gathered, task)


def _group(kind: str, name: str, own: Gathered, gathered: Gathered, task: Task) -> Group:
    """Describe a group, and compare it with the negative class of its sources."""
    joined = _join(own.values())
    peaks = _peaks(joined)
    difference = None
    if kind in ("class", "generator") and all(key[0] == task.positive for key in own):
        sources = {key[1] for key in own}
        reference = _join(
            one for key, one in gathered.items() if key[0] == task.negative and key[1] in sources
        )
        difference = _difference(joined, reference, peaks or [])
    power, curve = joined.power, joined.curve
    return Group(
        kind, name, joined.num_images, joined.num, whole(power.mean), whole(power.deviation),
        curve.mean, curve.deviation, peaks, difference,
    )  # fmt: skip


def _join(parts: Iterable[SpectrumStatistics]) -> SpectrumStatistics:
    return reduce(SpectrumStatistics.joined, parts, SpectrumStatistics())


def _peaks(spectra: SpectrumStatistics) -> list[Peak] | None:
    if spectra.num < MIN_IMAGES:
        return None
    return find_peaks(whole(spectra.power.mean), whole(spectra.power.error))


def _difference(
    group: SpectrumStatistics, reference: SpectrumStatistics, own: list[Peak]
) -> Difference | None:
    """Compare two mean spectra; `own` are the peaks of the group itself."""
    if min(group.num, reference.num) < 2:
        return None
    power = whole(group.power.mean - reference.power.mean)
    error = whole(np.hypot(group.power.error, reference.power.error))
    enough = min(group.num, reference.num) >= MIN_IMAGES
    return Difference(
        num_reference=reference.num_images,
        power=power,
        curve=group.curve.mean - reference.curve.mean,
        curve_error=np.hypot(group.curve.error, reference.curve.error),
        peaks=_moved_to(own, find_peaks(power, error), len(power)) if enough else None,
        reference_peaks=_peaks(reference),
    )


def _moved_to(own: list[Peak], peaks: list[Peak], size: int) -> list[Peak]:
    """Return the peaks of a difference, each at the frequency of the group's own peak if near.

    Where both classes have the line, noise decides which cell of its lobe differs most.
    """
    found: dict[tuple[float, float], Peak] = {}
    for peak in peaks:
        home = next((one for one in own if near(peak, one, size)), peak)
        place = home.horizontal, home.vertical
        found.setdefault(place, replace(peak, horizontal=place[0], vertical=place[1]))
    return list(found.values())
