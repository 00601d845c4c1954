"""PyTorch data sets over an image table: decoded from files, decoded in memory, or as features.

Each returns whole batches, so a loader needs no collation.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from faceproof.data.image_io import Pixels, UnreadableImageError, read_image
from faceproof.data.model_input import Crop, fit_image
from faceproof.data.samplers import EpochRows, EpochSampler
from faceproof.errors import FaceproofError
from faceproof.performance.cores import by_all_cores
from faceproof.task import Task

NO_LABEL = -1

# A change to a decoded image, (3, H, W) uint8, before it is fitted; it knows the image's name.
ImageChange = Callable[[Pixels, str], Pixels]
# A random one, which knows the epoch and the image's row.
RandomChange = Callable[[Pixels, int, int], Pixels]


class Batch(NamedTuple):
    """A batch of images."""

    image: Tensor  # (B, 3, S, S) uint8; (B, N, 3, S, S) where images are judged by N tiles
    label: Tensor  # (B,) int64, -1 for unlabelled images
    row: Tensor  # (B,) int64, the images' rows in their table


class FeatureBatch(NamedTuple):
    """A batch of cached features of a frozen backbone."""

    features: Tensor  # what the backbone returned for B images; the rest is as in `Batch`
    label: Tensor
    row: Tensor


class ImageGoneError(FaceproofError):
    """An image was readable when the run began and no longer is.

    torch puts a worker's traceback in front of the message; it is removed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


def read_or_gone(path: str) -> Pixels:
    """Decode an image that could be read when the run began, (3, H, W) uint8.

    Raises:
        ImageGoneError: it can no longer be read.
    """
    try:
        return read_image(path)
    except UnreadableImageError as error:
        raise ImageGoneError(
            f"{path} could be read when the run began and no longer can: {error}; "
            "put it back, or start again without it"
        ) from error


class ImageDataset(Dataset[Batch]):
    """The images of a table, decoded from their files and brought to a model's input.

    Args:
        table: an image table.
        task: numbers the labels.
        size: side of the model's input, in pixels.
        interpolation: of the resize, `bilinear` or `bicubic`.
        change: applied to each decoded image before the resize, such as a corruption.
        augment: likewise, but another one in each epoch: that of the `EpochRows` asked for, or 0.
        crop: crops in the place of the resize; None for the whole image.
    """

    def __init__(
        self, table: pa.Table, task: Task, size: int, interpolation: str,
        change: ImageChange | None = None, augment: RandomChange | None = None,
        crop: Crop | None = None,
    ) -> None:  # fmt: skip
        paths = table["path"]
        # One array: combining copies, and strings of Python would be copied into every worker.
        self.paths = paths.chunk(0) if paths.num_chunks == 1 else paths.combine_chunks()
        self.labels = label_numbers(table, task)
        self.size, self.interpolation = size, interpolation
        self.change, self.augment, self.crop = change, augment, crop

    @property
    def tiles(self) -> int | None:
        """Into how many crops an image is cut; None where a batch has one of each."""
        return None if self.crop is None else self.crop.tiles

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Return the batch of some rows; torch's loader calls this."""
        shape = (len(rows) * (self.tiles or 1), 3, self.size, self.size)
        # The memory layout of decoded images: transposing takes as long as decoding.
        images = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        if self.tiles is not None:
            images = images.view(len(rows), self.tiles, *images.shape[1:])
        self.fill(images, rows)
        return Batch(images, *map(torch.from_numpy, self.numbers(rows)))

    def numbers(self, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and rows of a batch, (B,) int64 each."""
        return self.labels[rows], np.array(rows, np.int64)

    def fill(self, images: Tensor, rows: list[int]) -> None:
        """Write the images of some rows into a tensor shaped as in `Batch`."""
        epoch = rows.epoch if isinstance(rows, EpochRows) else 0

        def put(place: int) -> None:
            images[place] = self.image(rows[place], epoch)

        by_all_cores(put, len(rows))

    def image(self, row: int, epoch: int = 0) -> Tensor:
        """Return one image, (3, S, S) or (N, 3, S, S) uint8, or an `ImageGoneError`."""
        path = self.paths[row].as_py()
        decoded = read_or_gone(path)
        if self.change is not None:
            # Not the whole path: where the data set's folder lies must not change the result.
            decoded = self.change(decoded, "/".join(path.split("/")[-3:]))
        if self.augment is not None:
            decoded = self.augment(decoded, epoch, row)
        return fit_image(decoded, self.size, self.interpolation, self.crop)


class CachedImages(Dataset[Batch]):
    """Images, (N, 3, S, S) uint8, that are decoded and resized already; labels are (N,) int64."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Return the batch of some rows; torch's loader calls this."""
        images = torch.from_numpy(self.images[rows])
        return Batch(images, torch.from_numpy(self.labels[rows]), torch.tensor(rows))


class CachedFeatures(Dataset[FeatureBatch]):
    """A frozen backbone's features of each view of each image.

    `features` are (K, N, ...) float32 for K views, and `labels` (N,) int64. Epoch e, which the
    `sampler` knows, takes view e modulo K.
    """

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, sampler: EpochSampler | None = None
    ) -> None:
        self.features, self.labels, self.sampler = features, labels, sampler

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> FeatureBatch:
        """Return the batch of some rows; torch's loader calls this."""
        view = self.sampler.epoch % len(self.features) if self.sampler else 0
        features = torch.from_numpy(self.features[view, rows])
        return FeatureBatch(features, torch.from_numpy(self.labels[rows]), torch.tensor(rows))


def label_numbers(table: pa.Table, task: Task) -> np.ndarray:
    """Return the labels as numbers, (N,) int64: 0 and 1 by the task, -1 without a label."""
    classes = pa.array(task.classes)
    column = table["label"].cast(pa.string()).combine_chunks()
    numbers = pc.fill_null(pc.index_in(column, classes), NO_LABEL)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.int64)


AnyDataset = ImageDataset | CachedImages | CachedFeatures
