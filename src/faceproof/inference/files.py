"""Verdicts on image and video files: read by several processes, scored in bounded batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from faceproof.data.image_io import read_image
from faceproof.data.loaders import choose_workers
from faceproof.data.model_input import fit_image
from faceproof.inference.faces import (
    FaceOptions,
    FacesVerdict,
    check_faces,
    combine_faces,
    fit_faces,
)
from faceproof.inference.inputs import is_video
from faceproof.inference.predictor import Predictor, stack_fitted
from faceproof.inference.results import Row, printable
from faceproof.inference.scorer import Fit, Fitted, Verdict
from faceproof.inference.video import NUM_FRAMES, Clip, read_clip
from faceproof.inference.video_verdict import VideoVerdict, judge_clip
from faceproof.performance.cores import by_all_cores
from faceproof.prepare.boxes import Box

MANY = 10**9
ON_CPU, ON_GPU = 32, 64  # files at a time
NO_VIDEOS = "faces are found in images alone; judge videos without --find-faces"


OnClip = Callable[[str, Clip, VideoVerdict], None]


@dataclass(frozen=True)
class Loading:
    """How files are read.

    Attributes:
        batch_size: files at a time, on which no verdict depends; None for what suits the device.
        workers: worker processes, or `auto`; see `choose_workers`.
        num_frames: of a video.
        faces: how faces are found and judged one by one; None for images as they are.
    """

    batch_size: int | None = None
    workers: int | str = "auto"
    num_frames: int = NUM_FRAMES
    faces: FaceOptions | None = None


class Loaded(NamedTuple):
    """A batch of files: the images of those that can be read, and why the others cannot.

    `paths`, `errors`, `clips`, `boxes` and `counts` have a place for every file; `clips` holds what
    was taken of videos, `boxes` the faces where they were wanted, and `counts` how many images of
    `fitted` are of the file: 1, or those of its faces, or 0.
    """

    paths: list[str]
    errors: list[str | None]
    clips: list[Clip | None]
    boxes: list[list[Box] | None]
    counts: list[int]
    fitted: Fitted


class _File(NamedTuple):
    path: str
    error: str | None = None
    clip: Clip | None = None
    boxes: list[Box] | None = None
    fitted: Sequence[Fitted] = ()


class _Files(Dataset[_File]):
    """Files by their path; one that cannot be read is a reason, never an exception."""

    def __init__(self, fits: Sequence[Fit], num_frames: int, faces: FaceOptions | None) -> None:
        self.fits = fits
        self.num_frames = num_frames
        self.faces = faces

    def __getitem__(self, path: str) -> _File:
        try:
            if is_video(path):
                if self.faces is not None:
                    return _File(path, error=NO_VIDEOS)
                return _File(path, clip=read_clip(path, self.fits, self.num_frames))
            image = torch.from_numpy(read_image(path))
        except ValueError as error:  # what is unreadable, or a path that no system takes
            return _File(path, error=str(error))
        if self.faces is not None:
            boxes, parts = fit_faces(image, self.fits, self.faces)
            return _File(path, boxes=boxes, fitted=parts)
        return _File(path, fitted=[{fit: fit_image(image, *fit) for fit in self.fits}])

    def __getitems__(self, paths: list[str]) -> list[_File]:
        """Return a whole batch: torch's loader asks for it so."""
        return by_all_cores(lambda place: self[paths[place]], len(paths))


def _collate(files: Sequence[_File]) -> Loaded:
    good = [fitted for file in files for fitted in file.fitted]
    return Loaded(
        [file.path for file in files],
        [file.error for file in files],
        [file.clip for file in files],
        [file.boxes for file in files],
        [len(file.fitted) for file in files],
        stack_fitted(good) if good else {},
    )


def load_files(
    paths: Iterable[str],
    fits: Sequence[Fit],
    batch_size: int,
    workers: int | str = "auto",
    num_frames: int = NUM_FRAMES,
    faces: FaceOptions | None = None,
    device: str = "cpu",
) -> Iterator[Loaded]:
    """Yield batches of files in their order; paths are taken from the iterator as they are needed.

    Args:
        paths: the files.
        fits: how the networks want their images.
        batch_size: files at a time.
        workers: worker processes, or `auto`; see `choose_workers`.
        num_frames: of a video.
        faces: how faces are found; None for images as they are.
        device: the type of device that judges them.
    """
    coming = iter(paths)
    first = list(islice(coming, batch_size))
    number = choose_workers(workers, MANY, batch_size, device)
    if workers == "auto" and len(first) < batch_size:
        number = 0

    # Indices are what a loader passes on from its sampler to its processes; paths do as well.
    loader = DataLoader(
        _Files(fits, num_frames, faces),
        batch_size=batch_size,
        sampler=chain(first, coming),
        num_workers=number,
        collate_fn=_collate,
    )
    yield from loader


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

    Raises:
        FaceproofError: faces are to be found, and cannot be; see `check_faces`.
    """
    how = loading or Loading()
    if how.faces is not None:
        check_faces(predictor)
    number = how.batch_size or (ON_CPU if predictor.device.type == "cpu" else ON_GPU)
    batches = load_files(
        paths, predictor.fits, number, how.workers, how.num_frames, how.faces, predictor.device.type
    )
    for loaded in batches:
        verdicts = _judge(predictor, loaded.fitted, number)
        rows: list[Row] = []
        files = zip(
            loaded.paths, loaded.errors, loaded.clips, loaded.boxes, loaded.counts, strict=True
        )
        for path, error, clip, boxes, count in files:
            said: Verdict | VideoVerdict | FacesVerdict | None = None
            mine = list(islice(verdicts, count))
            if clip is not None:
                said = found = judge_clip(predictor, clip, number)
                if on_clip is not None:
                    on_clip(path, clip, found)
            elif boxes is not None:
                said = combine_faces(predictor, boxes, mine)
            elif error is None:
                (said,) = mine
            rows.append(_row(path, error, said, predictor.threshold))
        yield rows


def _judge(predictor: Predictor, fitted: Fitted, number: int) -> Iterator[Verdict]:
    """Judge images, so many at a time: with faces there may be more of them than files."""
    total = max((len(images) for images in fitted.values()), default=0)
    for start in range(0, total, number):
        part = slice(start, start + number)
        yield from predictor.judge({fit: images[part] for fit, images in fitted.items()})


def _row(
    path: str,
    error: str | None,
    judged: Verdict | VideoVerdict | FacesVerdict | None,
    threshold: float,
) -> Row:
    """Return the row of a file."""
    video = judged if isinstance(judged, VideoVerdict) else None
    faces = judged if isinstance(judged, FacesVerdict) else None
    said = judged.image if isinstance(judged, FacesVerdict) else judged
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
        "note": video.summary if video else faces and faces.note,
        "faces": faces and len(faces.boxes),
    }
