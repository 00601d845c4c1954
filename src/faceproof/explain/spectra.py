"""Measure the mean Fourier spectra of a data set, by class, source and generator.

Every image is read once, and any number of images fits into the same memory.
"""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import reduce

import numpy as np
import pyarrow as pa
from PIL import Image

from faceproof.audit.readable import readable_rows
from faceproof.data.image_io import UNREADABLE, UnreadableImageError, read_file, read_image
from faceproof.data.listing import DataSet
from faceproof.errors import FaceproofError
from faceproof.explain.config import MIN_SPECTRUM
from faceproof.explain.peaks import MIN_IMAGES, Peak, find_peaks, near
from faceproof.explain.sampling import class_names, draw_sample, read_each
from faceproof.explain.spectra_results import Difference, Group, Spectra, TooSmall, Unreadable
from faceproof.explain.spectrum import (
    LUMA,
    Spectrum,
    SpectrumStatistics,
    image_spectrum,
    whole,
)
from faceproof.task import Task

SIZE = 128  # pixels a side
NUM_MEASURED = 500  # images whose size is looked up to choose one

Key = tuple[str, str, str | None]  # class, source, generator


def measure_spectra(
    data: DataSet, size: int | None = SIZE, num: int | None = None, seed: int = 0
) -> Spectra:
    """Measure the mean spectra of a data set.

    Args:
        data: the data set.
        size: pixels a side of the square that is analysed, even; None for one that suits the
            images.
        num: how many images, drawn by class; None for all.
        seed: of the draw.

    Raises:
        FaceproofError: too many files cannot be read, or every image is too small.
    """
    rows = draw_sample(data.table, num, seed)
    if size is None:
        size = suitable_size(rows)
    found, too_small, unreadable = _gather(rows, size)
    reasons = {one.path: one.reason for one in unreadable}
    paths = rows["path"].to_pylist()
    stats = pa.table(
        {"path": paths, "reason": pa.array([reasons.get(path) for path in paths], pa.string())}
    )
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
        with unreadable, Image.open(io.BytesIO(read_file(path))) as image:
            sides.append(min(image.size))
    if not sides:
        return SIZE
    common = int(np.quantile(sides, 0.05, method="lower")) // 2 * 2
    return max(MIN_SPECTRUM, min(SIZE, common))


def _gather(
    rows: pa.Table, size: int
) -> tuple[dict[Key, SpectrumStatistics], list[TooSmall], list[Unreadable]]:
    """Read every image once, and add its spectrum to those of the same class, source, generator."""
    gathered: dict[Key, SpectrumStatistics] = {}
    too_small, unreadable = [], []
    sources, generators = (rows[name].to_pylist() for name in ("source", "generator"))
    keys = zip(class_names(rows), sources, generators, strict=True)
    found = read_each(rows["path"].to_pylist(), spectrum_reader(size), "spectra")
    for key, one in zip(keys, found, strict=True):
        match one:
            case TooSmall():
                too_small.append(one)
            case Unreadable():
                unreadable.append(one)
            case Spectrum():
                gathered.setdefault(key, SpectrumStatistics()).add(one)
    return gathered, too_small, unreadable


def spectrum_reader(size: int) -> Callable[[str], Spectrum | TooSmall | Unreadable]:
    """Return a function from an image file to its spectrum, or to why it has none."""

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
        return image_spectrum(np.tensordot(LUMA, cut.astype(np.float32), 1))

    return read


def _groups(gathered: dict[Key, SpectrumStatistics], task: Task) -> Iterator[Group]:
    """Join what was gathered to all images, each class, each source and each generator."""
    yield _group("overall", "all images", gathered, gathered, task)
    for place, kind in enumerate(("class", "source", "generator")):
        names = sorted({key[place] or "" for key in gathered} - {""})
        if kind == "class":
            names.sort(key=lambda name: (*task.classes, name).index(name))
        for name in names:
            own = {key: one for key, one in gathered.items() if key[place] == name}
            yield _group(kind, name, own, gathered, task)


def _group(
    kind: str,
    name: str,
    own: dict[Key, SpectrumStatistics],
    gathered: dict[Key, SpectrumStatistics],
    task: Task,
) -> Group:
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
    return Group(
        kind,
        name,
        joined.num,
        whole(joined.power.mean),
        whole(joined.power.deviation),
        joined.curve.mean,
        joined.curve.deviation,
        peaks,
        difference,
    )


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
        reference.num,
        power,
        group.curve.mean - reference.curve.mean,
        np.hypot(group.curve.error, reference.curve.error),
        _moved_to(own, find_peaks(power, error), len(power)) if enough else None,
        _peaks(reference),
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
