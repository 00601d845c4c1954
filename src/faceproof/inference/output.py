"""Shows verdicts on the terminal, or writes them to a file while they are computed."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from faceproof.errors import FaceproofError
from faceproof.inference.output_parts import Results, Row, Seen, printable
from faceproof.inference.predictor import Predictor
from faceproof.inference.tally import Tally

MAX_SHOWN = 50  # files on the terminal
WIDTH = 160  # columns, where the output is no terminal

Judge = Callable[[Iterable[str]], Iterator[list[Row]]]  # from paths to batches of results


def make_console() -> Console:
    """Return what prints: as wide as the terminal, or wide enough for a table in a log."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


def show_verdicts(
    console: Console, predictor: Predictor, judge: Judge, paths: Iterator[str], tally: Tally
) -> None:
    """Judge a few files and print a table.

    Args:
        console: where to print.
        predictor: the detector; it decides on the columns.
        judge: what reads and judges files.
        paths: the files; a path that comes again is left out.
        tally: what counts them.

    Raises:
        FaceproofError: there are too many.
    """
    few = list(islice(_unseen(paths, Seen()), MAX_SHOWN + 1))
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
    """Return the verdict on a file with what should be known of it."""
    if row.error:
        return f"unreadable: {row.error}"
    notes = []
    if row.frames is not None:
        notes.append(f"video, {row.frames} frames")
    if row.faces is not None:
        notes.append(f"faces: {row.faces}")
    if row.note:
        notes.append(row.note)
    return f"{row.verdict} ({'; '.join(notes)})" if notes else str(row.verdict)


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _unseen(paths: Iterable[str], seen: Seen) -> Iterator[str]:
    """Yield each path once."""
    return (path for path in paths if seen.add(printable(path)))


def write_verdicts(
    console: Console, judge: Judge, paths: Iterator[str], tally: Tally, results: Results
) -> None:
    """Judge files and write a row for each, continuing after those that have a row already.

    Args:
        console: where progress is shown.
        judge: what reads and judges files.
        paths: the files; a path that comes again is left out.
        tally: what counts them.
        results: the output.
    """
    try:
        seen = Seen()
        done = 0
        for row in results.rows():
            seen.add(row.path)
            tally.add([row])
            done += 1
        if done:
            console.print(f"continuing after {done:,} images that are done", highlight=False)
        for rows in _with_progress(console, judge(_unseen(paths, seen))):
            results.add(rows)
            tally.add(rows)
        results.finish()
    except BaseException:
        with contextlib.closing(results):
            results.flush()
        raise


def _with_progress(console: Console, batches: Iterable[list[Row]]) -> Iterator[list[Row]]:
    """Show on a terminal how many images are done; how many there will be is not known."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} images"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, rate="")
        for rows in batches:
            yield rows
            progress.advance(task, len(rows))
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:,.0f} a second" if speed else "")
