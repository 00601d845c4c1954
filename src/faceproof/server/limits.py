"""What one server may be asked for at once, and how more is refused."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import ParamSpec, TypeVar

from faceproof.errors import FaceproofError

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

RETRY_AFTER = 2  # seconds


@dataclass(frozen=True)
class Limits:
    """How much a server takes.

    Attributes:
        max_megabytes: of an upload, a million bytes each.
        max_pixels: of an image, or of a video's frame.
        max_frames: of a video, that may be asked for.
        concurrency: uploads that are judged at the same time.
        queue: uploads that may be on their way or wait besides.
        timeout: seconds for a request's head to arrive, for its upload, and for its answer, each.
        connections: that may be open at the same time.
    """

    max_megabytes: float = 20.0
    max_pixels: int = 50_000_000
    max_frames: int = 64
    concurrency: int = 2
    queue: int = 64
    timeout: float = 30.0
    connections: int = 500

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            # Not a number and infinity are no limits.
            if item.name != "queue" and not 0 < value < float("inf"):
                option = f"--{item.name.replace('_', '-')}"
                raise FaceproofError(f"{option} {value} must be a number above 0")
        if self.queue < 0:
            raise FaceproofError(f"--queue {self.queue} must be 0 or more")

    @property
    def max_bytes(self) -> int:
        """Return the size of the largest upload."""
        return int(self.max_megabytes * 1_000_000)


class RefusedError(Exception):
    """A request that gets an error in plain words.

    Attributes:
        status: of HTTP.
        message: what was wrong, and what to do.
        headers: to be sent along.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def busy() -> RefusedError:
    """Return the refusal of what does not even fit into the queue."""
    return RefusedError(
        503,
        f"the server is busy; try again in {RETRY_AFTER} seconds",
        {"Retry-After": str(RETRY_AFTER)},
    )


def too_large(limits: Limits) -> RefusedError:
    """Return the refusal of an upload of too many bytes."""
    return RefusedError(
        413, f"the file is too large; at most {limits.max_megabytes:g} megabytes are taken"
    )


def too_late(limits: Limits) -> RefusedError:
    """Return the refusal of what takes too long."""
    return RefusedError(
        504, f"no answer within {limits.timeout:g} seconds; try a smaller file, or later"
    )


@dataclass
class Desk:
    """Where uploads are judged: a few at a time, in threads, so that the server stays alive.

    A thread cannot be stopped. One that is late keeps its place until it ends, which the deadline
    that it was given sees to for videos.
    """

    limits: Limits
    present: int = 0  # uploads on their way, waiting, or being judged
    closing: list[Callable[[], None]] = field(default_factory=list)
    stored: Callable[[], int] = lambda: 0  # bytes of uploads that lie on the disk
    _threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.limits.concurrency, "judge")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places, before anything of an upload is read.

        Raises:
            RefusedError: all are taken.
        """
        if self.present >= self.limits.concurrency + self.limits.queue:
            raise busy()
        self.present += 1
        try:
            yield
        finally:
            self.present -= 1

    def look_for_room(self) -> None:
        """Refuse an upload that would lie on the disk, where too much lies there already.

        What is still on its way does not count, so twice as much may come to lie there.

        Raises:
            RefusedError: as many bytes as all places could bring.
        """
        if self.stored() >= self.limits.max_bytes * (self.limits.concurrency + self.limits.queue):
            raise busy()

    async def work(
        self,
        function: Callable[Given, Answer],
        *arguments: Given.args,
        **named: Given.kwargs,
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
        """Return when what begins now must have ended, of `time.monotonic`."""
        return time.monotonic() + self.limits.timeout

    def close(self) -> None:
        """Take nothing more; what waits is dropped, and `closing` is called."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for close in self.closing:
            close()
