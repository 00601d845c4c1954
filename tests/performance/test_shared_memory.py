"""Batches that worker processes pass on in memory that is used again and again."""

import errno
import time
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from faceproof.data import loaders
from faceproof.data.datasets import Batch, ImageDataset
from faceproof.data.loaders import make_loader
from faceproof.data.model_input import Crop
from faceproof.data.samplers import EpochSampler
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.performance.shared_memory import (
    AHEAD,
    Filled,
    HandedOver,
    Packed,
    Slots,
    can_hand_over,
    taken,
)
from faceproof.task import TASKS
from tests.conftest import write_images

pytestmark = pytest.mark.skipif(not can_hand_over(), reason="workers inherit no memory here")
SIDE = 4


class Numbered(ImageDataset):
    """Rows whose images hold their own numbers."""

    def image(self, row: int, epoch: int = 0) -> torch.Tensor:
        return torch.full((3, SIDE, SIDE), row % 251, dtype=torch.uint8)


@pytest.fixture
def rows() -> Numbered:
    table = table_from_columns({"path": [str(n) for n in range(90)], "label": ["face"] * 90})
    return Numbered(table, TASKS["face"], SIDE, "bilinear")


def check(batch: Batch, expected: list[int]) -> None:
    assert batch.row.tolist() == expected
    assert batch.label.tolist() == [1] * len(expected)
    assert batch.image.shape == (len(expected), 3, SIDE, SIDE)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    values = batch.row.to(torch.uint8)[:, None, None, None]
    assert (batch.image == values).all()


def test_batches_are_handed_over_in_places_and_given_out_as_copies(rows: Numbered) -> None:
    loader = make_loader(rows, 4, 2, EpochSampler(len(rows), 0))
    assert isinstance(loader.dataset, HandedOver)
    kept = list(loader)
    order = list(EpochSampler(len(rows), 0))
    for number, batch in enumerate(kept):
        check(batch, order[4 * number : 4 * number + 4])


def test_an_epoch_that_is_left_early_spoils_nothing_of_the_next(rows: Numbered) -> None:
    sampler = EpochSampler(len(rows), 0)
    loader = make_loader(rows, 4, 2, sampler)
    taken = []
    for epoch, left_after in enumerate((3, 1, 7, None)):
        sampler.set_epoch(epoch)
        order = list(sampler)
        taken.append(0)
        for number, batch in enumerate(islice(loader, left_after)):
            check(batch, order[4 * number : 4 * number + 4])
            taken[-1] += 1
    assert taken == [3, 1, 7, len(loader)]


def test_who_takes_batches_slowly_gets_each_as_it_was(rows: Numbered) -> None:
    """A process that ran ahead by one batch more would write over the one that is being taken."""
    sampler = EpochSampler(len(rows), 0)
    loader = make_loader(rows, 4, 2, sampler)
    for epoch, left_after in enumerate((5, None)):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for number, filled in enumerate(islice(DataLoader.__iter__(loader), left_after)):
            time.sleep(0.05)  # as long as both could need for all that they were asked for
            check(filled.take(), order[4 * number : 4 * number + 4])


def test_more_than_there_is_memory_for_is_refused(rows: Numbered) -> None:
    many = make_loader(rows, 10**9, 1).dataset  # no larger than the rows
    assert isinstance(many, HandedOver)
    assert many.slots.images.shape[2] == len(rows)
    rows.size = 10**6
    with pytest.raises(FaceproofError, match=r"no memory.*lower loader\.batch_size = 90 or"):
        make_loader(rows, 90, 8)


def test_a_place_is_not_written_to_before_its_batch_is_taken(rows: Numbered) -> None:
    """Each process has one place more than batches that it may be asked for ahead."""
    slots = Slots(1, 4, SIDE)
    views = [slots.view(0, turn, 4) for turn in range(AHEAD + 2)]
    assert len({view.data_ptr() for view in views[:-1]}) == AHEAD + 1
    assert views[0].data_ptr() == views[-1].data_ptr()
    views[0].fill_(7)
    filled = Filled(slots.name, 0, 0, (np.ones(4, np.int64), np.arange(4)), Batch)
    (batch,) = taken([filled])
    views[0].fill_(8)
    assert (batch.image == 7).all()


def test_for_a_gpu_a_batch_goes_from_its_place_into_pinned_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pinning itself needs a GPU; that torch asks for it, and what it gets, does not."""
    pinned = []

    def pin(value: torch.Tensor) -> torch.Tensor:
        pinned.append(value.shape)
        return value.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    slots = Slots(2, 4, SIDE)
    slots.view(1, 5, 3).fill_(9)
    batch = pin_memory(Filled(slots.name, 1, 5, (np.ones(3, np.int64), np.arange(3)), Batch))
    assert pinned == [(3, 3, SIDE, SIDE), (3,), (3,)]
    assert (batch.image == 9).all()
    assert list(taken([batch])) == [batch]


def test_memory_that_no_loader_needs_is_given_back(rows: Numbered) -> None:
    from faceproof.performance import shared_memory

    loader = make_loader(rows, 4, 1)
    dataset = loader.dataset
    assert isinstance(dataset, HandedOver)
    name = dataset.slots.name
    assert name in shared_memory._known
    del loader, dataset
    assert name not in shared_memory._known


def test_where_processes_begin_with_nothing_torch_hands_over(
    rows: Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiprocessing.get_start_method", lambda: "spawn")
    assert make_loader(rows, 4, 1).dataset is rows


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_switched_off_batches_are_passed_on_as_bytes(
    rows: Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need no room in /dev/shm, where torch would lose a batch without a word."""
    monkeypatch.setenv("FACEPROOF_PERFORMANCE", "cores,memory")
    monkeypatch.setattr("faceproof.data.loaders.PATIENCE", 20.0)
    for name in ("_share_fd_cpu_", "_share_filename_cpu_"):
        monkeypatch.setattr(torch.UntypedStorage, name, no_room)
    loader = make_loader(rows, 4, 2)
    assert loader.dataset is rows
    for number, batch in enumerate(loader):
        check(batch, list(range(len(rows)))[4 * number : 4 * number + 4])


def test_a_packed_batch_is_pinned_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda value: value + 1)
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    batch = pin_memory(Packed(Batch(images, torch.zeros(2), torch.zeros(2))))
    assert isinstance(batch, Batch)
    assert all((value == 1).all() for value in batch)


@pytest.mark.parametrize("shared", [True, False])
def test_tiles_are_handed_over_too(tmp_path, monkeypatch, shared: bool) -> None:
    paths = [str(path) for path in write_images(tmp_path, [f"{n}.jpg" for n in range(7)])]
    table = table_from_columns({"path": paths, "label": ["face"] * 7})
    dataset = ImageDataset(table, TASKS["face"], SIDE, "bilinear", crop=Crop(tiles=5))
    wanted = dataset.__getitems__(list(range(7)))
    assert wanted.image.shape == (7, 5, 3, SIDE, SIDE)
    monkeypatch.setattr(loaders, "can_hand_over", lambda: shared)
    loader = make_loader(dataset, 3, 2)
    assert isinstance(loader.dataset, HandedOver) == shared
    batches = list(loader)
    assert [len(batch.image) for batch in batches] == [3, 3, 1]
    assert torch.equal(torch.cat([batch.image for batch in batches]), wanted.image)
