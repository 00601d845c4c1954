"""The story of `faceproof explore`: what a data set holds."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.explain.config import check_sample, check_seed, number_of
from faceproof.io.folders import refuse_file

if TYPE_CHECKING:
    from faceproof.data.listing import DataSet


@dataclass(frozen=True)
class ExploreConfig:
    """Show what a data set holds.

    Images by class, split, source and generator; sizes, aspect, intensity and sharpness by class; a
    grid of images of each class; mean images. Counts are of all images, the rest of a sample.
    Writes explore.html, explore.json and plots.

    Attributes:
        settings: data=NAME, the data set, and data.KEY=VALUE.
        sample: measure N images, each class in proportion (default: 2,000).
        all: measure all images instead.
        seed: of the sample.
        out: folder to write to.
    """

    settings: tuple[str, ...]
    _: KW_ONLY
    sample: int | None = None
    all: bool = False
    seed: int = 0
    out: Path = Path("explore")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_sample(self.sample, self.all)
        refuse_file(self.out)


def explore(data: "DataSet", config: ExploreConfig) -> Path:
    """Measure a data set, print what it holds, and write and return the page.

    Raises:
        FaceproofError: too many files cannot be read, or the sample is smaller than the number of
            classes.
    """
    from faceproof.explain.exploration import explore as measure
    from faceproof.reports.explore_page import describe, write_exploration

    found = measure(data, number_of(config.sample, config.all), config.seed)
    page = write_exploration(found, config.out)
    print("\n".join([*describe(found), f"page: {page}"]))
    return page
