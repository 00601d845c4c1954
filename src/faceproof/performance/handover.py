"""Batches from loading processes, in memory that both sides hold from the start.

torch makes new shared memory for every batch: its pages are cleared for the process that writes
them and mapped anew in the one that reads them, which takes as long as decoding the images.
"""

import itertools
import mmap
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from faceproof.data.datasets import Batch, ImageDataset

AHEAD = 2  # batches that each process may be at work on before one is asked for; torch's default


class Slots:
    """Places for batches of images in shared memory, a few for each loading process.

    torch asks a process for a batch only when one that it asked for `AHEAD` batches before is about
    to be given out. So a process that goes round `AHEAD` + 1 places never writes where somebody
    reads, if each batch is copied out of its place before the next one is asked for.
    """

    def __init__(self, num_processes: int, batch_size: int, size: int) -> None:
        shape = num_processes, AHEAD + 1, batch_size, size, size, 3
        memory = mmap.mmap(-1, int(np.prod(shape)))  # nobody's file; a child has it too
        self.images = torch.frombuffer(memory, dtype=torch.uint8).view(shape)
        self.name = next(_names)
        _known[self.name] = self

    def view(self, process: int, turn: int, number: int) -> Tensor:
        """Return the place of a process's batch, (number, 3, S, S) uint8, channels last."""
        place = self.images[process, turn % (AHEAD + 1), :number]
        return place.permute(0, 3, 1, 2)


_known: WeakValueDictionary[int, Slots] = WeakValueDictionary()
_names = itertools.count()


@dataclass(frozen=True)
class Filled:
    """A batch in its place, as a loading process says that it is there."""

    slots: int
    process: int
    turn: int
    label: np.ndarray
    row: np.ndarray

    def take(self) -> Batch:
        """Copy the batch out of its place, by one thread: others have the images to decode."""
        return self._batch(torch.from_numpy(self._view().numpy().copy(order="K")))

    def pin_memory(self) -> Batch:
        """Copy the batch into memory from which a GPU can fetch it; torch's loader calls this."""
        return Batch(*(value.pin_memory() for value in self._batch(self._view())))

    def _view(self) -> Tensor:
        return _known[self.slots].view(self.process, self.turn, len(self.row))

    def _batch(self, images: Tensor) -> Batch:
        return Batch(images, torch.from_numpy(self.label), torch.from_numpy(self.row))


class HandedOver(Dataset[Filled]):
    """The batches of a data set as loading processes hand them over.

    Args:
        dataset: the images.
        slots: where their batches are put.
    """

    def __init__(self, dataset: ImageDataset, slots: Slots) -> None:
        self.dataset = dataset
        self.slots = slots
        self.turn = 0  # of this process

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, rows: list[int]) -> Filled:
        """Put a batch in its place."""
        worker = get_worker_info()
        assert worker is not None
        turn, self.turn = self.turn, self.turn + 1
        self.dataset.fill(self.slots.view(worker.id, turn, len(rows)), rows)
        numbers = np.array(rows)
        return Filled(self.slots.name, worker.id, turn, self.dataset.labels[rows], numbers)


def taken(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches, each copied out of its place if it still is in one."""
    for batch in batches:
        yield batch.take() if isinstance(batch, Filled) else batch


def can_hand_over() -> bool:
    """Say whether loading processes begin with the memory of this one, as slots ask for."""
    return multiprocessing.get_start_method() == "fork"
