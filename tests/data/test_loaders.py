"""Loading: labels, order, and batches that do not depend on how many processes load them."""

import errno
import multiprocessing
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from faceproof.data import FolderData, loaders
from faceproof.data.datasets import Batch, ImageDataset, label_numbers
from faceproof.data.image_io import read_image
from faceproof.data.loaders import (
    WorkerDiedError,
    choose_workers,
    explain_dead_workers,
    make_loader,
)
from faceproof.data.model_input import fit_image
from faceproof.data.samplers import EpochBatches, EpochSampler
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.io.atomic import explain_disk_errors
from faceproof.task import TASKS

FACE = TASKS["face"]
SIZES = st.integers(0, 40)


@pytest.fixture
def dataset(small_faces: Path) -> ImageDataset:
    data = FolderData(
        "small", "face", str(small_faces), "*/{label}/*", {"faces": "face", "non-faces": "non_face"}
    ).list()
    return ImageDataset(data.table, FACE, 16, "bilinear")


def order(num_rows: int, seed: int = 0, epoch: int = 0, rank: int = 0, ranks: int = 1) -> list[int]:
    sampler = EpochSampler(num_rows, seed, rank, ranks)
    sampler.set_epoch(epoch)
    rows = list(sampler)
    assert len(rows) == len(sampler)
    return rows


@pytest.mark.parametrize("name", TASKS)
def test_labels_are_the_tasks_numbers(name: str) -> None:
    task = TASKS[name]
    labels = [task.positive, None, task.negative]
    numbers = label_numbers(table_from_columns({"path": ["a", "b", "c"], "label": labels}), task)
    assert numbers.tolist() == [1, -1, 0]
    assert numbers.dtype == np.int64


def test_a_row_is_its_image_its_label_and_its_number(dataset: ImageDataset) -> None:
    for row in range(len(dataset)):
        (image,), (label,), (number,) = dataset.__getitems__([row])
        path = dataset.paths[row].as_py()
        assert torch.equal(image, fit_image(read_image(path), 16, "bilinear"))
        assert label == ("non-faces" not in path)
        assert number == row


def test_without_a_sampler_the_order_is_the_tables_and_nothing_is_dropped(
    dataset: ImageDataset,
) -> None:
    batches = list(make_loader(dataset, 5, 0))
    assert all(isinstance(batch, Batch) for batch in batches)
    assert torch.cat([batch.row for batch in batches]).tolist() == list(range(len(dataset)))
    assert [len(batch.label) for batch in batches] == [5] * 6 + [2]
    assert batches[0].image.shape == (5, 3, 16, 16)
    assert batches[0].image.dtype == torch.uint8
    assert batches[0].label.dtype == batches[0].row.dtype == torch.int64


def test_any_number_of_workers_gives_the_same_batches(dataset: ImageDataset) -> None:
    epochs = []
    for num_workers in (0, 1, 2):
        sampler = EpochSampler(len(dataset), seed=3)
        loader = make_loader(dataset, 7, num_workers, sampler)
        batches = []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            batches += list(loader)
        epochs.append(batches)
    for batches in epochs[1:]:
        for batch, expected in zip(batches, epochs[0], strict=True):
            for found, wanted in zip(batch, expected, strict=True):
                assert torch.equal(found, wanted)


@given(SIZES, st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_visits_every_row_once_in_an_order_of_its_own(
    num_rows: int, seed: int, epoch: int
) -> None:
    assert sorted(order(num_rows, seed, epoch)) == list(range(num_rows))
    assert order(num_rows, seed, epoch) == order(num_rows, seed, epoch)
    if num_rows > 20:
        assert order(num_rows, seed, epoch) != order(num_rows, seed, epoch + 1)
        assert order(num_rows, seed, epoch) != order(num_rows, seed + 1, epoch)


@given(SIZES, st.integers(1, 6))
def test_ranks_get_equally_many_rows_and_together_all_of_them(num_rows: int, ranks: int) -> None:
    parts = [order(num_rows, rank=rank, ranks=ranks) for rank in range(ranks)]
    together = [row for part in parts for row in part]
    assert len({len(part) for part in parts}) == 1
    assert set(together) == set(range(num_rows))
    assert len(together) - num_rows < ranks
    if num_rows % ranks == 0:
        assert len(set(together)) == len(together)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 41))
def test_no_batch_of_an_epoch_has_a_single_row_unless_every_batch_has(
    num_rows: int, batch_size: int, num_given: int
) -> None:
    batches = EpochBatches(EpochSampler(num_rows, seed=1), batch_size)
    found = list(batches)
    assert [row for batch in found for row in batch] == order(num_rows, seed=1)
    assert len(found) == len(batches)
    assert max(map(len, found)) == batches.largest <= batch_size + 1
    if min(batch_size, num_rows) > 1:
        assert min(map(len, found)) > 1
    batches.start_from(num_given)
    assert list(batches) == found[num_given:]
    assert list(batches) == found  # the next epoch is whole again


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_last_single_image_is_joined_to_the_batch_before_it_however_it_is_loaded(
    dataset: ImageDataset, num_workers: int
) -> None:
    sampler = EpochSampler(len(dataset), seed=3)
    found = list(make_loader(dataset, len(dataset) - 1, num_workers, sampler))
    assert [batch.row.tolist() for batch in found] == [order(len(dataset), seed=3)]
    for image, row in zip(found[0].image, found[0].row.tolist(), strict=True):
        assert torch.equal(image, dataset.image(row))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_was_spoiled_meanwhile_stops_the_run_with_one_message(
    dataset: ImageDataset, num_workers: int
) -> None:
    path = Path(dataset.paths[2].as_py())
    path.write_bytes(b"")
    with pytest.raises(FaceproofError) as refusal:
        list(make_loader(dataset, 4, num_workers))
    assert str(refusal.value) == (
        f"{path} could be read when the run began and no longer can: the file is empty; "
        "put it back, or start again without it"
    )


def test_auto_workers_beside_a_gpu_leave_a_core_and_are_no_more_than_the_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cores, expected in ((1, 1), (2, 1), (6, 5), (64, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: range(n), raising=False)
        assert choose_workers("auto", 10_000, 32, "cuda") == expected
    assert choose_workers("auto", 33, 32, "cuda") == 2
    assert choose_workers(3, 1, 32, "cuda") == 3


def test_on_a_cpu_the_cores_take_turns_and_there_are_no_workers_unless_wanted() -> None:
    assert choose_workers("auto", 10_000, 32) == 0
    assert choose_workers(3, 10_000, 32) == 3


class Broken(Dataset[int]):
    """Raises what no loader has died of."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, row: int) -> int:
        raise RuntimeError("a defect")


def test_an_error_in_a_worker_process_is_not_taken_for_its_death() -> None:
    with pytest.raises(RuntimeError, match="a defect") as raised, explain_dead_workers():
        list(DataLoader(Broken(), num_workers=1))
    assert not isinstance(raised.value, WorkerDiedError)


class Silent(Dataset[int]):
    """Never answers."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, row: int) -> int:
        signal.pause()
        return row


def test_a_worker_that_does_not_answer_is_not_waited_for_without_limit() -> None:
    said = r"does not answer .*or lower --workers \(with 0 this process loads\)"
    with pytest.raises(WorkerDiedError, match=said), explain_dead_workers("--workers"):
        list(DataLoader(Silent(), num_workers=1, timeout=1))
    assert not [process for process in multiprocessing.active_children() if process.is_alive()]


def test_every_loader_with_workers_has_a_limit(dataset: ImageDataset) -> None:
    assert make_loader(dataset, 4, 0).timeout == 0
    for sampler in (None, EpochSampler(len(dataset), 0)):
        assert make_loader(dataset, 4, 1, sampler).timeout == loaders.PATIENCE + 8


def test_where_no_worker_can_be_started_the_shared_memory_is_blamed_and_not_the_runs_disk(
    dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", no_room)
    said = r"cannot be started: No space left.*shared memory.*lower loader\.num_workers"
    with pytest.raises(WorkerDiedError, match=said), explain_disk_errors(tmp_path):
        list(make_loader(dataset, 4, 1))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"), "worker"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "Killed"),
        (EOFError(), "EOFError"),
        (ConnectionResetError(104, "Connection reset by peer"), "reset"),
    ],
)
def test_the_death_of_a_worker_process_is_explained_however_it_shows(
    error: Exception, said: str
) -> None:
    with (
        pytest.raises(WorkerDiedError, match=rf"process died \(.*{said}.*\), as"),
        explain_dead_workers(),
    ):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), BrokenPipeError(), KeyError("x")])
def test_other_errors_are_left_alone(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, explain_dead_workers():
        raise error
    assert raised.value is error


def test_a_dead_worker_is_heard_of_after_lightning_has_removed_the_handler():
    before = signal.getsignal(signal.SIGCHLD)
    try:
        for _ in range(2):
            batches = loaders.Loader([1, 2, 3], num_workers=1)
            assert [batch.item() for batch in batches] == [1, 2, 3]
            handler = signal.getsignal(signal.SIGCHLD)
            assert handler.__module__ == "torch.utils.data._utils.signal_handling"
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # as Lightning does
        own = lambda number, frame: None  # noqa: E731
        signal.signal(signal.SIGCHLD, own)
        list(loaders.Loader([1], num_workers=1))
        assert signal.getsignal(signal.SIGCHLD) is own
    finally:
        signal.signal(signal.SIGCHLD, before)
