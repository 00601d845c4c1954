"""A table of faces from several sources, and of fakes by several generators: tiny, and learned."""

import csv
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import write_images

SPLITS = {"train": 8, "val": 4, "test": 4}  # images of each class, in each source
# The oval of `write_images` is the fake; sources differ in the seed of their noise alone.
TINY = (
    "data=table", "model=face_cnn", "model.input.size=16", "model.head.dropout=0", "trainer=smoke",
    "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
)  # fmt: skip


def write_sources(
    folder: Path, names: str = "abc", splits: Mapping[str, Mapping[str, int]] | None = None,
    classes: Mapping[str, tuple[str, ...]] | None = None,
) -> Path:  # fmt: skip
    """Write a CSV table and its images, and return the table.

    Args:
        folder: where they go.
        names: of the sources, a letter each; half of their fakes are by warp, half by blend.
        splits: how many images of each class a source has in each split, if not `SPLITS`.
        classes: those that a source has, if not both.
    """
    rows = []
    for place, source in enumerate(names):
        for number, (split, num) in enumerate(((splits or {}).get(source) or SPLITS).items()):
            for label in (classes or {}).get(source, ("real", "fake")):
                files = [f"{split}{n}.jpg" for n in range(num)]
                seed = 10 * place + number
                paths = write_images(
                    folder / source / label, files, (24, 24), seed, face=label == "fake"
                )
                for n, path in enumerate(paths):
                    generator = ("warp", "blend")[n % 2] if label == "fake" else ""
                    rows.append([str(path), label, split, source, generator])
    file = folder / "sources.csv"
    with file.open("w", newline="") as table:
        csv.writer(table).writerows([["path", "label", "split", "source", "generator"], *rows])
    return file
