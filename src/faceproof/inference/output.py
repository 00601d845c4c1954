"""Shows verdicts on the terminal, or writes them to a file while they are computed; counts them."""

import contextlib
import heapq
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from faceproof.errors import FaceproofError
from faceproof.evaluation.novelty import STRANGE
from faceproof.inference.output_parts import MAX_NAMED, Results, Row, Seen, printable
from faceproof.inference.predictor import Predictor
from faceproof.io.progress import log_progress

MAX_SHOWN = 50  # files on the terminal
WIDTH = 160  # columns, where the output is no terminal

Batch = TypeVar("Batch")
Judge = Callable[[Iterable[str]], Iterator[list[Row]]]  # from paths to batches of results


@dataclass
class Tally:
    """How often each verdict was given, and the `least_certain` images nearest to the threshold.

    Of the files that could not be read, the first `MAX_NAMED` are `named` with their reasons.
    """

    least_certain: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    _nearest: list[tuple[float, int, Row]] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows of results."""
        for row in rows:
            if row.error is not None:
                self.unreadable += 1
                self.name([(row.path, row.error)])
                continue
            self.verdicts[str(row.verdict)] += 1
            if self.least_certain and row.frames is None:
                self._compare(row)

    def name(self, files: Iterable[tuple[str, str]]) -> None:
        """Take files that could not be read, with their reasons, as long as few are named."""
        self.named += islice(files, MAX_NAMED - len(self.named))

    def unreadable_lines(self) -> list[str]:
        """Return a line for each file that is named, and one that says where the others are."""
        lines = [f"  {path}: {reason}" for path, reason in self.named]
        if more := self.unreadable - len(self.named):
            lines.append(f"  and {more:,} more, with the reasons in the file")
        return ["unreadable:", *lines] if lines else []

    def _compare(self, row: Row) -> None:
        if row.probability is None or row.threshold is None:
            return
        distance = abs(row.probability - row.threshold)
        # Of equal distances, the first stays.
        heapq.heappush(self._nearest, (-distance, -self.verdicts.total(), row))
        if len(self._nearest) > self.least_certain:
            heapq.heappop(self._nearest)

    @property
    def nearest(self) -> list[Row]:
        """Return the rows nearest to the threshold, nearest first."""
        return [row for _, _, row in sorted(self._nearest, key=lambda e: e[:2], reverse=True)]

    def __str__(self) -> str:
        parts = [f"{number:,} {verdict}" for verdict, number in self.verdicts.most_common()]
        if self.unreadable:
            parts.append(f"{self.unreadable:,} unreadable")
        return ", ".join(parts) or "no images"


def make_console() -> Console:
    """Return what prints: as wide as the terminal, or wide enough for a table in a log."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


def show_verdicts(
    console: Console, predictor: Predictor, judge: Judge, paths: Iterator[str], tally: Tally
) -> None:
    """Judge a few files, each once, and print a table.

    Raises:
        FaceproofError: there are too many.
    """
    few = list(islice(unseen(paths, Seen()), MAX_SHOWN + 1))
    if len(few) > MAX_SHOWN:
        raise FaceproofError(
            f"there are more than {MAX_SHOWN} images; name a file for the verdicts: --out "
            "verdicts.csv (or .jsonl, .parquet)"
        )
    gated = predictor.gate is not None
    columns = ["verdict", f"probability of {predictor.task.positive}"]
    columns += ["probability of a face"] if gated else []
    table = Table(Column("image", overflow="fold"), *columns)
    for rows in judge(few):
        tally.add(rows)
        for row in rows:
            cells = [escape(row.path), escape(_verdict(row)), _digits(row.probability)]
            table.add_row(*cells, *([_digits(row.gate_probability)] if gated else []))
    console.print(table)


def _verdict(row: Row) -> str:
    if row.error:
        return f"unreadable: {row.error}"
    frames = None if row.frames is None else f"video, {row.frames} frames"
    faces = None if row.faces is None else f"faces: {row.faces}"
    strange = STRANGE if row.is_strange else None
    notes = "; ".join(filter(None, (strange, frames, faces, row.note)))
    return f"{row.verdict} ({notes})" if notes else str(row.verdict)


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def unseen(paths: Iterable[str], seen: Seen) -> Iterator[str]:
    """Yield the paths that are not yet among those that were seen, and add them."""
    return (path for path in paths if seen.add(printable(path)))


def write_verdicts(
    console: Console, judge: Judge, paths: Iterator[str], tally: Tally, results: Results
) -> None:
    """Judge files, each once, and write a row for each that has none yet."""
    try:
        seen, done = Seen(), 0
        for row in results.rows():
            seen.add(row.path)
            tally.add([row])
            done += 1
        if done:
            console.print(f"continuing after {done:,} images that are done", highlight=False)
        if results.num_changed:
            again = f"{results.num_changed:,} images may have changed since and are judged again"
            console.print(again, highlight=False)
        for rows in with_progress(console, judge(unseen(paths, seen)), len):
            results.add(rows)
            tally.add(rows)
        results.finish()
    except BaseException:
        with contextlib.closing(results):
            results.flush()
        raise


def with_progress(
    console: Console,
    batches: Iterable[Batch],
    size: Callable[[Batch], int],
    total: int | None = None,
) -> Iterator[Batch]:
    """Yield the batches, and show how many images are done.

    `size` returns how many a batch holds; `total` is how many there will be, where that is known.
    """
    if not console.is_terminal:
        yield from log_progress(batches, "images judged", total, size)
        return
    of_all = "" if total is None else f" of {total:,}"
    done = TextColumn("{task.completed:,.0f}" + f"{of_all} images")
    columns = SpinnerColumn(), done, TextColumn("{task.fields[rate]}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, rate="")
        for batch in batches:
            yield batch
            progress.advance(task, size(batch))
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:,.0f} a second" if speed else "")
