"""From a picture table to batches of tensors."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from faceproof.data.conditions import Condition
from faceproof.data.cores import by_all_cores, num_cores
from faceproof.data.pictures import UnreadablePictureError, fit_picture, read_picture
from faceproof.data.shard_order import Shards, find_shards
from faceproof.errors import FaceproofError
from faceproof.memory import give_back
from faceproof.task import Task

NO_LABEL = -1
MAX_WORKERS = 8
DEATH = "DataLoader worker (pid"


class Batch(NamedTuple):
    """What a loader yields.

    `image` is (B, 3, S, S) uint8, `label` (B,) int64 with -1 for unlabelled pictures, `row` (B,)
    int64, where they stand in the table.
    """

    image: Tensor
    label: Tensor
    row: Tensor


class FeatureBatch(NamedTuple):
    """What a loader yields where a frozen trunk's features are kept.

    `features` is what the trunk returns for B pictures; the rest is as in `Batch`.
    """

    features: Tensor
    label: Tensor
    row: Tensor


class PictureGoneError(FaceproofError):
    """A picture that could be read when the run began; of a loading process's traceback rid."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class LoaderDiedError(FaceproofError):
    """A loading process that has died."""


@contextlib.contextmanager
def told_of_dead_loaders() -> Iterator[None]:
    """Say in one message that a loading process has died.

    Raises:
        LoaderDiedError: one has.
    """
    try:
        yield
    # torch has no class of its own for it; the others come where it dies handing a batch over.
    except (RuntimeError, EOFError, ConnectionResetError, ConnectionRefusedError) as error:
        text = str(error).strip()
        raised_within = text.startswith("Caught ")  # by the data set, in a process that lives
        if raised_within or (isinstance(error, RuntimeError) and DEATH not in text):
            raise
        said = text.splitlines()[0].rstrip(". ") if text else type(error).__name__
        raise LoaderDiedError(
            f"a loading process has died ({said}), as when memory runs out; free some, or take "
            "fewer of them (loader.num_workers)"
        ) from error


class PictureDataset(Dataset[Batch]):
    """The rows of a picture table as tensors, resized for one model's input."""

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
        numbers = torch.tensor(rows)
        shape = (len(rows), 3, self.size, self.size)
        # As decoders lay out a picture: to turn it round takes as long as to decode it.
        images = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)

        def put(place: int) -> None:
            images[place] = self.picture(rows[place])

        by_all_cores(put, len(rows))
        return Batch(images, torch.from_numpy(self.labels[rows]), numbers)

    def picture(self, row: int) -> Tensor:
        """Return a picture, (3, S, S) uint8."""
        path = self.paths[row].as_py()
        try:
            picture = read_picture(path)
        except UnreadablePictureError as error:
            raise PictureGoneError(
                f"{path} could be read when the run began and no longer can: {error}; "
                "put it back, or start again without it"
            ) from error
        if self.condition is not None:
            # The name below the data set's folder: where that lies should change nothing.
            picture = self.condition(picture, "/".join(path.split("/")[-3:]))
        return fit_picture(picture, self.size, self.interpolation)


class KeptPictures(Dataset[Batch]):
    """Pictures that are decoded and resized already, (N, 3, S, S) uint8."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Return a whole batch."""
        images = torch.from_numpy(self.images[rows])
        return Batch(images, torch.from_numpy(self.labels[rows]), torch.tensor(rows))


class KeptFeatures(Dataset[FeatureBatch]):
    """A frozen trunk's features of every view of every picture, (K, N, ...).

    Args:
        features: in epoch e, view e modulo K is given.
        labels: (N,).
        sampler: says which epoch it is; None for a single view.
    """

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, sampler: "EpochSampler | None" = None
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


class EpochSampler(Sampler[int]):
    """A shuffled order that is a function of (seed, epoch), divided among ranks.

    Every rank gets equally many rows, or the others would wait for ever: the order is filled up
    from its own start, by less than `num_ranks` rows. Where the rows lie in `shards` few of these
    are needed at a time, and each rank goes through its own.
    """

    def __init__(
        self,
        num_rows: int,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        shards: Shards | None = None,
    ) -> None:
        self.num_rows = num_rows
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.shards = shards
        self.epoch = 0
        self.start = 0  # rows of this rank that the epoch has behind it; of the next order only

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_rows // self.num_ranks)

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        if self.shards is not None:
            parts = np.resize(self.shards.order(self.seed, self.epoch), (self.num_ranks, len(self)))
            return self.shards.fetching_ahead(parts[self.rank][start:])
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_rows)
        filled = np.resize(order, len(self) * self.num_ranks)
        return iter(filled[self.rank :: self.num_ranks][start:].tolist())


class InTableOrder(SequentialSampler):  # any other kind Lightning takes for a shuffled one
    """The rows as they stand; shards of an object store are fetched before they are needed."""

    def __init__(self, dataset: PictureDataset) -> None:
        super().__init__(dataset)
        self.shards = find_shards(dataset.paths)

    def __iter__(self) -> Iterator[int]:
        if self.shards is not None:
            return self.shards.fetching_ahead(np.arange(len(self)))
        return super().__iter__()


class ResumableLoader(DataLoader[Any]):
    """A loader whose place in the epoch is part of a checkpoint.

    Loading processes run ahead; what counts is what was given out. The order is drawn when the
    first batch is asked for, and not before: Lightning makes iterators ahead of saying the epoch.
    """

    sampler: EpochSampler

    def __init__(self, dataset: "AnyDataset", sampler: EpochSampler, **options: Any) -> None:
        super().__init__(dataset, sampler=sampler, **options)
        self.num_given = 0
        self._start = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.num_given, self._start = self._start, 0
        self.sampler.start = self.num_given * (self.batch_size or 1)
        for batch in super().__iter__():
            self.num_given += 1
            yield batch

    def go_on_from(self, num_given: int) -> None:
        """Begin the next epoch after so many batches, which were given out before."""
        self._start = num_given


AnyDataset = PictureDataset | KeptPictures | KeptFeatures


def make_loader(
    dataset: AnyDataset,
    batch_size: int,
    num_workers: int | str = "auto",
    sampler: EpochSampler | None = None,
    device: str = "cpu",
) -> DataLoader[Any]:
    """Return a loader over all rows: in table order, or in the sampler's; nothing is dropped.

    What is kept already needs no loading processes.

    Args:
        dataset: the rows.
        batch_size: rows at a time.
        num_workers: loading processes, or `auto`; see `choose_workers`.
        sampler: the order; None for that of the table.
        device: the type of device for which the batches are.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise FaceproofError(f"loader.batch_size = {batch_size!r} must be a count from 1 on")
    workers = choose_workers(num_workers, len(dataset), batch_size, device)
    if not isinstance(dataset, PictureDataset):
        workers = 0
    if workers:  # what the table was made with would be in every one of them
        give_back()
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "collate_fn": _as_it_is,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": device == "cuda",
    }
    if sampler is None:
        in_order = InTableOrder(dataset) if isinstance(dataset, PictureDataset) else None
        return DataLoader(dataset, sampler=in_order, **options)
    return ResumableLoader(dataset, sampler, **options)


def _as_it_is(batch: Any) -> Any:
    """Return a batch that its data set has put together."""
    return batch


def choose_workers(
    num_workers: int | str, num_rows: int, batch_size: int, device: str = "cpu"
) -> int:
    """Return the number of loading processes.

    `auto`: beside a GPU as many as there are cores but one. For a CPU none: there all cores decode
    a batch and then compute on it; see `cores`.

    Raises:
        FaceproofError: it is neither `auto` nor a count.
    """
    if num_workers == "auto":
        if device == "cpu":
            return 0
        return min(MAX_WORKERS, max(num_cores() - 1, 1), -(-num_rows // batch_size))
    if isinstance(num_workers, int) and num_workers >= 0:
        return num_workers
    raise FaceproofError(f"loader.num_workers = {num_workers!r} must be 'auto' or a count")


def to_unit(image: Tensor) -> Tensor:
    """Bring (B, 3, H, W) uint8 to float32 in [0, 1], channels last."""
    return image.to(torch.float32, memory_format=torch.channels_last).div_(255)
