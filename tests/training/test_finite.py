"""Losses that are not finite, seen at once on a CPU and one step later on a GPU."""

from typing import Any

import pytest
import torch

from faceproof.training import finite
from faceproof.training.finite import LossWatch, NonFiniteError

ROWS = torch.tensor([5, 8])
BAD = torch.tensor(float("nan"))
GOOD = torch.tensor(1.0, requires_grad=True)


class Mark:
    """What a GPU reaches later."""

    def __init__(self) -> None:
        self.waited_for = 0

    def synchronize(self) -> None:
        self.waited_for += 1


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> list[Mark]:
    """Have a watch take this CPU for a GPU."""
    made: list[Mark] = []

    def mark(device: torch.device) -> Any:
        made.append(Mark())
        return made[-1]

    monkeypatch.setattr(finite, "_record_event", mark)
    return made


def test_on_a_cpu_the_step_itself_is_named() -> None:
    watch = LossWatch()
    watch.add(GOOD, "step 0", ROWS)
    with pytest.raises(NonFiniteError, match="not finite in step 1") as refusal:
        watch.add(BAD, "step 1", ROWS)
    assert refusal.value.rows == [5, 8]
    watch.check()  # said once


def test_on_a_gpu_the_step_is_named_when_the_next_one_is_under_way(marks: list[Mark]) -> None:
    watch = LossWatch()
    watch.add(GOOD, "step 0", torch.tensor([1, 2]))
    watch.add(BAD, "step 1", ROWS)
    assert [mark.waited_for for mark in marks] == [1, 0]
    with pytest.raises(NonFiniteError, match="not finite in step 1") as refusal:
        watch.add(GOOD, "step 2", torch.tensor([3, 4]))
    assert refusal.value.rows == [5, 8]


def test_on_a_gpu_the_last_step_is_looked_at_when_asked_for(marks: list[Mark]) -> None:
    watch = LossWatch()
    watch.add(BAD, "step 7", ROWS)
    with pytest.raises(NonFiniteError, match="not finite in step 7"):
        watch.check()
