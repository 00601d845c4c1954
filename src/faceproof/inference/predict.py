"""`faceproof predict`: verdicts on many images and videos, shown or written as they come."""

import contextlib
import heapq
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from faceproof.data.loaders import explain_dead_workers
from faceproof.errors import FaceproofError
from faceproof.inference.contact_sheet import write_contact_sheet
from faceproof.inference.faces import FaceOptions, check_faces, face_options
from faceproof.inference.files import Loading, OnClip, predict_files
from faceproof.inference.inputs import list_images
from faceproof.inference.predictor import Predictor
from faceproof.inference.results import Results, Row, Seen, printable
from faceproof.inference.timeline import write_frames
from faceproof.inference.video import NUM_FRAMES, Clip
from faceproof.inference.video_verdict import VideoVerdict

MAX_SHOWN = 50  # images on the screen


@dataclass(frozen=True)
class Request:
    """What to do with many images.

    Attributes:
        out: the file to write, .csv, .jsonl or .parquet; None for the screen.
        overwrite: replace `out`, and begin afresh.
        keep_going: unreadable files do not make the command fail.
        contact_sheet: a PNG of the least certain images; None for none.
        least_certain: how many of them.
        batch_size: images at a time; None for what suits the device.
        workers: loading processes, or `auto`.
        num_frames: of a video.
        frames_out: a folder for each video's timeline, most suspicious frames and figures; None
            for none.
        find_faces: judge each face that is found by itself; see `faces`.
        whole_if_none: with it, judge an image without faces as a whole.
    """

    out: Path | None = None
    overwrite: bool = False
    keep_going: bool = False
    contact_sheet: Path | None = None
    least_certain: int = 24
    batch_size: int | None = None
    workers: int | str = "auto"
    num_frames: int = NUM_FRAMES
    frames_out: Path | None = None
    find_faces: bool = False
    whole_if_none: bool = False

    @property
    def loading(self) -> Loading:
        """Return how files are read."""
        return Loading(self.batch_size, self.workers, self.num_frames, self.faces)

    @property
    def faces(self) -> FaceOptions | None:
        """Return how faces are found; None if they are not wanted."""
        return face_options(self.find_faces, self.whole_if_none)

    @property
    def on_clip(self) -> OnClip | None:
        """Return what is done with each video."""
        folder = self.frames_out
        if folder is None:
            return None

        def write(path: str, clip: Clip, verdict: VideoVerdict) -> None:
            write_frames(folder, Path(printable(path)).stem, clip, verdict)

        return write


@dataclass
class Tally:
    """What has been said so far: how often each verdict, and on which images least certainly."""

    least_certain: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    _nearest: list[tuple[float, int, Row]] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows."""
        for row in rows:
            if row["error"] is not None:
                self.unreadable += 1
                continue
            self.verdicts[row["verdict"]] += 1
            is_image = row["frames"] is None
            if row["probability"] is not None and self.least_certain and is_image:
                distance = abs(row["probability"] - row["threshold"])
                entry = (-distance, -self.verdicts.total(), row)  # of equals, the first stays
                if len(self._nearest) < self.least_certain:
                    heapq.heappush(self._nearest, entry)
                else:
                    heapq.heappushpop(self._nearest, entry)

    @property
    def nearest(self) -> list[Row]:
        """Return the rows nearest to the threshold, nearest first."""
        return [row for _, _, row in sorted(self._nearest, key=lambda e: e[:2], reverse=True)]

    def __str__(self) -> str:
        parts = [f"{number:,} {verdict}" for verdict, number in self.verdicts.most_common()]
        if self.unreadable:
            parts.append(f"{self.unreadable:,} unreadable")
        return ", ".join(parts) or "no images"


def predict(predictor: Predictor, words: Sequence[str], request: Request, backend: str) -> int:
    """Judge all images that words stand for; show or write the verdicts; return the exit code.

    Args:
        predictor: the detector.
        words: see `list_images`.
        request: what to do with them.
        backend: what runs the networks, for an output is of one backend.

    Returns:
        0, or 1 if files could not be read and `keep_going` is not set.

    Raises:
        FaceproofError: nothing is named, the output stands in the way, or there are more images
            than the screen should show.
    """
    _refuse_bad_wishes(request)
    if request.find_faces:
        check_faces(predictor)
    paths = list_images(words)
    first = next(paths, None)
    if first is None:
        raise FaceproofError(f"there are no images in {', '.join(words)}")
    paths = chain([first], paths)
    tally = Tally(request.least_certain if request.contact_sheet else 0)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    with explain_dead_workers():  # it may be learned of wherever this process is
        if request.out is None:
            _show(console, predictor, paths, request, tally)
        else:
            _write(console, predictor, paths, request, tally, backend)
    console.print(str(tally), highlight=False, soft_wrap=True)
    if request.out is not None:
        console.print(f"verdicts: {request.out}", highlight=False, soft_wrap=True)
    if request.frames_out is not None and request.frames_out.is_dir():
        console.print(f"videos: {request.frames_out}", highlight=False, soft_wrap=True)
    if request.contact_sheet is not None and tally.nearest:
        write_contact_sheet(request.contact_sheet, tally.nearest)
        console.print(f"contact sheet: {request.contact_sheet}", highlight=False, soft_wrap=True)
    elif request.contact_sheet is not None:
        console.print("no contact sheet: no image has a probability", highlight=False)
    return 1 if tally.unreadable and not request.keep_going else 0


def _refuse_bad_wishes(request: Request) -> None:
    """Refuse what cannot be done before anything is."""
    counts = {
        "--batch-size": request.batch_size,
        "--least-certain": request.least_certain,
        "--frames": request.num_frames,
    }
    for name, value in counts.items():
        if value is not None and value < 1:
            raise FaceproofError(f"{name} {value} must be a count from 1 on")
    sheet = request.contact_sheet
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise FaceproofError(f"--contact-sheet {sheet} must end in .png")
    face_options(request.find_faces, request.whole_if_none)
    if request.find_faces and request.frames_out is not None:
        raise FaceproofError(
            "--frames-out is of videos, and --find-faces of images alone; leave out one of them"
        )


def _show(
    console: Console, predictor: Predictor, paths: Iterator[str], request: Request, tally: Tally
) -> None:
    """Print a table of a few images."""
    few = list(islice(_new(paths, Seen()), MAX_SHOWN + 1))
    if len(few) > MAX_SHOWN:
        raise FaceproofError(
            f"there are more than {MAX_SHOWN} images; name a file for the verdicts: --out "
            "verdicts.csv (or .jsonl, .parquet)"
        )
    positive = predictor.task.positive
    names = ["verdict", f"probability of {positive}"]
    table = Table(
        Column("image", overflow="fold"),
        *names,
        *([] if predictor.gate is None else ["probability of a face"]),
    )
    for rows in predict_files(predictor, few, request.loading, request.on_clip):
        tally.add(rows)
        for row in rows:
            verdict = f"unreadable: {row['error']}" if row["error"] else row["verdict"]
            if row["frames"] is not None:
                verdict += f" (video, {row['frames']} frames; {row['note']})"
            cells = [_digits(row["probability"])]
            if predictor.gate is not None:
                cells.append(_digits(row["gate_probability"]))
            if row["faces"] is not None:
                verdict += f" (faces: {row['faces']}{'; ' + row['note'] if row['note'] else ''})"
            table.add_row(_plain(row["path"]), _plain(verdict), *cells)
    if few:
        console.print(table)


def _plain(text: str) -> str:
    """Keep brackets in a name from being read as markup."""
    return text.replace("[", r"\[")


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _new(paths: Iterable[str], seen: Seen) -> Iterator[str]:
    """Yield each path once."""
    return (path for path in paths if seen.add(printable(path)))


def _write(
    console: Console,
    predictor: Predictor,
    paths: Iterator[str],
    request: Request,
    tally: Tally,
    backend: str,
) -> None:
    """Write the verdicts to a file, going on where a killed command has stopped."""
    assert request.out is not None
    about: dict[str, Any] = {"detector": predictor.fingerprint, "backend": backend}
    if request.faces is not None:
        about["faces"] = asdict(request.faces)
    results = Results(request.out, about, predictor.gate is not None, request.overwrite)
    try:
        seen = Seen()
        done = 0
        for row in results.rows():
            seen.add(row["path"])
            tally.add([row])
            done += 1
        if done:
            console.print(f"going on after {done:,} images that are done", highlight=False)
        todo = _new(paths, seen)
        batches = predict_files(predictor, todo, request.loading, request.on_clip)
        for rows in _with_progress(console, batches):
            results.add(rows)
            tally.add(rows)
        results.finish()
    except BaseException:
        with contextlib.closing(results):
            results.flush()
        raise


def _with_progress(console: Console, batches: Iterable[list[Row]]) -> Iterator[list[Row]]:
    """Show how many images are done, on a terminal; how many there will be is not known."""
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
