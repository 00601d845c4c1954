"""Progress bars, with the time left: on a terminal only, so that logs stay legible."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def on_terminal() -> bool:
    """Say whether standard output is a terminal, on which a progress bar makes sense."""
    return sys.stdout.isatty()


def progress(items: Iterable[Item], words: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items, with a bar of `total` steps (the number of items, if they have one)."""
    if not on_terminal():
        yield from items
        return
    from rich.progress import track  # not above: most commands show no bar

    yield from track(items, words, total=total)
