"""A picture of the pseudo-fakes that a training makes, for a person to look at before it ends."""

import numpy as np
from PIL import Image

from faceproof.data.image_io import Pixels, read_image
from faceproof.data.synthesised import Found
from faceproof.io.run_folder import RunFolder
from faceproof.reports.image_grid import SIDE, Tile, image_grid
from faceproof.reports.plots import save_png
from faceproof.training.datamodule import ImageDataModule

NUM_SHOWN = 10  # pseudo-fakes
GAIN = 6  # of differences, which are small
ACROSS = 2  # pseudo-fakes in a row, of three tiles each


def write_synthesis_sheet(run: RunFolder, images: ImageDataModule) -> None:
    """Draw some pseudo-fakes of the first epoch, each beside its image; nothing without any.

    A resumed run keeps its picture.
    """
    if images.synthesised is None or run.synthesis.is_file():
        return
    pairs = images.synthesised.order(images.seed, 0)[:NUM_SHOWN].tolist()
    tiles = [tile for fake, beside in pairs for tile in _tiles(images, fake, beside)]
    title = "Pseudo-fakes of the first epoch, before augmentation, each beside its image"
    save_png(image_grid(tiles, title, 3 * min(ACROSS, len(pairs))), run.synthesis)


def _tiles(images: ImageDataModule, fake: int, beside: int) -> list[Tile]:
    make, rows = images.synthesiser, images.synthesised
    assert make is not None
    assert rows is not None
    image = read_image(images.train_rows["path"][fake].as_py())
    real, made = make(image, 0, beside), make(image, 0, fake)
    difference = np.abs(made.astype(np.int16) - real) * GAIN
    found = rows.find(fake)
    assert isinstance(found, Found)
    return [
        Tile(_small(real), images.task.negative),
        Tile(_small(made), found.kind.replace("_", " ")),
        Tile(_small(difference.clip(0, 255).astype(np.uint8)), f"difference x {GAIN}"),
    ]


def _small(image: Pixels) -> Pixels:
    """Return (3, H, W) uint8 as (h, w, 3), at most twice `SIDE` a side."""
    small = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    small.thumbnail((2 * SIDE, 2 * SIDE))
    return np.asarray(small, np.uint8)
