"""Progress, with the time left: a bar on a terminal, a line now and then in a log or notebook."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")
EVERY = 10.0  # seconds between two lines of a log

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
    began = said = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= EVERY:
            said = now
            left = "" if total is None else (
                f" of {total:,}, about {(now - began) / number * (total - number):.0f} s left"
            )  # fmt: skip
            log.info("%s: %s%s", words, f"{number:,}", left)
