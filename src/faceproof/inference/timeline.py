"""Draws the verdicts on a video: over time, and the frames that look most fake."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image

from faceproof.errors import FaceproofError
from faceproof.inference.contact_sheet import draw_sheet
from faceproof.inference.video import Clip
from faceproof.inference.video_verdict import VideoVerdict
from faceproof.io.atomic import atomic_file, write_text
from faceproof.reports.plots import BLUE, INK, MUTED, VERMILLION, dress, save_png
from faceproof.settings import is_device
from faceproof.task import get_task

VIDEOS = "videos.csv"  # which video the files of each name are of
NUM_STRIP = 6
NARROW = 5.0  # inches: below, the legend takes several rows
SIZE = 7.2, 3.1  # inches


def draw_timeline(verdict: VideoVerdict, size: tuple[float, float] = SIZE) -> Figure:
    """Draw the probability of each frame over time, with their threshold, score and spread.

    `size` is width and height in inches.
    """
    positive = get_task(verdict.task).positive
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    times = np.array(verdict.times)
    values = np.array([np.nan if f.probability is None else f.probability for f in verdict.frames])
    if verdict.score is not None and verdict.low is not None and verdict.high is not None:
        style: dict[str, Any] = {"color": BLUE, "alpha": 0.12, "lw": 0}
        axes.axhspan(verdict.low, verdict.high, **style, label="10% to 90% of frames")
        name = {"share": f"share called {positive}"}.get(verdict.how or "", verdict.how or "mean")
        axes.axhline(verdict.score, color=BLUE, lw=1.2, label=name)
    axes.axhline(verdict.frame_threshold, color=VERMILLION, lw=1.2, ls="--", label="threshold")
    axes.plot(times, values, color=INK, lw=1.0, marker="o", ms=3.5, label="frame")
    faceless = times[np.isnan(values)]
    if len(faceless):
        axes.plot(
            faceless, np.zeros_like(faceless), color=MUTED, ls="", marker="x", label="no face"
        )
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(0, max(verdict.seconds, float(times[-1]), 1e-3))
    dress(axes, f"Probability of {positive} over time", "seconds", f"probability of {positive}")
    handles, names = axes.get_legend_handles_labels()
    for legend in axes.findobj(Legend):  # it would cover the plot
        legend.remove()
    columns = len(names) if size[0] > NARROW else 2
    style = {"fontsize": 9, "frameon": False, "labelcolor": INK}
    figure.legend(handles, names, loc="outside lower center", ncols=columns, **style)
    return figure


def most_positive(verdict: VideoVerdict, number: int = NUM_STRIP) -> list[int]:
    """Return the numbers of the frames with the highest probabilities, the highest first."""
    known = [(-f.probability, n) for n, f in enumerate(verdict.frames) if f.probability is not None]
    return [n for _, n in sorted(known)[:number]]


def draw_strip(verdict: VideoVerdict, thumbnails: Sequence[Image.Image]) -> Image.Image | None:
    """Draw the frames with the highest probabilities; None where no frame shows a face."""
    cells = []
    for number in most_positive(verdict):
        image, frame = thumbnails[number], verdict.frames[number]
        said = f"{frame.probability:.3f}  {frame.verdict}"
        cells.append((image, said, clock(verdict.times[number])))
    return draw_sheet(cells, len(cells), 1, INK) if cells else None


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, from an hour on with hours."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    ends = f"{int(minutes):02d}:{rest:05.2f}"
    return f"{int(hours)}:{ends}" if hours else ends


def write_frames(folder: Path, video: str, clip: Clip, verdict: VideoVerdict) -> None:
    """Write NAME.timeline.png, NAME.strip.png (if a frame shows a face) and NAME.frames.csv.

    NAME is that of the video's file; see `name_of`. `videos.csv` says which video each is of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = name_of(folder, video)
    save_png(draw_timeline(verdict), folder / f"{stem}.timeline.png")
    strip = draw_strip(verdict, clip.thumbnails)
    (folder / f"{stem}.strip.png").unlink(missing_ok=True)  # of an earlier command
    if strip is not None:
        with atomic_file(folder / f"{stem}.strip.png") as partial:
            strip.save(partial, "PNG")
    rows = [
        (f"{time:.3f}", one.verdict, one.probability, one.gate_probability)
        for time, one in zip(verdict.times, verdict.frames, strict=True)
    ]
    columns = ("seconds", "verdict", "probability", "gate_probability")
    write_text(folder / f"{stem}.frames.csv", _csv(columns, rows))


def name_of(folder: Path, video: str) -> str:
    """Return the name of a video's files, and note it in `videos.csv`.

    The same video has the same name again. Where a video of another folder has it already, the
    name begins with the nearest folder in which the two differ, or else ends with a number.
    """
    videos = str(Path(os.path.abspath(video)))  # not resolve(): a link's name is the user's
    index = folder / VIDEOS
    known = _read_index(index)
    if (found := known.get(videos)) is not None:
        return found
    path = Path(videos)
    taken = {name.lower(): other for other, name in known.items()}
    stem = f"video-{path.stem}" if is_device(path.stem) else path.stem
    if stem.lower() in taken:
        others = set(Path(taken[stem.lower()]).parts)
        differing = next((part for part in reversed(path.parts[:-1]) if part not in others), None)
        stem = stem if differing is None else f"{differing}-{stem}"
    name, number = stem, 1
    # Files that no index names are of an earlier version, or somebody else's.
    while name.lower() in taken or (folder / f"{name}.frames.csv").exists():
        number += 1
        name = f"{stem}-{number}"
    write_text(
        index, _csv(("name", "video"), [(n, v) for v, n in [*known.items(), (videos, name)]])
    )
    return name


def _read_index(file: Path) -> dict[str, str]:
    """Return the name of each video that `videos.csv` lists."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if any({"name", "video"} - {key for key, value in row.items() if value} for row in rows):
        raise FaceproofError(
            f"{file} is no list of videos with the columns name and video; move it away, or choose "
            "another folder by --frames-out"
        )
    return {row["video"]: row["name"] for row in rows}


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return lines.getvalue()
