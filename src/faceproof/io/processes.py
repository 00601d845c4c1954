"""Work on many small parts by processes, for what threads would do under Python's one lock."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import TypeVar

from faceproof.errors import FaceproofError

IDLE = 5.0  # seconds, after which a process without work ends
PARENT_EVERY = 0.5  # seconds between two looks at whether the parent is there

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Part], Result],
    parts: Iterable[Part],
    what: str,
    begin: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yield `work(part)` of each part, in their order, computed by as many processes as cores.

    joblib's processes are not forked, and do not import the script that started them, so that it
    needs no `if __name__ == "__main__":`. They end with this process, also where it is killed.

    Args:
        work: a function of a module, which processes import.
        parts: what goes to a process at once.
        what: what the processes do, for the message of one that dies.
        begin: called once in each process, before its first part.

    Raises:
        FaceproofError: a process has died.
    """
    from joblib import Parallel, cpu_count, delayed  # a fifth of a second, where few need it

    if cpu_count() == 1:
        if begin is not None:
            begin()
        yield from map(work, parts)
        return
    pool = Parallel(
        n_jobs=-1, return_as="generator", batch_size=1, pre_dispatch="3*n_jobs",
        idle_worker_timeout=IDLE, initializer=_begin, initargs=(os.getpid(), begin),
    )  # fmt: skip
    try:
        yield from pool(delayed(work)(part) for part in parts)
    except BrokenProcessPool as error:
        raise FaceproofError(
            f"a process that {what} has died, probably for want of memory; start the command again "
            "with more memory, or with fewer cores (taskset -c 0 on Linux)"
        ) from error


@contextlib.contextmanager
def reports_of_deaths_wait() -> Iterator[None]:
    """Hold the signal of a dead process back until the block is left, so that the block is whole.

    torch's handler raises an error where a process of a loader has died, in whatever line runs.
    """
    number: int | None = getattr(signal, "SIGCHLD", None)  # Windows has none
    handler = None if number is None else signal.getsignal(number)
    in_main = threading.current_thread() is threading.main_thread()
    if number is None or not callable(handler) or not in_main:
        yield
        return
    arrived: list[int] = []
    signal.signal(number, lambda signum, frame: arrived.append(signum))
    try:
        yield
    finally:
        signal.signal(number, handler)
    if arrived:  # where the block has failed, its own error is what is said
        signal.raise_signal(number)


def end_with_parent() -> None:
    """End this process of multiprocessing when the one that started it ends, or is killed."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _begin(parent: int, begin: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process stops the others
    # Not end_with_parent(): joblib's processes know no more of their parent than its number.
    Thread(target=_wait_for, args=(parent,), daemon=True).start()
    if begin is not None:
        begin()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _wait_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY)
    os._exit(1)
