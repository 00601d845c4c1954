"""PyTorch loaders over the data sets: in table order or an epoch's order, resumable, by workers."""

import contextlib
import multiprocessing
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, SequentialSampler

from faceproof.data.datasets import AnyDataset, Batch, ImageDataset
from faceproof.data.samplers import EpochBatches, EpochSampler
from faceproof.data.shards.order import find_shards
from faceproof.errors import FaceproofError
from faceproof.performance.cores import num_cores, takes_turns
from faceproof.performance.memory import give_back
from faceproof.performance.shared_memory import (
    AHEAD,
    HandedOver,
    Slots,
    can_hand_over,
    pack,
    taken,
)

MAX_AUTO_WORKERS = 8
# Seconds without a batch after which its worker is taken for lost: some, and more for each file.
PATIENCE, PER_IMAGE = 300.0, 2.0
DEATH = ("DataLoader worker (pid", "DataLoader timed out")  # torch's messages have no class
SHARED = Path("/dev/shm")
OPTION = "loader.num_workers"  # of training and evaluation
_heard: list[Any] = []  # torch's handler of dead processes, once it was seen


class WorkerDiedError(FaceproofError):
    """A worker process died, did not answer, or could not be started."""


@contextlib.contextmanager
def explain_dead_workers(option: str = OPTION) -> Iterator[None]:
    """Turn torch's errors about a lost worker process into a `WorkerDiedError`.

    `option` is what this command calls the number of workers.
    """
    try:
        yield
    # All but RuntimeError come from a worker that dies while it passes a batch on.
    except (RuntimeError, EOFError, ConnectionResetError, ConnectionRefusedError) as error:
        text = str(error).strip()
        raised_inside = text.startswith("Caught ")  # by the data set, in a worker that lives
        torn = isinstance(error, RuntimeError) and not text.startswith(DEATH)
        if raised_inside or torn:
            raise
        cause = text.splitlines()[0].rstrip(". ") if text else type(error).__name__
        what = f"a worker process died ({cause}), as happens when memory runs out"
        if "timed out" in text:
            what = f"a worker process does not answer ({cause})"
            _end_workers()
        raise WorkerDiedError(
            f"{what}; free some memory, or lower {option} (with 0 this process loads)"
        ) from error


def _end_workers() -> None:
    """End processes that may not hear a request to end, for which this process would wait."""
    for process in multiprocessing.active_children():
        with contextlib.suppress(RuntimeError):  # torch's handler reports the death here
            process.kill()
            process.join()


def hear_of_deaths() -> None:
    """Let torch's handler report a dead worker at once, not when its batch is long overdue.

    torch sets the handler with the first worker of a process, and Lightning removes it after the
    first training.
    """
    number = getattr(signal, "SIGCHLD", None)  # Windows has none
    if number is None or threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(number)
    if getattr(handler, "__module__", "").startswith("torch."):
        _heard[:] = [handler]
    elif _heard and not callable(handler):
        signal.signal(number, _heard[0])


@contextlib.contextmanager
def explain_missing_workers(number: int, option: str = OPTION) -> Iterator[None]:
    """Turn the system's refusal to start so many worker processes into a `WorkerDiedError`."""
    try:
        # torch prints a traceback where it finds no room for its own.
        needed = number + 2 if number else 0
        [multiprocessing.Queue() for _ in range(needed)].clear()
        yield
    except OSError as error:
        room = ""
        if SHARED.is_dir():
            size = shutil.disk_usage(SHARED).total
            room = f" ({SHARED} has {size:,} bytes; a container gets more by --shm-size=1g)"
        raise WorkerDiedError(
            f"{number} worker processes cannot be started: {error.strerror or error}; they need "
            f"shared memory{room}; or lower {option} (with 0 this process loads)"
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
        number = 0 if self._iterator is not None else self.num_workers
        with explain_missing_workers(number):
            batches = super().__iter__()
        hear_of_deaths()
        return taken(batches)


class ResumableLoader(Loader):
    """A loader whose place in the epoch is part of a checkpoint.

    The place counts yielded batches, because workers run ahead. The order is drawn when the first
    batch is requested and not before: Lightning makes iterators before it sets the epoch.
    """

    batch_sampler: EpochBatches

    def __init__(self, dataset: Any, batches: EpochBatches, **options: Any) -> None:
        super().__init__(dataset, batch_sampler=batches, **options)
        self.num_given = 0
        self._start = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.num_given, self._start = self._start, 0
        self.batch_sampler.start_from(self.num_given)
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
    options: dict[str, Any] = {"pin_memory": device == "cuda", "collate_fn": pack}
    batches = None if sampler is None else EpochBatches(sampler, batch_size)
    rows: Any = dataset
    if isinstance(dataset, ImageDataset) and (
        workers := choose_workers(num_workers, len(dataset), batch_size, device)
    ):
        give_back()
        options |= {"num_workers": workers, "persistent_workers": True}
        options |= {"prefetch_factor": AHEAD, "timeout": PATIENCE + PER_IMAGE * batch_size}
        if can_hand_over():
            most = min(batch_size, len(dataset)) if batches is None else batches.largest
            rows = HandedOver(dataset, _slots(dataset, workers, most), Batch)
    if batches is not None:
        return ResumableLoader(rows, batches, **options)
    if isinstance(dataset, ImageDataset):
        options["sampler"] = InTableOrder(dataset)
    return Loader(rows, batch_size=batch_size, **options)


def _slots(dataset: ImageDataset, workers: int, batch_size: int) -> Slots:
    try:
        return Slots(workers, max(batch_size, 1), dataset.size, dataset.tiles)
    except OSError as error:
        raise FaceproofError(
            f"there is no memory for the batches of {workers} worker processes "
            f"({error.strerror}); lower loader.batch_size = {batch_size} or loader.num_workers"
        ) from error


def choose_workers(
    num_workers: int | str, num_rows: int, batch_size: int, device: str = "cpu"
) -> int:
    """Return the number of worker processes; `auto` is one less than there are cores."""
    if isinstance(num_workers, int):
        return num_workers
    if takes_turns(device):  # a CPU's cores, at decoding and arithmetic
        return 0
    return min(MAX_AUTO_WORKERS, max(num_cores() - 1, 1), -(-num_rows // batch_size))
