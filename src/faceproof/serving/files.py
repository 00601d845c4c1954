"""Verdicts on picture files: read by several processes, scored in batches, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, islice
from typing import NamedTuple

from torch.utils.data import DataLoader, Dataset

from faceproof.data.loading import choose_workers
from faceproof.data.pictures import fit_picture, read_picture
from faceproof.serving.predictor import Predictor, stack_fitted
from faceproof.serving.results import Row, printable
from faceproof.serving.scorer import Fit, Fitted

MANY = 10**9
# Pictures at a time. On a CPU larger batches gain nothing, and getting the memory for them anew
# from the system took up to a third of the time (EfficientNet-Lite0 at 160 pixels).
ON_CPU, ON_GPU = 8, 64


class Loaded(NamedTuple):
    """A batch of files: the pictures of those that can be read, and why the others cannot.

    `paths` and `errors` have a place for every file, `fitted` only for those without an error.
    """

    paths: list[str]
    errors: list[str | None]
    fitted: Fitted


class _Files(Dataset[tuple[str, str | None, Fitted]]):
    """Picture files by their path; a file that cannot be read is a reason, never an exception."""

    def __init__(self, fits: Sequence[Fit]) -> None:
        self.fits = fits

    def __getitem__(self, path: str) -> tuple[str, str | None, Fitted]:
        try:
            picture = read_picture(path)
        except ValueError as error:  # UnreadablePictureError, or a path that no system takes
            return path, str(error), {}
        return path, None, {fit: fit_picture(picture, *fit) for fit in self.fits}


def _collate(files: Sequence[tuple[str, str | None, Fitted]]) -> Loaded:
    good = [fitted for _, error, fitted in files if error is None]
    return Loaded(
        [path for path, _, _ in files],
        [error for _, error, _ in files],
        stack_fitted(good) if good else {},
    )


def load_files(
    paths: Iterable[str], fits: Sequence[Fit], batch_size: int, workers: int | str = "auto"
) -> Iterator[Loaded]:
    """Yield batches of files in their order; paths are taken from the iterator as they are needed.

    Args:
        paths: the files.
        fits: how the networks want their pictures.
        batch_size: files at a time.
        workers: loading processes, or `auto`: none where one batch holds all.
    """
    coming = iter(paths)
    first = list(islice(coming, batch_size))
    number = choose_workers(workers, MANY, batch_size)
    if workers == "auto" and len(first) < batch_size:
        number = 0

    # Indices are what a loader passes on from its sampler to its processes; paths do as well.
    yield from DataLoader(
        _Files(fits),
        batch_size=batch_size,
        sampler=chain(first, coming),
        num_workers=number,
        collate_fn=_collate,
    )


def predict_files(
    predictor: Predictor,
    paths: Iterable[str],
    batch_size: int | None = None,
    workers: int | str = "auto",
) -> Iterator[list[Row]]:
    """Yield rows of results, batch by batch, in the order of the paths; see `results.FIELDS`.

    Args:
        predictor: the detector.
        paths: the files.
        batch_size: pictures at a time, on which no verdict depends; None for what suits the device.
        workers: loading processes, or `auto`.
    """
    number = batch_size or (ON_CPU if predictor.device.type == "cpu" else ON_GPU)
    for loaded in load_files(paths, predictor.fits, number, workers):
        verdicts = iter(predictor.judge(loaded.fitted) if loaded.fitted else [])
        rows: list[Row] = []
        for path, error in zip(loaded.paths, loaded.errors, strict=True):
            said = {} if error is not None else asdict(next(verdicts))
            rows.append(
                {
                    "path": printable(path),
                    "verdict": said.get("verdict"),
                    "called": said.get("called"),
                    "probability": said.get("probability"),
                    "logit": said.get("logit"),
                    "gate_probability": said.get("gate_probability"),
                    "threshold": predictor.threshold,
                    "error": error,
                }
            )
        yield rows
