"""Pass batches from worker processes to the main process in memory that both share throughout.

Switch: `shared_memory`. torch allocates new shared memory for each batch: the system clears its
pages for the worker, and maps them anew in the main process, which takes as long as decoding.
Gain: a worker process yields 0.9 of the images that its decoder can decode instead of 0.63, at
256 pixels a side (docs/performance.md).
"""

import io
import itertools
import mmap
import multiprocessing
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from faceproof.performance import is_enabled

AHEAD = 2  # batches that each worker prepares ahead; torch's default

Numbers = tuple[np.ndarray, ...]


class Source(Protocol):
    """A data set of square images that writes its batches where it is told to."""

    size: int  # of a side, in pixels

    def __len__(self) -> int: ...

    def fill(self, images: Tensor, rows: list[int]) -> None:
        """Write the images of some rows into a tensor, (B, 3, S, S) uint8."""

    def numbers(self, rows: list[int]) -> Numbers:
        """Return what a batch holds beside the images, (B,) each."""


class Slots:
    """Places for batches in shared memory, a few for each worker.

    torch asks a worker for a batch only when the batch that it requested `AHEAD` batches before is
    about to be yielded. So a worker that goes round `AHEAD` + 1 places never writes where somebody
    reads, provided that each batch is copied out of its place before the next one is requested.
    """

    def __init__(
        self, num_workers: int, batch_size: int, size: int, tiles: int | None = None
    ) -> None:
        image = (size, size, 3) if tiles is None else (tiles, size, size, 3)
        shape = num_workers, AHEAD + 1, batch_size, *image
        memory = mmap.mmap(-1, int(np.prod(shape)))  # anonymous, and inherited by forked workers
        self.images = torch.frombuffer(memory, dtype=torch.uint8).view(shape)
        self.name = next(_names)
        _known[self.name] = self

    def view(self, worker: int, turn: int, number: int) -> Tensor:
        """Return the place of a worker's batch, (number, 3, S, S) uint8, channels last.

        With N tiles it is (number, N, 3, S, S).
        """
        place = self.images[worker, turn % (AHEAD + 1), :number]
        return place.movedim(-1, -3)


_known: WeakValueDictionary[int, Slots] = WeakValueDictionary()
_names = itertools.count()


@dataclass(frozen=True)
class Filled:
    """The message of a worker that a batch lies in its place."""

    slots: int  # the name of the places
    worker: int
    turn: int  # counts the worker's batches
    numbers: Numbers  # what the batch holds beside the images
    make: Callable[..., Any]  # makes a batch of images and numbers, as tensors

    def take(self) -> Any:
        """Return the batch, its images copied by one thread: the others decode."""
        return self._batch(torch.from_numpy(self._view().numpy().copy(order="K")))

    def pin_memory(self) -> Any:
        """Return the batch in memory that a GPU can fetch from; torch's loader calls this."""
        return self.make(*(value.pin_memory() for value in self._batch(self._view())))

    def _view(self) -> Tensor:
        return _known[self.slots].view(self.worker, self.turn, len(self.numbers[0]))

    def _batch(self, images: Tensor) -> Any:
        return self.make(images, *map(torch.from_numpy, self.numbers))


class HandedOver(Dataset[Filled]):
    """The batches of a data set, as workers hand them over; `make` is as in `Filled`."""

    def __init__(self, source: Source, slots: Slots, make: Callable[..., Any]) -> None:
        self.source, self.slots, self.make = source, slots, make
        self.turn = 0  # of this worker

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, rows: list[int]) -> Filled:
        """Write a batch into its place; torch's loader calls this."""
        worker = get_worker_info()
        assert worker is not None
        turn, self.turn = self.turn, self.turn + 1
        self.source.fill(self.slots.view(worker.id, turn, len(rows)), rows)
        return Filled(self.slots.name, worker.id, turn, self.source.numbers(rows), self.make)


class Packed:
    """A batch as bytes, in which a worker passes it on where it has no place for it.

    torch would pass tensors on in files of /dev/shm, of which a container has few megabytes, and
    lose without a word a batch that finds no room there.
    """

    def __init__(self, batch: Any) -> None:
        data = io.BytesIO()
        _Pickler(data, pickle.HIGHEST_PROTOCOL).dump(batch)
        self.data = data.getvalue()

    def take(self) -> Any:
        """Return the batch."""
        return pickle.loads(self.data)

    def pin_memory(self) -> Any:
        """Return a batch of tensors in memory that a GPU can fetch from."""
        batch = self.take()
        return type(batch)(*(value.pin_memory() for value in batch))


class _Pickler(pickle.Pickler):
    """Pickles tensors as arrays, whose numbers are copied as they lie in memory."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor:
            return NotImplemented
        last = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
        array = value.permute(0, 2, 3, 1).numpy() if last else value.numpy()
        return _tensor, (array, last)


def _tensor(array: np.ndarray, channels_last: bool) -> Tensor:
    found = torch.from_numpy(array)
    return found.permute(0, 3, 1, 2) if channels_last else found


def pack(batch: Any) -> Any:
    """Return a batch as a worker process passes it on; in the main process as it is."""
    if isinstance(batch, Filled) or get_worker_info() is None:
        return batch
    return Packed(batch)


def taken(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches, copied out of their places where they still lie in one, or unpacked."""
    for batch in batches:
        yield batch.take() if isinstance(batch, Filled | Packed) else batch


def can_hand_over() -> bool:
    """Say whether worker processes inherit the memory of this one, as slots require."""
    return is_enabled("shared_memory") and multiprocessing.get_start_method() == "fork"
