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
        from rich.progress import track  # not above: most commands show no bar

        yield from track(items, words, total=total)
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
    number = 0
    began = said = time.monotonic()
    for item in items:
        yield item
        number += size(item)
        now = time.monotonic()
        if now - said >= EVERY:
            said = now
            log.info("%s: %s", words, _how_far(number, total, now - began))


def _redrawn_line(items: Iterable[Item], words: str, total: int | None) -> Iterator[Item]:
    """Yield the items, and write how far it is into one line, again and again; see `progress`."""
    number, longest = 0, 0
    began = said = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - said >= REDRAWN:
            said = now
            line = f"{words}: {_how_far(number, total, now - began)}"
            longest = max(longest, len(line))
            print(f"\r{line:<{longest}}", end="", flush=True)
    if longest:  # what is done at once needs no line
        print(f"\r{f'{words}: {number:,} done':<{longest}}")


def _how_far(number: int, total: int | None, seconds: float) -> str:
    """Say how many are done, of how many, and how long the others will take."""
    if total is None:
        return f"{number:,}"
    return f"{number:,} of {total:,}, {time_left(seconds / number * (total - number))}"


def time_left(seconds: float) -> str:
    """Say how many seconds, minutes or hours are left."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit} left"
    return f"about {seconds:.0f} s left"
