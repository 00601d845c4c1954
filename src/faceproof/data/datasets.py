"""The rows of an image table as batches: from files, decoded already, or as kept features."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from faceproof.augment.corruptions import Condition
from faceproof.data.image_io import UnreadableImageError, fit_image, read_image
from faceproof.data.samplers import EpochSampler
from faceproof.errors import FaceproofError
from faceproof.performance.cores import by_all_cores
from faceproof.task import Task

NO_LABEL = -1


class Batch(NamedTuple):
    """What a loader yields.

    `image` is (B, 3, S, S) uint8, `label` (B,) int64 with -1 for unlabelled images, `row` (B,)
    int64, where they stand in the table.
    """

    image: Tensor
    label: Tensor
    row: Tensor


class FeatureBatch(NamedTuple):
    """What a loader yields where a frozen backbone's features are kept.

    `features` is what the backbone returns for B images; the rest is as in `Batch`.
    """

    features: Tensor
    label: Tensor
    row: Tensor


class ImageGoneError(FaceproofError):
    """An image that could be read when the run began; of a loading process's traceback rid."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class ImageDataset(Dataset[Batch]):
    """The rows of an image table as tensors, resized for one model's input."""

    def __init__(
        self,
        table: pa.Table,
        task: Task,
        size: int,
        interpolation: str,
        condition: Condition | None = None,
    ) -> None:
        paths = table["path"]
        self.paths = paths.chunk(0) if paths.num_chunks == 1 else paths.combine_chunks()  # a copy
        self.labels = label_numbers(table, task)
        self.size = size
        self.interpolation = interpolation
        self.condition = condition

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Return a whole batch: torch's loader asks for it so."""
        shape = (len(rows), 3, self.size, self.size)
        # As decoders lay out an image: to turn it round takes as long as to decode it.
        images = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        self.fill(images, rows)
        return Batch(images, torch.from_numpy(self.labels[rows]), torch.tensor(rows))

    def fill(self, images: Tensor, rows: list[int]) -> None:
        """Put images in their places, (B, 3, S, S) uint8."""

        def put(place: int) -> None:
            images[place] = self.image(rows[place])

        by_all_cores(put, len(rows))

    def image(self, row: int) -> Tensor:
        """Return an image, (3, S, S) uint8."""
        path = self.paths[row].as_py()
        try:
            decoded = read_image(path)
        except UnreadableImageError as error:
            raise ImageGoneError(
                f"{path} could be read when the run began and no longer can: {error}; "
                "put it back, or start again without it"
            ) from error
        if self.condition is not None:
            # The name below the data set's folder: where that lies should change nothing.
            decoded = self.condition(decoded, "/".join(path.split("/")[-3:]))
        return fit_image(decoded, self.size, self.interpolation)


class CachedImages(Dataset[Batch]):
    """Images that are decoded and resized already, (N, 3, S, S) uint8."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Return a whole batch."""
        images = torch.from_numpy(self.images[rows])
        return Batch(images, torch.from_numpy(self.labels[rows]), torch.tensor(rows))


class CachedFeatures(Dataset[FeatureBatch]):
    """A frozen backbone's features of every view of every image, (K, N, ...).

    Args:
        features: in epoch e, view e modulo K is given.
        labels: (N,).
        sampler: says which epoch it is; None for a single view.
    """

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, sampler: EpochSampler | None = None
    ) -> None:
        self.features = features
        self.labels = labels
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> FeatureBatch:
        """Return a whole batch."""
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
