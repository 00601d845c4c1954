"""Shares a budget of memory among images that are decoded at the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """So many bytes, of which threads take what an image needs, and wait while it is not free."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._free = num_bytes
        self._changed = threading.Condition()

    @contextmanager
    def take(self, num_bytes: int, deadline: float) -> Iterator[None]:
        """Hold some bytes; more than there are is all of them.

        Raises:
            TimeoutError: they are not free by the deadline, on the clock of `time.monotonic`.
        """
        needed = min(num_bytes, self._num_bytes)
        with self._changed:
            left = max(0.0, deadline - time.monotonic())
            if not self._changed.wait_for(lambda: self._free >= needed, left):
                raise TimeoutError
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()
