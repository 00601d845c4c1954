"""By all cores: the same answers in the same order, and threads that leave no trace."""

import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from faceproof.performance import cores
from faceproof.performance.cores import by_all_cores


@pytest.mark.parametrize("number", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("present", [1, 2, 5])
def test_every_place_is_worked_on_once_in_order(monkeypatch, number, present) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: present)
    cores._pool.cache_clear()
    seen: list[int] = []

    def work(place: int) -> int:
        seen.append(place)
        return place**2

    assert by_all_cores(work, number) == [place**2 for place in range(number)]
    assert sorted(seen) == list(range(number))
    cores._pool.cache_clear()


def test_they_work_at_the_same_time(monkeypatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 3)
    cores._pool.cache_clear()
    together = threading.Barrier(3)
    # One alone would wait for ever.
    assert sorted(by_all_cores(lambda _: together.wait(300), 3)) == [0, 1, 2]
    cores._pool.cache_clear()


def test_what_one_raises_is_raised(monkeypatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 2)

    def work(place: int) -> None:
        time.sleep(0.001)
        if place == 5:
            raise KeyError("the fifth")

    with pytest.raises(KeyError, match="the fifth"):
        by_all_cores(work, 9)
    assert by_all_cores(str, 3) == ["0", "1", "2"]  # and the threads are still there


def test_arithmetic_keeps_its_threads(monkeypatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 2)
    cores._pool.cache_clear()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside = by_all_cores(lambda _: torch.get_num_threads(), 4)
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert inside == [1] * 4
        assert torch.get_num_threads() == 2
        assert later == [2]
    finally:
        torch.set_num_threads(before)
        cores._pool.cache_clear()


def test_they_may_fill_what_was_made_for_inference(monkeypatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 2)
    with torch.inference_mode():
        images = torch.zeros(4)
        by_all_cores(lambda place: images[place].fill_(place), 4)
    assert images.tolist() == [0, 1, 2, 3]


def test_a_thread_that_cannot_be_started_leaves_none_waiting(monkeypatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 3)
    cores._pool.cache_clear()
    before = torch.get_num_threads()
    start, begun = threading.Thread.start, []

    def second_fails(self: threading.Thread) -> None:
        begun.append(self)
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", second_fails)
        with pytest.raises(RuntimeError, match="start new thread"):
            by_all_cores(str, 3)
    assert not [thread for thread in begun if thread.is_alive()]
    assert torch.get_num_threads() == before
    assert by_all_cores(str, 3) == ["0", "1", "2"]
    cores._pool.cache_clear()


class Where(Dataset[int]):
    """Says which thread a row is read by."""

    def __len__(self) -> int:
        return 4

    def __getitems__(self, rows: list[int]) -> list[bool]:
        main = threading.main_thread()
        return by_all_cores(lambda _: threading.current_thread() is main, len(rows))


def test_a_loading_process_works_alone(monkeypatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 4)
    (batch,) = DataLoader(Where(), 4, num_workers=1, collate_fn=list)
    assert batch == [True] * 4


def test_a_share_of_the_cores_is_all_that_is_used(monkeypatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(cores, "_share", None)
    assert cores.num_cores() == 8
    try:
        cores.take_share(3)
        assert (cores.num_cores(), cores.share_of_cores(), torch.get_num_threads()) == (3, 3, 3)
        cores.take_share(99)
        assert cores.num_cores() == 8
    finally:
        torch.set_num_threads(threads)
