"""From an image table to batches of tensors."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from faceproof.data.bounds import MOST_WORKERS
from faceproof.data.datasets import AnyDataset, ImageDataset
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards.order import find_shards
from faceproof.errors import FaceproofError
from faceproof.performance.cores import num_cores
from faceproof.performance.handover import AHEAD, HandedOver, Slots, can_hand_over, taken
from faceproof.performance.memory import give_back

MAX_WORKERS = 8
DEATH = "DataLoader worker (pid"


class WorkerDiedError(FaceproofError):
    """A loading process that has died."""


@contextlib.contextmanager
def explain_dead_workers() -> Iterator[None]:
    """Say in one message that a loading process has died.

    Raises:
        WorkerDiedError: one has.
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
        raise WorkerDiedError(
            f"a loading process has died ({said}), as when memory runs out; free some, or take "
            "fewer of them (loader.num_workers)"
        ) from error


class InTableOrder(SequentialSampler):  # any other kind Lightning takes for a shuffled one
    """The rows as they stand; shards of an object store are fetched before they are needed."""

    def __init__(self, dataset: ImageDataset) -> None:
        super().__init__(dataset)
        self.shards = find_shards(dataset.paths)

    def __iter__(self) -> Iterator[int]:
        if self.shards is not None:
            return self.shards.fetching_ahead(np.arange(len(self)))
        return super().__iter__()


class Loader(DataLoader[Any]):
    """Gives batches out as they are to be used, however they came."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return taken(super().__iter__())


class ResumableLoader(Loader):
    """A loader whose place in the epoch is part of a checkpoint.

    Loading processes run ahead; what counts is what was given out. The order is drawn when the
    first batch is asked for, and not before: Lightning makes iterators ahead of saying the epoch.
    """

    sampler: EpochSampler

    def __init__(self, dataset: Any, sampler: EpochSampler, **options: Any) -> None:
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
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "collate_fn": _as_it_is,
        "pin_memory": device == "cuda",
    }
    rows: Any = dataset
    if isinstance(dataset, ImageDataset):
        if sampler is None:
            options["sampler"] = InTableOrder(dataset)
        if workers:
            give_back()  # what the table was made with would be in every one of them
            options |= {"num_workers": workers, "persistent_workers": True}
            options["prefetch_factor"] = AHEAD
            if can_hand_over():
                rows = HandedOver(dataset, _slots(dataset, workers, batch_size))
    if sampler is None:
        return Loader(rows, **options)
    return ResumableLoader(rows, sampler, **options)


def _slots(dataset: ImageDataset, workers: int, batch_size: int) -> Slots:
    """Return places for the batches of loading processes.

    Raises:
        FaceproofError: there is not as much memory.
    """
    try:
        return Slots(workers, min(batch_size, max(len(dataset), 1)), dataset.size)
    except OSError as error:
        raise FaceproofError(
            f"there is no memory for the batches of {workers} loading processes "
            f"({error.strerror}); lower loader.batch_size = {batch_size} or loader.num_workers"
        ) from error


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
        FaceproofError: it is neither `auto` nor a count, or too high a one.
    """
    if num_workers == "auto":
        if device == "cpu":
            return 0
        return min(MAX_WORKERS, max(num_cores() - 1, 1), -(-num_rows // batch_size))
    if isinstance(num_workers, int) and 0 <= num_workers <= MOST_WORKERS:
        return num_workers
    raise FaceproofError(
        f"loader.num_workers = {num_workers!r} must be 'auto' or a count from 0 on, at the most "
        f"{MOST_WORKERS}"
    )


def to_unit(image: Tensor) -> Tensor:
    """Bring (B, 3, H, W) uint8 to float32 in [0, 1], channels last."""
    return image.to(torch.float32, memory_format=torch.channels_last).div_(255)
