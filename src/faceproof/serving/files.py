"""Verdicts on picture and video files: read by several processes, scored in bounded batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from torch.utils.data import DataLoader, Dataset

from faceproof.data.loading import choose_workers
from faceproof.data.pictures import fit_picture, read_picture
from faceproof.serving.listing import is_video
from faceproof.serving.predictor import Predictor, stack_fitted
from faceproof.serving.results import Row, printable
from faceproof.serving.scorer import Fit, Fitted, Verdict
from faceproof.serving.video import NUM_FRAMES, Clip, read_clip
from faceproof.serving.video_verdict import VideoVerdict, judge_clip

MANY = 10**9
# Pictures at a time. On a CPU larger batches gain nothing, and getting the memory for them anew
# from the system took up to a third of the time (EfficientNet-Lite0 at 160 pixels).
ON_CPU, ON_GPU = 8, 64


OnClip = Callable[[str, Clip, VideoVerdict], None]


@dataclass(frozen=True)
class Loading:
    """How files are read.

    Attributes:
        batch_size: files at a time, on which no verdict depends; None for what suits the device.
        workers: loading processes, or `auto`: none where one batch holds all.
        num_frames: of a video.
    """

    batch_size: int | None = None
    workers: int | str = "auto"
    num_frames: int = NUM_FRAMES


class Loaded(NamedTuple):
    """A batch of files: the pictures of those that can be read, and why the others cannot.

    `paths`, `errors` and `clips` have a place for every file; `clips` holds what was taken of
    videos, and `fitted` the pictures that can be read.
    """

    paths: list[str]
    errors: list[str | None]
    clips: list[Clip | None]
    fitted: Fitted


class _File(NamedTuple):
    path: str
    error: str | None = None
    clip: Clip | None = None
    fitted: Fitted | None = None


class _Files(Dataset[_File]):
    """Files by their path; one that cannot be read is a reason, never an exception."""

    def __init__(self, fits: Sequence[Fit], num_frames: int) -> None:
        self.fits = fits
        self.num_frames = num_frames

    def __getitem__(self, path: str) -> _File:
        try:
            if is_video(path):
                return _File(path, clip=read_clip(path, self.fits, self.num_frames))
            picture = read_picture(path)
        except ValueError as error:  # what is unreadable, or a path that no system takes
            return _File(path, error=str(error))
        return _File(path, fitted={fit: fit_picture(picture, *fit) for fit in self.fits})


def _collate(files: Sequence[_File]) -> Loaded:
    good = [file.fitted for file in files if file.fitted is not None]
    return Loaded(
        [file.path for file in files],
        [file.error for file in files],
        [file.clip for file in files],
        stack_fitted(good) if good else {},
    )


def load_files(
    paths: Iterable[str],
    fits: Sequence[Fit],
    batch_size: int,
    workers: int | str = "auto",
    num_frames: int = NUM_FRAMES,
) -> Iterator[Loaded]:
    """Yield batches of files in their order; paths are taken from the iterator as they are needed.

    Args:
        paths: the files.
        fits: how the networks want their pictures.
        batch_size: files at a time.
        workers: loading processes, or `auto`: none where one batch holds all.
        num_frames: of a video.
    """
    coming = iter(paths)
    first = list(islice(coming, batch_size))
    number = choose_workers(workers, MANY, batch_size)
    if workers == "auto" and len(first) < batch_size:
        number = 0

    # Indices are what a loader passes on from its sampler to its processes; paths do as well.
    yield from DataLoader(
        _Files(fits, num_frames),
        batch_size=batch_size,
        sampler=chain(first, coming),
        num_workers=number,
        collate_fn=_collate,
    )


def predict_files(
    predictor: Predictor,
    paths: Iterable[str],
    loading: Loading | None = None,
    on_clip: OnClip | None = None,
) -> Iterator[list[Row]]:
    """Yield rows of results, batch by batch, in the order of the paths; see `results.FIELDS`.

    Args:
        predictor: the detector.
        paths: the files.
        loading: how they are read.
        on_clip: called with each video's path, frames and verdict.
    """
    how = loading or Loading()
    number = how.batch_size or (ON_CPU if predictor.device.type == "cpu" else ON_GPU)
    for loaded in load_files(paths, predictor.fits, number, how.workers, how.num_frames):
        verdicts = iter(predictor.judge(loaded.fitted) if loaded.fitted else [])
        rows: list[Row] = []
        for path, error, clip in zip(loaded.paths, loaded.errors, loaded.clips, strict=True):
            said: Verdict | VideoVerdict | None = None
            if clip is None:
                said = next(verdicts) if error is None else None
            else:
                said = found = judge_clip(predictor, clip, number)
                if on_clip is not None:
                    on_clip(path, clip, found)
            rows.append(_row(path, error, said, predictor.threshold))
        yield rows


def _row(
    path: str, error: str | None, said: Verdict | VideoVerdict | None, threshold: float
) -> Row:
    """Return the row of a file."""
    video = said if isinstance(said, VideoVerdict) else None
    return {
        "path": printable(path),
        "verdict": said and said.verdict,
        "called": said and said.called,
        "probability": said and said.probability,
        "logit": said.logit if isinstance(said, Verdict) else None,
        "gate_probability": said and said.gate_probability,
        "threshold": threshold,
        "error": error,
        "frames": video and len(video.frames),
        "note": video and video.summary,
    }
