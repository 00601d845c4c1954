"""Judges many files: several processes read images and videos, batches of them are scored."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from faceproof.data.image_io import decode_image, read_image
from faceproof.data.loaders import (
    PATIENCE,
    choose_workers,
    explain_missing_workers,
    hear_of_deaths,
)
from faceproof.data.model_input import Fit
from faceproof.data.shards.order import fetching_as_they_come
from faceproof.data.shards.paths import IN_SHARD, Member, find_member
from faceproof.data.shards.reading import NoSuchImageError, read_member
from faceproof.data.shards.store import ShardError, UnreadableObjectError
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import ScoreError
from faceproof.inference.faces import (
    FaceOptions,
    FacesVerdict,
    check_faces,
    combine_faces,
    fit_faces,
)
from faceproof.inference.inputs import is_video
from faceproof.inference.objects import (
    Fetched,
    as_file,
    fetch_object,
    fetch_objects,
    is_object,
    stamps_of,
)
from faceproof.inference.output_parts import Row, ends_of, printable
from faceproof.inference.predictor import Predictor, fit_all, judge_batches, stack_fitted
from faceproof.inference.verdicts import Fitted, Verdict
from faceproof.inference.video import NUM_FRAMES, Clip, read_clip
from faceproof.inference.video_faces import (
    FacesClip,
    FacesVideoVerdict,
    judge_video_faces,
    read_faces,
)
from faceproof.inference.video_verdict import VideoVerdict, judge_clip
from faceproof.io.atomic import CannotWriteError
from faceproof.io.stamps import stamp_of
from faceproof.performance.cores import by_all_cores
from faceproof.performance.shared_memory import Packed, pack, taken
from faceproof.prepare.boxes import Box

PER_VIDEO = 60.0  # seconds that a worker may take for a file
WORKERS_OPTION = "--workers"
MANY = 10**9  # files; how many there will be is not known
ON_CPU, ON_GPU = 32, 64  # files at a time

# Called with the path of each video, the frames that decide, and the verdict on them.
OnClip = Callable[[str, Clip, VideoVerdict], None]
Judged = Verdict | VideoVerdict | FacesVerdict | FacesVideoVerdict


@dataclass(frozen=True)
class Loading:
    """How files are read.

    Attributes:
        batch_size: files at a time, which changes no verdict; None for what suits the device.
        workers: processes that read files, or `auto`; see `choose_workers`.
        num_frames: how many frames of a video are judged.
        faces: how faces are found, to judge each by itself; None to judge whole images.
    """

    batch_size: int | None = None
    workers: int | str = "auto"
    num_frames: int = NUM_FRAMES
    faces: FaceOptions | None = None

    def size_on(self, device: str) -> int:
        """Return the number of files at a time on a type of device."""
        return self.batch_size or (ON_CPU if device == "cpu" else ON_GPU)


class _File(NamedTuple):
    """What was read of one file.

    `fitted` holds what is to be judged as images: the image, or each of its faces; nothing of a
    video, whose frames are in `clip`, or its faces in `faces_clip`.
    """

    path: str
    stamp: str | None = None  # before it was read
    error: str | None = None
    refusal: str | None = None  # why nothing can be read: the file is not to blame
    clip: Clip | None = None
    faces_clip: FacesClip | None = None
    boxes: list[Box] | None = None
    fitted: Sequence[Fitted] = ()


class Loaded(NamedTuple):
    """A batch of files; the images of all of them are stacked in `fitted`, in the files' order."""

    files: list[_File]
    counts: list[int]  # of each file, how many images of `fitted` belong to it
    fitted: Fitted


class _Files(Dataset[_File]):
    """Files by their path; one that cannot be read is a reason, never an exception."""

    def __init__(self, fits: Sequence[Fit], loading: Loading) -> None:
        self.fits = fits
        self.loading = loading

    def __getitems__(self, paths: list[str]) -> list[_File]:
        """Return a whole batch, as torch's loader asks for it."""
        try:
            fetched = fetch_objects([path for path in paths if not is_video(path)])
            videos = [path for path in paths if is_object(path) and is_video(path)]
            stamps = dict(zip(videos, stamps_of(videos), strict=True))
        except FaceproofError as error:  # torch would put a traceback in front of it
            return [_File(path, refusal=str(error)) for path in paths]

        def read(place: int) -> _File:
            path = paths[place]
            if path in fetched:
                return self._object(path, fetched[path])
            if (member := find_member(path)) is not None:
                return self._member(path, member)
            file = _File(path, stamps[path] if path in stamps else stamp_of(path))
            return self._video(file) if is_video(path) else self._image(file)

        return by_all_cores(read, len(paths))

    def _object(self, path: str, fetched: Fetched) -> _File:
        try:
            found = fetch_object(path) if fetched.is_large else fetched
        except FaceproofError as error:
            return _File(path, refusal=str(error))
        if found.error is not None:
            return _File(path, found.stamp, found.error)
        return self._image(_File(path, found.stamp), found.data)

    def _member(self, path: str, member: Member) -> _File:
        try:
            data = read_member(member)
        except NoSuchImageError as error:
            return _File(path, error=str(error))
        except (ShardError, CannotWriteError, OSError) as error:  # no single image is to blame
            return _File(path, refusal=str(error))
        return self._image(_File(path, IN_SHARD), data)

    def _video(self, file: _File) -> _File:
        faces, num_frames = self.loading.faces, self.loading.num_frames
        try:
            with as_file(file.path) as source:
                if faces is not None:
                    found = read_faces(source, self.fits, num_frames, faces)
                    return file._replace(faces_clip=found)
                return file._replace(clip=read_clip(source, self.fits, num_frames))
        except UnreadableObjectError as error:
            return file._replace(error=error.reason)
        except (ShardError, CannotWriteError) as error:
            return file._replace(refusal=str(error))
        except ValueError as error:  # unreadable, or a path that the system does not take
            return file._replace(error=str(error))

    def _image(self, file: _File, data: bytes | None = None) -> _File:
        try:
            pixels = read_image(file.path) if data is None else decode_image(data)
        except ValueError as error:  # unreadable, or a path that the system does not take
            return file._replace(error=str(error))
        image, faces = torch.from_numpy(pixels), self.loading.faces
        if faces is not None:
            boxes, parts = fit_faces(image, self.fits, faces)
            return file._replace(boxes=boxes, fitted=parts)
        return file._replace(fitted=[fit_all(image, self.fits)])


def _collate(files: Sequence[_File]) -> Loaded | Packed:
    images = [fitted for file in files for fitted in file.fitted]
    counts = [len(file.fitted) for file in files]
    # Not the images themselves: they would be sent to this process twice.
    files = [file._replace(fitted=()) for file in files]
    loaded = Loaded(list(files), counts, stack_fitted(images) if images else {})
    packed: Loaded | Packed = pack(loaded)
    return packed


def load_files(
    paths: Iterable[str], fits: Sequence[Fit], loading: Loading, device: str = "cpu"
) -> Iterator[Loaded]:
    """Yield batches of files in their order; each path is taken when it is needed.

    Paths in shards of an object store are taken earlier: see `fetching_as_they_come`.
    """
    coming = iter(paths)
    batch_size = loading.size_on(device)
    first = list(islice(coming, batch_size))
    workers = choose_workers(loading.workers, MANY, batch_size, device)
    if loading.workers == "auto" and len(first) < batch_size:
        workers = 0

    # A loader passes what its sampler yields on to its processes: usually indices, here paths.
    loader = DataLoader(
        _Files(fits, loading),
        batch_size=batch_size,
        sampler=fetching_as_they_come(chain(first, coming)),
        num_workers=workers,
        collate_fn=_collate,
        timeout=PATIENCE + PER_VIDEO * batch_size if workers else 0,
    )
    with explain_missing_workers(workers, WORKERS_OPTION):
        batches = iter(loader)
    hear_of_deaths()
    yield from taken(batches)


def predict_files(
    predictor: Predictor,
    paths: Iterable[str],
    loading: Loading | None = None,
    on_clip: OnClip | None = None,
) -> Iterator[list[Row]]:
    """Yield rows of results, batch by batch, in the order of the paths.

    `on_clip` is called for each video.

    Raises:
        FaceproofError: faces are to be found, and cannot be; see `check_faces`. Or an object store
            does not answer.
        ScoreError: the detector gave something that is no score.
    """
    loading = loading or Loading()
    if loading.faces is not None:
        check_faces(predictor, loading.faces)
    device = predictor.device.type
    batch_size = loading.size_on(device)
    for loaded in load_files(paths, predictor.fits, loading, device):
        if refused := next(filter(None, (file.refusal for file in loaded.files)), None):
            raise FaceproofError(f"{refused}; start the same command again to continue")
        with _naming(loaded.files):
            # In batches, because there may be more faces than files.
            verdicts = iter(judge_batches(predictor, loaded.fitted, batch_size))
        rows: list[Row] = []
        for file, count in zip(loaded.files, loaded.counts, strict=True):
            own = list(islice(verdicts, count))
            said: Judged | None = None
            if file.clip is not None or file.faces_clip is not None:
                with _naming([file]):
                    said = _judge_video(predictor, file, batch_size, on_clip)
            elif file.boxes is not None:
                said = combine_faces(predictor, file.boxes, own)
            elif file.error is None:
                (said,) = own
            rows.append(_row(file, said, predictor.threshold))
        yield rows


def _judge_video(
    predictor: Predictor, file: _File, batch_size: int, on_clip: OnClip | None
) -> VideoVerdict | FacesVideoVerdict:
    """Return the verdict on a video, as a whole or by its faces."""
    if file.faces_clip is None:
        assert file.clip is not None
        said = judge_clip(predictor, file.clip, batch_size)
        if on_clip is not None:
            on_clip(file.path, file.clip, said)
        return said
    found = judge_video_faces(predictor, file.faces_clip, batch_size)
    decides = found.deciding_clip(file.faces_clip)
    if on_clip is not None and decides is not None:
        on_clip(file.path, decides, found.video)
    return found


@contextlib.contextmanager
def _naming(files: Sequence[_File]) -> Iterator[None]:
    """Name the files among which a score is none."""
    try:
        yield
    except ScoreError as error:
        raise ScoreError(f"{ends_of([file.path for file in files])}: {error}") from error


def _row(file: _File, judged: Judged | None, threshold: float) -> Row:
    path = printable(file.path)
    # Another command has the path as it is printed; where that is not the path, it judges again.
    row = Row(path, threshold=threshold, stamp=file.stamp if path == file.path else None)
    if judged is None:
        return replace(row, error=file.error)
    one: Verdict | VideoVerdict
    if isinstance(judged, FacesVerdict):
        one = judged.image
    elif isinstance(judged, FacesVideoVerdict):
        one = judged.video
    else:
        one = judged
    row = replace(
        row, verdict=one.verdict, called=one.called, probability=one.probability,
        gate_probability=one.gate_probability, novelty=one.novelty, is_strange=one.is_strange,
    )  # fmt: skip
    if isinstance(judged, VideoVerdict):
        row = replace(row, threshold=judged.threshold)  # videos may have their own
        return replace(row, frames=len(judged.frames), note=judged.summary)
    if isinstance(judged, FacesVideoVerdict):
        faces, frames = len(judged.tracks), judged.num_frames
        return replace(row, frames=frames, faces=faces, note=judged.summary)
    if isinstance(judged, FacesVerdict):
        return replace(row, logit=judged.image.logit, faces=len(judged.boxes), note=judged.note)
    return replace(row, logit=judged.logit)
