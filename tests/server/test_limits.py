"""The limits of a server: which are refused."""

import pytest

from faceproof.errors import FaceproofError
from faceproof.server.limits import Limits


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"max_megabytes": float("inf")},
        {"concurrency": 0},
        {"connections": 0},
        {"queue": -1},
    ],
)
def test_limits_that_let_nothing_through_are_refused(wrong):
    with pytest.raises(FaceproofError, match="must be"):
        Limits(**wrong)


def test_several_workers_share_one_set_of_limits():
    limits = Limits(concurrency=5, queue=7, connections=9, decoding_megabytes=600, max_pixels=1e7)
    each = limits.divided(2)
    assert (each.concurrency, each.queue, each.connections) == (2, 3, 4)
    assert each.decoding_megabytes == 300
    assert (each.max_pixels, each.max_megabytes, each.timeout) == (1e7, 20, 30)
    assert limits.divided(1) == limits


@pytest.mark.parametrize(
    ("limits", "workers", "words"),
    [
        (Limits(max_pixels=1e6), 3, "--workers 3 takes --concurrency 3 or more"),
        (Limits(max_pixels=1e6, connections=1), 2, "--workers 2 takes --connections 2 or more"),
        (Limits(), 2, "give --decoding-megabytes 2000, or --max-pixels 25000000"),
    ],
)
def test_too_little_for_each_worker_is_refused_with_what_to_give(limits, workers, words):
    with pytest.raises(FaceproofError, match=words):
        limits.divided(workers)
