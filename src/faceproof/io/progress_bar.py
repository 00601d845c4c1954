"""A progress bar on a terminal, which says what its times are."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

Item = TypeVar("Item")


class TimeColumn(ProgressColumn):
    """The time left of what goes on, and the time that it took of what is done."""

    max_refresh = 0.5  # seconds; more often it flickers

    def render(self, task: Task) -> Text:
        """Show one of the two, with its word."""
        if task.finished:
            return Text(f"took {_clock(task.finished_time or 0)}", style="progress.elapsed")
        if task.time_remaining is None:
            return Text("")
        return Text(f"{_clock(task.time_remaining)} left", style="progress.remaining")


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


def bar(items: Iterable[Item], words: str, total: int | None) -> Iterator[Item]:
    """Yield the items, and draw how far it is; see `progress.progress`."""
    columns = (
        TextColumn("[progress.description]{task.description}"), BarColumn(),
        TaskProgressColumn(show_speed=True), TimeColumn(),
    )  # fmt: skip
    with Progress(*columns) as drawn:
        yield from drawn.track(items, total=total, description=words)
