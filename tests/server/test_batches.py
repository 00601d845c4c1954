"""Images of several clients in one batch: who waits for whom, and whose error it is."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from faceproof.data.model_input import Fit
from faceproof.evaluation.predictions import ScoreError
from faceproof.server.batches import Batches

FIT = Fit(2, "bilinear")
LONG = 60.0  # seconds; no test waits for it


def image(number):
    return {FIT: torch.full((3, 2, 2), number, dtype=torch.uint8)}


class Judge:
    """Answers each image by its number, and notes the batches; refuses the number 13."""

    def __init__(self):
        self.batches = []

    def __call__(self, fitted):
        numbers = [int(one) for one in fitted[FIT][:, 0, 0, 0]]
        self.batches.append(numbers)
        if 13 in numbers:
            raise ScoreError("a score is not finite")
        return numbers


def together(batches, numbers):
    """Ask for all at the same time; return the answers or errors."""
    barrier = threading.Barrier(len(numbers))

    def ask(number):
        barrier.wait()
        try:
            return batches.judge(image(number))
        except (ScoreError, ZeroDivisionError) as error:
            return error

    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(ask, numbers))


def test_images_that_come_together_are_judged_together_and_each_gets_its_own_answer():
    judge = Judge()
    assert together(Batches(judge, 4, LONG), [5, 6, 7, 8]) == [5, 6, 7, 8]
    (batch,) = judge.batches
    assert sorted(batch) == [5, 6, 7, 8]


def test_who_is_alone_waits_no_longer_than_the_budget():
    judge = Judge()
    batches = Batches(judge, 4, 0.01)
    assert [batches.judge(image(1)), batches.judge(image(2))] == [1, 2]
    assert judge.batches == [[1], [2]]


def test_without_a_wait_each_is_judged_by_itself():
    judge = Judge()
    assert together(Batches(judge, 4, 0.0), [1, 2, 3]) == [1, 2, 3]
    assert sorted(judge.batches) == [[1], [2], [3]]


def test_the_error_of_one_image_is_not_that_of_the_others():
    judge = Judge()
    first, second, third = together(Batches(judge, 3, LONG), [1, 13, 3])
    assert (first, third) == (1, 3)
    assert isinstance(second, ScoreError)


def test_a_defect_reaches_all_who_wait():
    def fail(fitted):
        return [1 // 0]

    found = together(Batches(fail, 2, LONG), [1, 2])
    assert [type(one) for one in found] == [ZeroDivisionError] * 2
    with pytest.raises(ZeroDivisionError):
        Batches(fail, 2, 0.0).judge(image(1))
