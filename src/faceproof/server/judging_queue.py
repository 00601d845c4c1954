"""Judges uploads a few at a time, in threads, and refuses more than the limits allow."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from faceproof.server.limits import Limits

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

RETRY_AFTER = 2  # seconds


class RefusedError(Exception):
    """A request that is answered by an HTTP status and a message: what was wrong, what to do."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def too_large(limits: Limits) -> RefusedError:
    """Return the error for an upload of too many bytes."""
    most = f"at most {limits.max_megabytes:g} megabytes are taken"
    return RefusedError(413, f"the file is too large; {most}")


def too_late(limits: Limits) -> RefusedError:
    """Return the error for an answer that takes too long."""
    late = f"no answer within {limits.timeout:g} seconds"
    return RefusedError(504, f"{late}; try a smaller file, or later")


class JudgingQueue:
    """Runs functions in a few threads, so that the server answers others meanwhile.

    A thread cannot be stopped. One that is late occupies its thread until it ends; videos end at
    the deadline that they are given.

    Attributes:
        limits: how many threads and places there are, and how long an answer may take.
        present: uploads that arrive, wait or are judged.
        watch: called with `present` whenever it changes.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.present = 0
        self.watch: Callable[[int], None] = lambda present: None
        self._threads = ThreadPoolExecutor(limits.concurrency, "judge")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places, before anything of an upload is read.

        Raises:
            RefusedError: all are taken.
        """
        if self.present >= self.limits.places:
            words = f"the server is busy; try again in {RETRY_AFTER} seconds"
            raise RefusedError(503, words, {"Retry-After": str(RETRY_AFTER)})
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.present += change
        self.watch(self.present)

    async def work(
        self, function: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs
    ) -> Answer:
        """Call a function in a thread and wait for it no longer than the limit.

        Raises:
            RefusedError: it takes too long; if it has not begun by then, it never will.
        """
        pending = self._threads.submit(function, *arguments, **named)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(pending), self.limits.timeout)
        except TimeoutError as error:
            raise too_late(self.limits) from error

    def deadline(self) -> float:
        """Return when what begins now must end, on the clock of `time.monotonic`."""
        return time.monotonic() + self.limits.timeout

    def close(self) -> None:
        """Start nothing more; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
