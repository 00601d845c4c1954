"""Work on the parts of a batch by all cores, in turns with the arithmetic.

On a CPU the arithmetic of a batch uses every core. A loading process beside it takes a core from
under one of its threads, and the others wait for that one; decoding a batch by all cores and then
computing on it by all cores loses nothing.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch
from torch.utils.data import get_worker_info

MAX_THREADS = 16  # beyond it they wait for Python's lock

Found = TypeVar("Found")


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def by_all_cores(work: Callable[[int], Found], number: int) -> list[Found]:
    """Return what `work` gives for 0 to `number` - 1, dealt to as many threads as cores.

    A loading process, which is one of several, works alone.

    Raises:
        Exception: what `work` raises for one of them.
    """
    threads = min(num_cores(), MAX_THREADS, number)
    if threads < 2 or get_worker_info() is not None:
        return [work(place) for place in range(number)]

    inference = torch.is_inference_mode_enabled()  # of the caller's thread alone

    def share(first: int) -> list[Found]:
        with torch.inference_mode(inference):
            return [work(place) for place in range(first, number, threads)]

    shares = list(_pool(os.getpid()).map(share, range(threads)))
    return [shares[place % threads][place // threads] for place in range(number)]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process, which do not divide their work further."""
    number = min(num_cores(), MAX_THREADS)
    all_begun = Barrier(number + 1)

    def alone() -> None:
        torch.get_num_threads()  # what is set before the first question is forgotten by it
        torch.set_num_threads(1)
        all_begun.wait()

    # What one thread sets is what threads yet to come begin with; so it is set back.
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(number, "faceproof-cores", alone)
    try:
        for _ in range(number):
            pool.submit(int)
        all_begun.wait()
    except BaseException:  # a thread that cannot be started, or Ctrl-C: the others wait no longer
        all_begun.abort()
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        torch.set_num_threads(threads)
    return pool
