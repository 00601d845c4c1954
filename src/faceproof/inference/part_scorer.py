"""Judges parts of a list of files, for a process that is one of many; knows no cluster.

Reading, decoding and scoring are those of `inference.files`. A part is a whole number of batches,
so that each image is in the same batch as on one machine, and gets the same score to the last bit.
"""

import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.inference.files import Loading, predict_files
from faceproof.inference.objects import is_plain_file
from faceproof.inference.output_parts import MAX_NAMED, Row, schema_of
from faceproof.inference.part_folder import PartFolder
from faceproof.inference.predictor import Predictor, load
from faceproof.inference.worker_setup import WorkerSetup
from faceproof.io.stamps import stamp_of


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know, as plain values.

    Attributes:
        folder: where the parts are.
        detector: the artifact's folder.
        fingerprint: of the artifact, which each worker compares with what it loads.
        backend: `torch` or `onnx`.
        device: `cpu` or `cuda`.
        loading: how files are read.
        setup: what the process takes over from the command.
    """

    folder: PartFolder
    detector: Path
    fingerprint: str
    backend: str
    device: str
    loading: Loading
    setup: WorkerSetup


@dataclass(frozen=True)
class PartCount:
    """What came of a part.

    Attributes:
        number: the part's.
        files: how many it has.
        was_there: whether another command, or an earlier attempt, had judged it.
        verdicts: how often each was given.
        unreadable: how many files could not be read.
        named: the first of these, each with its reason.
    """

    number: int
    files: int
    was_there: bool
    verdicts: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    named: tuple[tuple[str, str], ...] = ()


def _named(files: Iterable[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """Return the first files that could not be read, with their reasons."""
    return tuple(islice(((path, error) for path, error in files if error is not None), MAX_NAMED))


class PartScorer:
    """Judges parts; loads the detector once, when the first part needs it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._predictor: Predictor | None = None
        self._is_ready = False

    def __call__(self, number: int) -> PartCount:
        """Judge a part unless its rows are there and hold, and count them.

        Raises:
            FaceproofError: the part cannot be judged or written here.
        """
        self._get_ready()
        folder = self.job.folder
        paths = folder.paths(number)
        if (table := folder.read(number, paths)) is not None:
            given = Counter(word for word in table["verdict"].to_pylist() if word is not None)
            unreadable = len(paths) - table["error"].null_count
            pairs = zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True)
            return PartCount(number, len(paths), True, dict(given), unreadable, _named(pairs))
        rows = self._judge(number, paths)
        given = Counter(str(row.verdict) for row in rows if row.error is None)
        named = _named((row.path, row.error) for row in rows)
        return PartCount(number, len(paths), False, dict(given), len(paths) - given.total(), named)

    def _judge(self, number: int, paths: Sequence[str]) -> list[Row]:
        predictor = self._load()
        stamps = [stamp_of(path) if is_plain_file(path) else None for path in paths]
        batches = predict_files(predictor, paths, self.job.loading)
        rows = [row for batch in batches for row in batch]
        stamps = [old or row.stamp for old, row in zip(stamps, rows, strict=True)]
        schema = schema_of(predictor.gate is not None, predictor.knows_novelty)
        self.job.folder.write(number, paths, rows, stamps, schema)
        return rows

    def _get_ready(self) -> None:
        """Make this process like the one of the command; refuse a machine that is not like its."""
        if self._is_ready:
            return
        self.job.setup.apply()
        self.job.folder.check()
        self._is_ready = True

    def _load(self) -> Predictor:
        if self._predictor is None:
            job = self.job
            found = load(job.detector, job.device, job.backend)
            if found.fingerprint != job.fingerprint:
                raise FaceproofError(
                    f"{job.detector} is another detector on {socket.gethostname()} than where the "
                    "command was started; copy it there again"
                )
            self._predictor = found
        return self._predictor
