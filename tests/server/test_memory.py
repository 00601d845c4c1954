"""Images that are decoded at the same time share one budget of memory."""

import threading
import time

import pytest

from faceproof.errors import FaceproofError
from faceproof.server.limits import Limits
from faceproof.server.memory import MemoryBudget
from faceproof.server.uploads import UploadReader


def soon():
    return time.monotonic() + 60


def test_what_is_not_free_is_waited_for():
    budget, taken, second = MemoryBudget(10), threading.Event(), threading.Event()

    def other():
        taken.wait(60)
        with budget.take(6, soon()):
            second.set()

    thread = threading.Thread(target=other)
    thread.start()
    with budget.take(6, soon()), budget.take(4, soon()):
        taken.set()
        assert not second.wait(0.2)
    assert second.wait(60)
    thread.join()


def test_what_is_not_free_in_time_is_refused_and_nothing_is_lost():
    budget = MemoryBudget(10)
    with budget.take(6, soon()), pytest.raises(TimeoutError), budget.take(5, time.monotonic()):
        pass
    with budget.take(10, time.monotonic()):
        pass


def test_an_image_larger_than_all_takes_all():
    budget = MemoryBudget(10)
    with budget.take(99, soon()), pytest.raises(TimeoutError), budget.take(1, time.monotonic()):
        pass


def test_a_budget_holds_the_largest_image():
    with pytest.raises(FaceproofError, match=r"--decoding-megabytes 10 holds no image"):
        UploadReader(Limits(max_pixels=1e6, decoding_megabytes=10))
