"""PyTorch loaders over the data sets: in table order or an epoch's order, resumable, by workers."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, SequentialSampler

from faceproof.data.datasets import AnyDataset, Batch, ImageDataset
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards.order import find_shards
from faceproof.errors import FaceproofError
from faceproof.performance.cores import num_cores, takes_turns
from faceproof.performance.memory import give_back
from faceproof.performance.shared_memory import AHEAD, HandedOver, Slots, can_hand_over, taken

MAX_AUTO_WORKERS = 8
DEATH = "DataLoader worker (pid"  # torch's message has no class of its own


class WorkerDiedError(FaceproofError):
    """A worker process died."""


@contextlib.contextmanager
def explain_dead_workers() -> Iterator[None]:
    """Turn torch's errors about a dead worker process into a `WorkerDiedError`."""
    try:
        yield
    # All but RuntimeError come from a worker that dies while it passes a batch on.
    except (RuntimeError, EOFError, ConnectionResetError, ConnectionRefusedError) as error:
        text = str(error).strip()
        raised_inside = text.startswith("Caught ")  # by the data set, in a worker that lives
        if raised_inside or (isinstance(error, RuntimeError) and DEATH not in text):
            raise
        cause = text.splitlines()[0].rstrip(". ") if text else type(error).__name__
        raise WorkerDiedError(
            f"a worker process died ({cause}), as happens when memory runs out; free some memory, "
            "or lower loader.num_workers"
        ) from error


class InTableOrder(SequentialSampler):  # Lightning takes other samplers for shuffled ones
    """The rows in table order; shards of an object store are fetched ahead of their use."""

    def __init__(self, dataset: ImageDataset) -> None:
        super().__init__(dataset)
        self.shards = find_shards(dataset.paths)

    def __iter__(self) -> Iterator[int]:
        if self.shards is not None:
            return self.shards.fetching_ahead(np.arange(len(self)))
        return super().__iter__()


class Loader(DataLoader[Any]):
    """Yields batches, however the workers passed them on."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return taken(super().__iter__())


class ResumableLoader(Loader):
    """A loader whose place in the epoch is part of a checkpoint.

    The place counts yielded batches, because workers run ahead. The order is drawn when the first
    batch is requested and not before: Lightning makes iterators before it sets the epoch.
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
        """Start the next epoch after this many batches, which an earlier process yielded."""
        self._start = num_given


def make_loader(
    dataset: AnyDataset,
    batch_size: int,
    num_workers: int | str = "auto",
    sampler: EpochSampler | None = None,
    device: str = "cpu",
) -> DataLoader[Any]:
    """Return a loader over all rows; no row is dropped. Cached data sets need no workers.

    Without a `sampler` the rows come in table order. `device` is the type of device that the
    batches go to; see `choose_workers`.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "pin_memory": device == "cuda"}
    options["collate_fn"] = _unchanged
    rows: Any = dataset
    if isinstance(dataset, ImageDataset):
        if sampler is None:
            options["sampler"] = InTableOrder(dataset)
        if workers := choose_workers(num_workers, len(dataset), batch_size, device):
            give_back()
            options |= {"num_workers": workers, "persistent_workers": True}
            options["prefetch_factor"] = AHEAD
            if can_hand_over():
                rows = HandedOver(dataset, _slots(dataset, workers, batch_size), Batch)
    if sampler is None:
        return Loader(rows, **options)
    return ResumableLoader(rows, sampler, **options)


def _slots(dataset: ImageDataset, workers: int, batch_size: int) -> Slots:
    try:
        return Slots(workers, min(batch_size, max(len(dataset), 1)), dataset.size)
    except OSError as error:
        raise FaceproofError(
            f"there is no memory for the batches of {workers} worker processes "
            f"({error.strerror}); lower loader.batch_size = {batch_size} or loader.num_workers"
        ) from error


def _unchanged(batch: Any) -> Any:
    return batch


def choose_workers(
    num_workers: int | str, num_rows: int, batch_size: int, device: str = "cpu"
) -> int:
    """Return the number of worker processes; `auto` is one less than there are cores."""
    if isinstance(num_workers, int):
        return num_workers
    if takes_turns(device):  # a CPU's cores, at decoding and arithmetic
        return 0
    return min(MAX_AUTO_WORKERS, max(num_cores() - 1, 1), -(-num_rows // batch_size))
