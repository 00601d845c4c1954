"""The story of `faceproof spectra`: the mean Fourier spectra of a data set's classes."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.errors import FaceproofError
from faceproof.explain.config import MIN_SPECTRUM, check_sample, check_seed, number_of
from faceproof.io.folders import refuse_file

if TYPE_CHECKING:
    from faceproof.data.listing import DataSet
    from faceproof.explain.spectra_results import Spectra

MAX_NAMED = 3  # images that are too small


@dataclass(frozen=True)
class SpectraConfig:
    """Show the mean Fourier spectra of a data set's classes and generators.

    Averages the log power spectra of a data set by class, source and generator, compares each with
    the real images (for task face, those without a face), and finds single frequencies that stand
    out, such as the grid that up-sampling leaves. Writes spectra.html, spectra.json, spectra.npz
    and plots.

    Attributes:
        settings: data=NAME, the data set, and data.KEY=VALUE.
        sample: analyse N images, each class in proportion (default: 2,000).
        all: analyse all images instead.
        size: pixels a side of the square in the middle of each image that is analysed, never
            resized. Smaller images are left out and named. By default 128, or less where many
            images are smaller.
        seed: of the sample.
        out: folder to write to.
    """

    settings: tuple[str, ...]
    _: KW_ONLY
    sample: int | None = None
    all: bool = False
    size: int | None = None
    seed: int = 0
    out: Path = Path("spectra")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_sample(self.sample, self.all)
        refuse_file(self.out)
        # An odd size has no frequency of half a cycle per pixel, and a tiny one hardly any at all.
        if self.size is not None and (self.size < MIN_SPECTRUM or self.size % 2):
            raise FaceproofError(
                f"--size is {self.size}; it must be even and at least {MIN_SPECTRUM}"
            )


def spectra(data: "DataSet", config: SpectraConfig) -> Path:
    """Measure mean spectra, print which frequencies stand out, and write and return the page.

    Raises:
        FaceproofError: too many files cannot be read, or every image is too small.
    """
    from faceproof.explain.spectra import measure_spectra
    from faceproof.reports.spectra_page import write_spectra

    num = number_of(config.sample, config.all)
    found = measure_spectra(data, config.size, num, config.seed)
    page = write_spectra(found, config.out)
    print("\n".join([*_lines(found), f"page: {page}"]))
    return page


def _lines(found: "Spectra") -> list[str]:
    from faceproof.reports.spectra_page import describe, verdict

    lines = [f"{found.data}: {found.num_drawn:,} images: {verdict(found)}"]
    for image in found.too_small[:MAX_NAMED]:
        lines.append(f"  too small: {image.path} ({image.width} x {image.height})")
    if small := len(found.too_small):
        lines.append(f"  {small:,} too small for --size {found.size}; all are in spectra.json")
    return [*lines, *(f"  {line}" for line in describe(found))]
