"""Images that are decoded at the same time share one budget of memory."""

import threading
import time

import pytest

from faceproof.errors import FaceproofError
from faceproof.server.judging_queue import RefusedError
from faceproof.server.limits import Limits
from faceproof.server.memory import MemoryBudget
from faceproof.server.uploads import BYTES_PER_PIXEL_OF_VIDEO, UploadReader


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


def test_frames_of_videos_share_the_budget(tmp_path, monkeypatch):
    pytest.importorskip("av", reason="videos take PyAV")
    from tests.small_videos import SIDE, write_video

    reader = UploadReader(Limits(max_pixels=1e6, decoding_megabytes=20))
    taken, take = [], reader._memory.take
    monkeypatch.setattr(
        reader._memory, "take", lambda size, *more: taken.append(size) or take(size, *more)
    )
    file = write_video(tmp_path / "a.mp4", [n / 5 for n in range(10)])
    fits = ((32, "bilinear"),)
    with file.open("rb") as data:
        assert reader.read(data, fits, 4, soon()).wanted == 4
    assert taken == [SIDE * SIDE * BYTES_PER_PIXEL_OF_VIDEO]
    with (
        file.open("rb") as data,
        take(20_000_000, soon()),
        pytest.raises(RefusedError) as refusal,
    ):
        reader.read(data, fits, 4, time.monotonic() + 0.5)
    assert refusal.value.status == 504
