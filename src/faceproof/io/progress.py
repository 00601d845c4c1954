"""Progress, with the time left: a bar on a terminal, a line in a notebook, lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")
EVERY = 5.0  # seconds between two lines of a log
REDRAWN = 0.25  # seconds between two states of a notebook's line

log = logging.getLogger(__name__)


def on_terminal() -> bool:
    """Say whether standard output is a terminal, on which a progress bar makes sense."""
    return sys.stdout.isatty()


def in_notebook() -> bool:
    """Say whether this process computes the cells of a notebook."""
    return "ipykernel" in sys.modules


def progress(items: Iterable[Item], words: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items, and show how far it is: `words` say what is done.

    `total` is the number of items, where they do not tell it.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if on_terminal():
        from faceproof.io.progress_bar import bar  # not above: most commands show no bar

        yield from bar(items, words, total)
        return
    if in_notebook():
        yield from _redrawn_line(items, words, total)
        return
    yield from log_progress(items, words, total)


def log_progress(
    items: Iterable[Item],
    words: str,
    total: int | None = None,
    size: Callable[[Item], int] = lambda _: 1,
) -> Iterator[Item]:
    """Yield the items, and say in a log now and then how far it is; see `progress`.

    `size` returns for how many an item counts.
    """
    pace, said = Pace(), time.monotonic()
    for item in items:
        yield item
        now = time.monotonic()
        pace.add(size(item), now)
        if now - said >= EVERY:
            said = now
            log.info("%s: %s", words, pace.how_far(total))


def _redrawn_line(items: Iterable[Item], words: str, total: int | None) -> Iterator[Item]:
    """Yield the items, and write how far it is into one line, again and again; see `progress`."""
    pace, longest = Pace(), 0
    said = time.monotonic()
    for item in items:
        yield item
        now = time.monotonic()
        pace.add(1, now)
        if now - said >= REDRAWN:
            said = now
            line = f"{words}: {pace.how_far(total)}"
            longest = max(longest, len(line))
            print(f"\r{line:<{longest}}", end="", flush=True)
    if longest:  # what is done at once needs no line
        print(f"\r{f'{words}: {pace.number:,} done':<{longest}}")


class Pace:
    """How many items are done, and how fast.

    The first one waits for what is loaded once, so that its time says nothing of the others.
    """

    def __init__(self) -> None:
        self.number = 0
        self._first: tuple[int, float] | None = None  # how many it counted for, and when it ended
        self._now = 0.0

    def add(self, size: int, now: float) -> None:
        """Count an item that is done now, by a monotonic clock in seconds."""
        self.number, self._now = self.number + size, now
        if self._first is None:
            self._first = self.number, now

    def left(self, to_come: float) -> str:
        """Say how long so many more will take; an empty text after the first item."""
        counted, began = self._first or (0, 0.0)
        if self._first is None or self.number == counted:
            return ""
        return time_left((self._now - began) / (self.number - counted) * to_come)

    def how_far(self, total: int | None) -> str:
        """Say how many are done, of how many, and how long the others will take."""
        if total is None:
            return f"{self.number:,}"
        left = self.left(total - self.number)
        return f"{self.number:,} of {total:,}{left and f', {left}'}"


def time_left(seconds: float) -> str:
    """Say how many seconds, minutes or hours are left."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit} left"
    return f"about {seconds:.0f} s left"
