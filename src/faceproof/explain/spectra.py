"""Mean Fourier spectra of the images of a data set, by class, source and generator.

An image's luma (ITU-R BT.601) is cut to the square in its middle, pixels as they are: resizing
would change the very spectrum that is asked for. Its mean is taken off, a Hann window applied, and
the power said in decibels, of each frequency for the maps and of each ring of them for the curves:
0 dB is the power of white noise of one grey level of 255. In a map that noise lies at -2.5 dB, for
the mean of a logarithm is below the logarithm of the mean (`OF_NOISE`).
Means and spreads are kept as running sums (Welford; groups joined after Chan, Golub and LeVeque,
1979), so that any number of images fits into the same memory.
"""

import contextlib
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from scipy import fft

from faceproof.audit.readable import readable_rows
from faceproof.augment.transforms import GREY
from faceproof.data.image_io import (
    UNREADABLE,
    UnreadableImageError,
    read_file,
    read_image,
)
from faceproof.data.listing import DataSet
from faceproof.errors import FaceproofError
from faceproof.explain.peaks import (
    MIN_IMAGES,
    Map,
    Peak,
    find_peaks,
    frequency_radius,
    near,
)
from faceproof.explain.sampling import class_words, draw_sample, read_each
from faceproof.task import Task

SIZE = 128  # pixels a side
SMALLEST = 32
NUM_MEASURED = 500  # images whose size is looked up to choose one
# What noise of 0 dB shows in a map: its power in one cell is exponential, and the mean of the
# natural logarithm of such a value is Euler's constant below that of its mean.
OF_NOISE = -10 / math.log(10) * float(np.euler_gamma)
FLOOR = 1e-3  # squared grey levels; so that a flat image has a logarithm

Half = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """One image: `power` (S, S/2 + 1) and `curve` (S/2,), both in decibels."""

    power: npt.NDArray[np.float32]
    curve: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TooSmall:
    """An image that has no square of the size asked for."""

    path: str
    width: int
    height: int


@dataclass(frozen=True)
class Unreadable:
    """A file that is no image."""

    path: str
    reason: str


@dataclass
class Running:
    """Number, mean and sum of squared deviations of arrays that come one by one."""

    num: int = 0
    mean: Half = field(default_factory=lambda: np.zeros(1))
    squares: Half = field(default_factory=lambda: np.zeros(1))

    def add(self, value: npt.NDArray[np.floating[Any]]) -> None:
        """Count one more array in."""
        self.num += 1
        before = value - self.mean
        self.mean = self.mean + before / self.num
        self.squares = self.squares + before * (value - self.mean)

    def joined(self, other: "Running") -> "Running":
        """Return what would have come of both streams in one."""
        num = self.num + other.num
        if num == 0:
            return Running()
        step = other.mean - self.mean
        return Running(
            num,
            self.mean + step * (other.num / num),
            self.squares + other.squares + step**2 * (self.num * other.num / num),
        )

    @property
    def deviation(self) -> Half:
        """Return the standard deviation of a population of which these are a sample."""
        deviation: Half = np.sqrt(self.squares / (self.num - 1))
        return deviation

    @property
    def error(self) -> Half:
        """Return the standard error of the mean."""
        error: Half = self.deviation / math.sqrt(self.num)
        return error


@dataclass
class Pile:
    """The spectra of images that belong together."""

    power: Running = field(default_factory=Running)
    curve: Running = field(default_factory=Running)

    @property
    def num(self) -> int:
        """Return the number of images."""
        return self.power.num

    def add(self, spectrum: Spectrum) -> None:
        """Count one more image in."""
        self.power.add(spectrum.power)
        self.curve.add(spectrum.curve)

    def joined(self, other: "Pile") -> "Pile":
        """Return both as one."""
        return Pile(self.power.joined(other.power), self.curve.joined(other.curve))


@dataclass(frozen=True)
class Difference:
    """How a group differs from the negative class of its own sources.

    `power` (S, S) and `curve` (S/2,) are in decibels, `error` is the standard error of `curve`.
    `reference_peaks` are those of the negative class itself. Both are None where there are too few
    images to say.
    """

    num_reference: int
    power: Map
    curve: Half
    error: Half
    peaks: list[Peak] | None
    reference_peaks: list[Peak] | None

    def lacked(self, peak: Peak) -> bool:
        """Say whether the negative class shows no peak where one of the difference stands."""
        return not any(near(peak, other, len(self.power)) for other in self.reference_peaks or [])


@dataclass(frozen=True)
class Group:
    """The mean spectrum of some of the images.

    `kind` is overall, class, source or generator. `power` and `deviation` are (S, S), unshifted;
    `curve` and `curve_deviation` are (S/2,), by rings of equal width from 0 to half a cycle a
    pixel; all in decibels. `peaks` is None where there are too few images to say, `difference`
    where the group is of the negative class itself or that has no image in its sources.
    """

    kind: str
    name: str
    num: int
    power: Map
    deviation: Map
    curve: Half
    curve_deviation: Half
    peaks: list[Peak] | None
    difference: Difference | None


@dataclass(frozen=True)
class Spectra:
    """What was found of a data set; `num_images` is all it has, `num_drawn` those looked at."""

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


def measure_spectra(
    data: DataSet, size: int | None = SIZE, num: int | None = None, seed: int = 0
) -> Spectra:
    """Measure the mean spectra of a data set.

    Args:
        data: the data set.
        size: pixels a side of the square that is looked at; None for one that suits the images.
        num: how many images, drawn by class; None for all.
        seed: of the draw.

    Raises:
        FaceproofError: the size cannot be used, too many files cannot be read, or every image is
            too small.
    """
    if size is not None:
        check_size(size)
    rows = draw_sample(data.table, num, seed)
    if size is None:
        size = suitable_size(rows)
    piles, too_small, unreadable = _gather(rows, size)
    stats = pa.table({"path": rows["path"], "reason": _reasons(rows, unreadable)})
    readable_rows(replace(data, table=rows), stats=stats)  # refuses where they are too many
    if not piles:
        largest = max(min(image.width, image.height) for image in too_small) // 2 * 2
        advice = f"set --size to {largest} or less"
        if largest < SMALLEST:
            advice = f"a spectrum needs {SMALLEST} x {SMALLEST} at least"
        raise FaceproofError(
            f"every image of data set {data.name} that was looked at is smaller than {size} x "
            f"{size} pixels, {too_small[0].path} the first ({too_small[0].width} x "
            f"{too_small[0].height}); {advice}"
        )
    return Spectra(
        data.name,
        data.task,
        size,
        seed,
        data.table.num_rows,
        rows.num_rows,
        list(_groups(piles, data.task)),
        too_small,
        unreadable,
    )


def check_size(size: int) -> None:
    """Refuse a size whose spectrum has no half a cycle a pixel, or hardly any frequencies."""
    if size < SMALLEST or size % 2:
        raise FaceproofError(f"--size is {size}; it must be even and at least {SMALLEST}")


def suitable_size(rows: pa.Table) -> int:
    """Return `SIZE`, or less where more than a twentieth of the images have no such square."""
    places = np.linspace(0, rows.num_rows - 1, min(rows.num_rows, NUM_MEASURED)).round()
    sides = []
    for path in rows["path"].take(pa.array(places.astype(np.int64))).to_pylist():
        # What cannot be read is counted and named when all are read.
        unreadable = contextlib.suppress(*UNREADABLE, UnreadableImageError)
        with unreadable, Image.open(io.BytesIO(read_file(path))) as image:
            sides.append(min(image.size))
    if not sides:
        return SIZE
    common = int(np.quantile(sides, 0.05, method="lower")) // 2 * 2
    return max(SMALLEST, min(SIZE, common))


Key = tuple[str, str, str | None]  # class, source, generator


def _gather(rows: pa.Table, size: int) -> tuple[dict[Key, Pile], list[TooSmall], list[Unreadable]]:
    """Read every image once, and pile its spectrum on those of its like."""
    piles: dict[Key, Pile] = {}
    too_small, unreadable = [], []
    sources, generators = (rows[name].to_pylist() for name in ("source", "generator"))
    keys = zip(class_words(rows), sources, generators, strict=True)
    found = read_each(rows["path"].to_pylist(), spectrum_reader(size), "spectra")
    for key, one in zip(keys, found, strict=True):
        match one:
            case TooSmall():
                too_small.append(one)
            case Unreadable():
                unreadable.append(one)
            case Spectrum():
                piles.setdefault(key, Pile()).add(one)
    return piles, too_small, unreadable


def _reasons(rows: pa.Table, unreadable: list[Unreadable]) -> pa.Array:
    reasons = {one.path: one.reason for one in unreadable}
    return pa.array([reasons.get(path) for path in rows["path"].to_pylist()], pa.string())


def spectrum_reader(size: int) -> Callable[[str], Spectrum | TooSmall | Unreadable]:
    """Return a function from an image file to its spectrum, or to why it has none."""
    weights = GREY.numpy()

    def read(path: str) -> Spectrum | TooSmall | Unreadable:
        try:
            image = read_image(path)
        except UnreadableImageError as error:
            return Unreadable(path, str(error))
        _, height, width = image.shape
        if min(height, width) < size:
            return TooSmall(path, width, height)
        top, left = (height - size) // 2, (width - size) // 2
        cut = image[:, top : top + size, left : left + size]
        return image_spectrum(np.tensordot(weights, cut.astype(np.float32), 1))

    return read


def image_spectrum(grey: npt.NDArray[np.float32]) -> Spectrum:
    """Return the spectrum of (S, S) grey levels from 0 to 255."""
    size = len(grey)
    rise = np.hanning(size + 1)[:size].astype(np.float32)  # periodic, as an FFT takes it
    window = np.outer(rise, rise)
    values = fft.rfft2((grey - grey.mean()) * window)
    power = (values.real**2 + values.imag**2) / float((window**2).sum())
    return Spectrum(_decibels(power), _decibels(_ring_means(power)))


def _decibels(power: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    decibels: npt.NDArray[np.float32] = (10 * np.log10(power + FLOOR)).astype(np.float32)
    return decibels


def _ring_means(power: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Return (S/2,) means over the rings around frequency 0, each counted on its whole circle."""
    size = len(power)
    radius = frequency_radius(size)[:, : size // 2 + 1]
    ring = np.minimum((radius * size).astype(int), size // 2)  # the last is what lies beyond
    weight = np.full(power.shape, 2.0)
    weight[:, [0, -1]] = 1  # the other columns stand for their mirror images too
    total = np.bincount(ring.ravel(), (power * weight).ravel(), size // 2 + 1)
    count = np.bincount(ring.ravel(), weight.ravel(), size // 2 + 1)
    means: npt.NDArray[np.floating[Any]] = (total / count)[:-1]
    return means


def curve_frequencies(size: int) -> Half:
    """Return the middles of the rings of a curve, in cycles per pixel."""
    middles: Half = (np.arange(size // 2) + 0.5) / size
    return middles


def whole(half: Half) -> Map:
    """Return (S, S) from the half (S, S/2 + 1) that the spectrum of a real image is told by."""
    size = len(half)
    rows = -np.arange(size) % size
    return np.concatenate([half, half[rows][:, size // 2 - 1 : 0 : -1]], axis=1)


def _groups(piles: dict[Key, Pile], task: Task) -> Iterable[Group]:
    """Join the piles to overall, each class, each source and each generator."""
    yield _group("overall", "all images", piles, piles, task)
    for place, kind in enumerate(("class", "source", "generator")):
        names = sorted({key[place] or "" for key in piles} - {""})
        if kind == "class":
            names.sort(key=lambda name: (*task.classes, name).index(name))
        for name in names:
            own = {key: pile for key, pile in piles.items() if key[place] == name}
            yield _group(kind, name, own, piles, task)


def _group(kind: str, name: str, own: dict[Key, Pile], piles: dict[Key, Pile], task: Task) -> Group:
    """Describe some piles, and set them against the negative class of their sources."""
    pile = _join(own.values())
    spread = pile if pile.num > 1 else None
    power = whole(pile.power.mean)
    unknown = np.full_like(power, np.nan), np.full_like(pile.curve.mean, np.nan)
    positives = {key for key in own if key[0] == task.positive}
    compared = kind in ("class", "generator") and len(positives) == len(own)
    peaks = _peaks(pile)
    return Group(
        kind,
        name,
        pile.num,
        power,
        whole(pile.power.deviation) if spread else unknown[0],
        pile.curve.mean,
        pile.curve.deviation if spread else unknown[1],
        peaks,
        _difference(pile, _reference(own, piles, task), peaks or []) if compared else None,
    )


def _peaks(pile: Pile) -> list[Peak] | None:
    if pile.num < MIN_IMAGES:
        return None
    return find_peaks(whole(pile.power.mean), whole(pile.power.error))


def _reference(own: dict[Key, Pile], piles: dict[Key, Pile], task: Task) -> Pile:
    """Return the negative class of the sources in which a group has images."""
    sources = {key[1] for key in own}
    return _join(
        pile for key, pile in piles.items() if key[0] == task.negative and key[1] in sources
    )


def _difference(pile: Pile, reference: Pile, own: list[Peak]) -> Difference | None:
    """Set a pile against another; `own` are its peaks, where it has any."""
    if min(pile.num, reference.num) < 2:
        return None
    power = whole(pile.power.mean - reference.power.mean)
    error = whole(np.hypot(pile.power.error, reference.power.error))
    enough = min(pile.num, reference.num) >= MIN_IMAGES
    return Difference(
        reference.num,
        power,
        pile.curve.mean - reference.curve.mean,
        np.hypot(pile.curve.error, reference.curve.error),
        _placed(find_peaks(power, error), own, len(power)) if enough else None,
        _peaks(reference),
    )


def _placed(peaks: list[Peak], own: list[Peak], size: int) -> list[Peak]:
    """Return the peaks of a difference, each where the group's own peak is if that is near.

    Where both have the line, noise decides which cell of its lobe differs most.
    """
    found: dict[tuple[float, float], Peak] = {}
    for peak in peaks:
        home = next((one for one in own if near(peak, one, size)), peak)
        place = home.horizontal, home.vertical
        found.setdefault(place, replace(peak, horizontal=place[0], vertical=place[1]))
    return list(found.values())


def _join(piles: Iterable[Pile]) -> Pile:
    together = Pile()
    for pile in piles:
        together = together.joined(pile)
    return together
