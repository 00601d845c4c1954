"""The folder of a sweep: its runs, what has become of each, and the leaderboard.

The state of a run is read from its folder, so that a sweep can be resumed however it ended.

    multirun/NAME/            a function of the command
      leaderboard.csv         a row a run, best first
      sweep.lock              held while the sweep or a run of it is alive
      search.db               of a search: Optuna's study
      model-face_cnn+seed-0/  a run folder, and besides
        job.json              its overrides, status, reason of failure, attempts
        job.lock              of a search by several machines: held while one works on the run
        output.log            what it printed
"""

import contextlib
import csv
import hashlib
import io
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from faceproof.errors import FaceproofError
from faceproof.io.atomic import write_json, write_text
from faceproof.io.locks import Lock
from faceproof.io.parse import parse
from faceproof.io.plain_files import read_object
from faceproof.io.run_folder import COPY_AGAIN, RunFolder, flatten
from faceproof.settings import AMOUNT, NAME, check, one_of
from faceproof.words import for_hydra
from faceproof.workflows.run_process import one_line

JOB = "job.json"
JOB_LOCK = "job.lock"
LOG = "output.log"
BEST_EPOCH = "best_epoch_from_1"  # a column of the leaderboard, which people read
STATUSES = ("finished", "pruned", "running", "interrupted", "failed", "waiting")
MAX_NOTES = 1_000_000  # bytes; those of a run have some thousands
MAX_NAME = 80  # characters of a folder's name; file systems take 255 bytes
MAX_SWEEP_NAME = 60


def run_name(settings: Mapping[str, str]) -> str:
    """Return the folder name of a run: readable, and plain for the shell and for Hydra.

    The order of the settings does not matter. Settings that a name cannot show in full are told
    apart by a hash.

    Examples:
        >>> run_name({"optimizer.lr": "0.001", "model": "resnet18"})
        'model-resnet18+lr-0.001'
    """
    settings = dict(sorted(settings.items()))
    shown = "+".join(_slug(key, value) for key, value in settings.items())
    short = {_last_part(key) for key in settings}
    exact = all(_shown(value) == value for value in settings.values())
    plain = NAME.fits(shown)  # on Windows too, where no name ends with a dot
    if exact and plain and len(short) == len(settings) and len(shown) <= MAX_NAME:
        return shown
    text = [f"{key}={value}" for key, value in settings.items()]
    return f"{shown[:MAX_NAME].rstrip('+-.')}_{_digest(text)[:6]}"


def sweep_name(overrides: Iterable[str]) -> str:
    """Return the folder name of a sweep: the same for the same overrides in any order.

    `compare=` does not count, as it changes no run. The name shows what varies first, then the
    rest while there is room, and a hash of everything.

    Examples:
        >>> sweep_name(["freeze=head_only", "model=resnet18,vit_b16"])
        'model-resnet18-vit_b16+freeze-head_only_a4fe235c'
    """
    words = sorted(word for word in overrides if not word.startswith("compare="))
    shown = ""
    for word in sorted(words, key=lambda word: not re.search(r"=.*[,(]|^sweep=", word)):
        key, _, value = word.partition("=")
        slug = _slug(key, value)
        if "/" not in value and len(shown) + len(slug) < MAX_SWEEP_NAME:
            shown += "+" * bool(shown) + slug
    return f"{shown or 'sweep'}_{_digest(words)[:8]}"


def _slug(key: str, value: str) -> str:
    return f"{_last_part(key)}-{_shown(value)}"


def _last_part(key: str) -> str:
    return re.split(r"[./@]", key.lstrip("+~"))[-1]


def _shown(value: str) -> str:
    """Return a value as a name can show it: fractions by four digits, no special characters."""
    if re.fullmatch(r"-?\d*\.\d{5,}(e-?\d+)?|-?\d\.\d{4,}e-?\d+", value, re.ASCII):
        value = f"{float(value):.4g}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-")


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


@dataclass(frozen=True)
class Notes:
    """What `job.json` says of a run.

    Attributes:
        overrides: the words of the command line that make it.
        settings: those by which the runs of the sweep differ.
        status: one of `STATUSES`.
        reason: why it failed or was pruned.
        attempts: when each attempt began.
        seconds: how long all attempts took.
    """

    overrides: tuple[str, ...]
    settings: dict[str, str]
    status: str = "waiting"
    reason: str = ""
    attempts: tuple[str, ...] = ()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        check(self, status=one_of(*STATUSES), seconds=AMOUNT)


@dataclass(frozen=True)
class Job:
    """A run of a sweep, done or to be done; see `Notes` for its overrides and settings."""

    folder: Path
    overrides: tuple[str, ...]
    settings: Mapping[str, str]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def run(self) -> RunFolder:
        """The paths of the run."""
        return RunFolder(self.folder)

    def read(self) -> Notes:
        """Return the notes on the run."""
        file = self.folder / JOB
        values = read_object(file, COPY_AGAIN, MAX_NOTES, escaped=False)
        try:
            notes: Notes = parse(Notes, values)
        except FaceproofError as error:
            raise FaceproofError(f"{file} is damaged: {error}; {COPY_AGAIN}") from error
        return notes

    def note(self, **changes: Any) -> None:
        """Change the notes on the run."""
        self.write(replace(self.read(), **changes))

    def write(self, notes: Notes) -> None:
        """Write the notes on the run."""
        write_json(self.folder / JOB, asdict(notes))

    @property
    def planned(self) -> bool:
        """Say whether there are notes on the run."""
        return (self.folder / JOB).is_file()

    @property
    def finished(self) -> bool:
        """Say whether training has ended and the threshold is fitted."""
        record = self.run.read_record()
        return record.get("status") == "finished" and self.run.operating_point.is_file()

    @property
    def pruned(self) -> bool:
        """Say whether a search has stopped the run early."""
        return self.read().status == "pruned"

    @property
    def monitor(self) -> str:
        """The monitored metric of a finished run."""
        return str(self.run.read_record()["monitor"])

    @property
    def value(self) -> float | None:
        """Return the best value of the monitored metric; None of an unfinished run."""
        record = self.run.read_record()
        return float(record["best"][record["monitor"]]) if self.finished else None

    def describe(self) -> str:
        """Return the result of a finished run in words."""
        record = self.run.read_record()
        return f"{record['monitor']} {self.value:.4f} in epoch {record['best_epoch'] + 1}"


class SweepFolder:
    """The runs of a sweep; while it is entered, no other sweep works in the folder.

    Args:
        path: the folder.
        shared: several commands work on one search; each run is locked by itself then.
    """

    def __init__(self, path: Path, shared: bool = False) -> None:
        self.path, self.shared = path.absolute(), shared
        self.leaderboard = self.path / "leaderboard.csv"
        self.lock = Lock(
            self.path / "sweep.lock",
            f"a sweep is at work in {self.path} already ({{holder}}); wait for it, stop it, or "
            "choose another folder by hydra.sweep.dir",
        )

    def __enter__(self) -> Self:
        """Lock the folder; runs that an earlier sweep left running are noted as interrupted."""
        if not self.shared:
            self.lock.acquire()
            self.lock.write_holder(f"sweep {os.getpid()} on {socket.gethostname()}")
        for job in self.jobs():
            if job.read().status == "running" and self.is_abandoned(job):
                job.note(status="finished" if job.finished else "interrupted")
        return self

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    def jobs(self) -> list[Job]:
        """Return every run that was ever planned in the folder."""
        return [_read_job(file.parent) for file in sorted(self.path.glob(f"*/{JOB}"))]

    def plan(self, overrides: Sequence[str], swept: Sequence[str]) -> Job:
        """Return the run of these overrides, with its folder, new or as it is.

        The folder is named by the settings whose keys are among `swept`.
        """
        pairs = {key: value for key, _, value in (word.partition("=") for word in overrides)}
        settings = {key: value for key, value in pairs.items() if key in swept} or pairs
        settings = {key.lstrip("+"): value for key, value in settings.items()}
        job = Job(self.path / run_name(settings), tuple(overrides), settings)
        if job.planned and sorted(job.read().overrides) != sorted(overrides):
            # Another command in the same folder gave that name to another run.
            distinct = f"{job.name}_{_digest(sorted(overrides))[:6]}"
            job = Job(self.path / distinct, job.overrides, settings)
        if not job.planned:
            job.write(Notes(tuple(overrides), settings))
        return job

    @contextlib.contextmanager
    def working_on(self, job: Job) -> Iterator[Lock]:
        """Yield the lock for work on a run: the folder's, or in a shared folder the run's own.

        The run's own is waited for: two searches may suggest the same settings at a time.
        """
        if not self.shared:
            yield self.lock
            return
        with _waited_for(_job_lock(job)) as lock:
            yield lock

    def turn(self) -> contextlib.AbstractContextManager[object]:
        """Return what is entered when no other command of a shared folder is in its turn."""
        return _waited_for(self.lock) if self.shared else contextlib.nullcontext()

    def is_abandoned(self, job: Job) -> bool:
        """Say whether no other process works on a run."""
        return not self.shared or _job_lock(job).is_free()

    def start(self, job: Job) -> tuple[str, ...]:
        """Note that a run begins, and return the overrides to begin it with.

        A run that has a last.ckpt resumes from it under its own configuration; whatever else an
        earlier attempt left behind is removed.
        """
        run = job.run
        attempts = (*job.read().attempts, datetime.now(UTC).isoformat(timespec="seconds"))
        job.note(status="running", reason="", attempts=attempts)
        if all(file.is_file() for file in (run.config, run.last, run.samples)):
            return (f"resume={for_hydra(str(job.folder))}",)
        for entry in job.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in (JOB, JOB_LOCK, LOG):
                entry.unlink()
        return job.overrides

    def end(self, job: Job, reason: str, seconds: float = 0.0, status: str = "failed") -> None:
        """Note how a run ended, and why if it is not finished."""
        total = round(job.read().seconds + seconds, 1)
        if job.finished:
            job.note(status="finished", reason="", seconds=total)
        else:
            why = one_line(reason) or "it ended without a result"
            job.note(status=status, reason=why, seconds=total)

    def best_first(self) -> list[Job]:
        """Return the finished runs, the best first."""
        return sorted(
            (job for job in self.jobs() if job.finished), key=lambda job: _rank(_row(job, ()))
        )

    def write_leaderboard(self) -> None:
        """Write a row for every run, finished ones first, the best of them at the top.

        The first columns are what was varied by any sweep of the folder.
        """
        jobs = self.jobs()
        settings = list({key: None for job in jobs for key in job.settings})
        rows = sorted((_row(job, settings) for job in jobs), key=_rank)
        metrics = sorted({key for row in rows for key in row if key.startswith("val/")})
        result = ["value", "monitor", BEST_EPOCH, "epochs"]
        columns = [*settings, "status", *result, *metrics, "initial_weights", "seconds"]
        text = io.StringIO()
        writer = csv.DictWriter(text, [*columns, "reason", "folder"], restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.leaderboard, text.getvalue())


@contextlib.contextmanager
def _waited_for(lock: Lock) -> Iterator[Lock]:
    lock.acquire(wait=True)
    try:
        yield lock
    finally:
        lock.release()


def varied(jobs: Sequence[Job]) -> list[str]:
    """Return the settings in which runs differ; of a single run, those it was named by."""
    every = list({key: None for job in jobs for key in job.settings})
    different = [key for key in every if len({setting_of(job, key) for job in jobs}) > 1]
    return different or every


def setting_of(job: Job, key: str) -> str:
    """Return what a run has for a setting, whether it was swept, given once or a default.

    A run that has not begun has no defaults yet: for these the text is empty.
    """
    given = {
        name.lstrip("+"): value for name, _, value in (o.partition("=") for o in job.overrides)
    }
    if (value := job.settings.get(key, given.get(key))) is not None:
        return value
    if not job.run.config.is_file():
        return ""
    chosen = job.run.read_record().get("choices", {})
    value = chosen[key] if key in chosen else flatten(job.run.read_config()).get(key, "")
    return "null" if value is None else str(value)


def _job_lock(job: Job) -> Lock:
    return Lock(job.folder / JOB_LOCK, f"{job.folder} is being worked on ({{holder}})")


def _read_job(folder: Path) -> Job:
    notes = Job(folder, (), {}).read()
    return Job(folder, notes.overrides, notes.settings)


def _row(job: Job, settings: Iterable[str]) -> dict[str, Any]:
    notes, record = job.read(), job.run.read_record()
    row: dict[str, Any] = {name: setting_of(job, name) for name in settings}
    row |= {"status": notes.status, "folder": job.name}
    row |= {"seconds": notes.seconds, "reason": notes.reason}
    row["initial_weights"] = record.get("weights") or ""
    if notes.status == "finished" and job.finished:
        metrics = {k: v for k, v in record["best"].items() if k.startswith("val/")}
        row |= {k: "" if v is None else v for k, v in metrics.items()}
        row |= {key: record[key] for key in ("monitor", "epochs")}
        row[BEST_EPOCH] = record["best_epoch"] + 1
        row["value"] = job.value
    return row


def _rank(row: Mapping[str, Any]) -> tuple[int, str, float, str]:
    """Return what rows are sorted by; values of different metrics are not compared."""
    from faceproof.evaluation.metrics import better  # not for a command that only needs a name

    place = STATUSES.index(row["status"])
    if "value" not in row:
        return place, "", 0.0, row["folder"]
    value = row["value"] if better(row["monitor"]) == "min" else -row["value"]
    return place, row["monitor"], value, row["folder"]
