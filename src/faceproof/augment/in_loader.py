"""What changes each training image in the loader, before it is resized, as a data set needs it."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from faceproof.augment.by_name import named_transforms
from faceproof.augment.transforms import Augment
from faceproof.data.datasets import RandomChange
from faceproof.data.draws import OF_PAIR, OF_ROW
from faceproof.data.image_io import Pixels


class DrawnBy:
    """Says whose draws the image of a row gets, (2,): its own, or those of its pair.

    A fake that is compressed or cropped otherwise than its original would be told by that.

    Args:
        pairs: the column `pair` of a table, names or null.
        together: whether two of a pair get the same draws.
    """

    def __init__(self, pairs: pa.ChunkedArray, together: bool) -> None:
        self.pairs = None
        if together and pairs.null_count < len(pairs):
            self.pairs = pairs.combine_chunks()  # arrow: worker processes share its memory

    def __call__(self, row: int) -> tuple[int, int]:
        """Return numbers that stand for the row, or for its pair."""
        name = None if self.pairs is None else self.pairs[row].as_py()
        if name is None:
            return OF_ROW, row
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return OF_PAIR, int.from_bytes(digest, "big")


class LoaderAugment:
    """The changes of `augment.web` and `augment.torchvision` to the images of one table.

    The draws are a function of (seed, epoch, row); those of a row with a pair, of (seed, epoch,
    name of the pair), unless `augment.same_in_pairs` is off.

    Args:
        augment: the augmentation.
        seed: of the draws.
        pairs: the column `pair` of the table, names or null.
    """

    def __init__(self, augment: Augment, seed: int, pairs: pa.ChunkedArray) -> None:
        self.web, self.seed = augment.web, seed
        self.named = named_transforms(augment.torchvision)
        self.drawn_by = DrawnBy(pairs, augment.same_in_pairs)

    def __call__(self, image: Pixels, epoch: int, row: int) -> Pixels:
        """Return the changed image of a row, (3, H, W) uint8."""
        generator = np.random.default_rng((self.seed, epoch, *self.drawn_by(row)))
        if self.web.changes:
            image = self.web(image, generator)
        for transform in self.named:
            image = transform(image, generator)
        return image


class InTurn:
    """Changes that are made one after another."""

    def __init__(self, changes: Sequence[RandomChange]) -> None:
        self.changes = changes

    def __call__(self, image: Pixels, epoch: int, row: int) -> Pixels:
        """Return the changed image of a row, (3, H, W) uint8."""
        for change in self.changes:
            image = change(image, epoch, row)
        return image
