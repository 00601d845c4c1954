"""Progress, with the time left: a bar on a terminal, a line now and then in a log or notebook."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")
EVERY = 5.0  # seconds between two lines of a log

log = logging.getLogger(__name__)


def on_terminal() -> bool:
    """Say whether standard output is a terminal, on which a progress bar makes sense."""
    return sys.stdout.isatty()


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
            left = ""
            if total is not None:
                left = f" of {total:,}, {time_left((now - began) / number * (total - number))}"
            log.info("%s: %s%s", words, f"{number:,}", left)


def time_left(seconds: float) -> str:
    """Say how many seconds, minutes or hours are left."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit} left"
    return f"about {seconds:.0f} s left"
