"""Lets no process fork in the middle of a request to an object store.

The clients in pyarrow hold locks during a request. A process forked at that moment, such as a
worker process of a loader, would inherit them locked, with no thread to unlock them, and wait for
ever at its own first request.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class ForkGate:
    """Requests that pass together, and forks that wait until none is under way."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._after, after_in_child=self._reset
            )

    def _reset(self) -> None:
        self._changed = Condition()
        self._num_requests = self._num_forks = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """Hold back forks for the length of the block, which must not fork itself."""
        with self._changed:
            self._changed.wait_for(lambda: not self._num_forks)
            self._num_requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_requests -= 1
                self._changed.notify_all()

    def _before(self) -> None:
        self._changed.acquire()
        self._num_forks += 1  # so that requests which begin now do not hold it back further
        self._changed.wait_for(lambda: not self._num_requests)

    def _after(self) -> None:
        self._num_forks -= 1
        self._changed.notify_all()
        self._changed.release()


gate = ForkGate()
