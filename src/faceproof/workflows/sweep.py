"""A sweep: many runs below one folder, of which each may fail alone and none is done twice.

What has become of a run is read from its folder, so that a sweep can be gone on with whatever ended
it. Nothing here knows Hydra or torch.

    multirun/NAME/            a function of the command
      leaderboard.csv         a row a run, best first
      sweep.lock              held while a sweep or a run of it is alive
      model-face_cnn+seed-0/  a run folder, and besides
        job.json              its overrides, status, reason of failure, attempts
        output.log            what it printed
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from faceproof.errors import FaceproofError
from faceproof.evaluation.monitor import better
from faceproof.io.run_folder import RunFolder, write_text

JOB = "job.json"
LOG = "output.log"
STATUSES = ("finished", "running", "interrupted", "failed", "waiting")
MAX_NAME = 80  # characters of a folder's name; file systems bear 255 bytes
MAX_SWEEP_NAME = 60
MAX_REASON = 300


def run_name(settings: Mapping[str, str]) -> str:
    """Return a run's folder, readable and without what a shell or Hydra would take for its own.

    The order of the settings does not matter. What a name cannot show in full is told apart by a
    hash behind it.

    >>> run_name({"optimizer.lr": "0.001", "model": "resnet18"})
    'model-resnet18+lr-0.001'
    """
    settings = dict(sorted(settings.items()))
    shown = "+".join(_slug(key, value) for key, value in settings.items())
    short = {_last_part(key) for key in settings}
    exact = all(_shown(value) == value for value in settings.values())
    if exact and len(short) == len(settings) and len(shown) <= MAX_NAME:
        return shown
    text = [f"{key}={value}" for key, value in settings.items()]
    return f"{shown[:MAX_NAME].rstrip('+-.')}_{_digest(text)[:6]}"


def sweep_name(overrides: Iterable[str]) -> str:
    """Return a sweep's folder: the same for the same overrides in whatever order.

    What is done when all runs are (compare=true) makes no other sweep. What varies is named first,
    then the rest while there is room; a hash stands for everything.

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
class Job:
    """A run of a sweep, done or to be done.

    Args:
        folder: the run folder.
        overrides: the words of the command line that make it.
        settings: those of them by which the sweep's runs differ.
    """

    folder: Path
    overrides: tuple[str, ...]
    settings: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.folder.name

    @property
    def run(self) -> RunFolder:
        """Return the run folder's paths."""
        return RunFolder(self.folder)

    def read(self) -> dict[str, Any]:
        """Return the notes on it; none before it is planned."""
        file = self.folder / JOB
        return json.loads(file.read_text()) if file.is_file() else {}

    def note(self, **facts: Any) -> None:
        """Add to the notes on it."""
        write_text(self.folder / JOB, json.dumps(self.read() | facts, indent=2) + "\n")

    @property
    def finished(self) -> bool:
        """Say whether training has ended and its threshold is fitted."""
        record = self.run.read_record()
        return record.get("status") == "finished" and self.run.operating_point.is_file()

    @property
    def value(self) -> float | None:
        """Return the best value of the monitored figure, of a finished run."""
        record = self.run.read_record()
        return float(record["best"][record["monitor"]]) if self.finished else None


class Sweep:
    """The runs of one sweep folder, locked against other sweeps while it is entered.

    Args:
        folder: the sweep folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.leaderboard = self.folder / "leaderboard.csv"
        self.lock = Lock(self.folder / "sweep.lock")

    def __enter__(self) -> Self:
        """Lock the folder; what was running when an earlier sweep ended was interrupted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock.acquire()
        for job in self.jobs():
            if job.read()["status"] == "running":
                job.note(status="finished" if job.finished else "interrupted")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the folder go."""
        self.lock.release()

    def jobs(self) -> list[Job]:
        """Return every run that was ever planned in the folder."""
        return [_read_job(file.parent) for file in sorted(self.folder.glob(f"*/{JOB}"))]

    def plan(self, overrides: Sequence[str], swept: Sequence[str]) -> Job:
        """Return the run of these overrides, with its folder, as it is or as it will be.

        Args:
            overrides: the words of the command line that make it.
            swept: the keys by which the sweep's runs differ.
        """
        pairs = {key: value for key, _, value in (word.partition("=") for word in overrides)}
        settings = {key: value for key, value in pairs.items() if key in swept} or pairs
        job = Job(self.folder / run_name(settings), tuple(overrides), settings)
        known = job.read()
        if known and sorted(known["overrides"]) != sorted(overrides):
            # Another command in the same folder gave that name to another run.
            distinct = f"{job.name}_{_digest(sorted(overrides))[:6]}"
            job = Job(self.folder / distinct, job.overrides, settings)
            known = job.read()
        job.folder.mkdir(exist_ok=True)
        if not known:
            facts = {"overrides": job.overrides, "settings": settings, "reason": ""}
            job.note(status="waiting", attempts=[], seconds=0.0, **facts)
        return job

    def start(self, job: Job) -> tuple[str, ...]:
        """Note that a run begins, and return the overrides to begin it with.

        A run that has a last.ckpt goes on from there under its own configuration; whatever else
        an earlier attempt has left is removed.
        """
        run = job.run
        attempts = [*job.read()["attempts"], datetime.now(UTC).isoformat(timespec="seconds")]
        job.note(status="running", reason="", attempts=attempts)
        if all(file.is_file() for file in (run.config, run.last, run.samples)):
            return (f"resume={quoted(job.folder)}",)
        for entry in job.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in (JOB, LOG):
                entry.unlink()
        return job.overrides

    def end(self, job: Job, reason: str, seconds: float = 0.0) -> bool:
        """Note how a run has ended, and say whether it is finished.

        Args:
            job: the run.
            reason: why it failed, if it did.
            seconds: how long this attempt took.
        """
        total = round(job.read()["seconds"] + seconds, 1)
        if job.finished:
            job.note(status="finished", reason="", seconds=total)
        else:
            why = one_line(reason) or "it ended without a result"
            job.note(status="failed", reason=why, seconds=total)
        return job.finished

    def best(self) -> Job | None:
        """Return the best of the finished runs."""
        finished = [job for job in self.jobs() if job.finished]
        return min(finished, key=lambda job: _rank(_row(job)), default=None)

    def write_leaderboard(self) -> None:
        """Write a row for every run, finished ones first, the best of them at the top."""
        jobs = self.jobs()
        rows = sorted(map(_row, jobs), key=_rank)
        settings = {key: None for job in jobs for key in job.settings}
        figures = sorted({key for row in rows for key in row if key.startswith("val/")})
        columns = ["status", "folder", *settings, "monitor", "value", "best_epoch", "epochs"]
        text = io.StringIO()
        writer = csv.DictWriter(text, [*columns, *figures, "seconds", "reason"], restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.leaderboard, text.getvalue())


def _read_job(folder: Path) -> Job:
    notes = json.loads((folder / JOB).read_text())
    return Job(folder, tuple(notes["overrides"]), notes["settings"])


def _row(job: Job) -> dict[str, Any]:
    """Return a run's row of the leaderboard."""
    notes, record = job.read(), job.run.read_record()
    row = dict(job.settings) | {
        "status": notes["status"],
        "folder": job.name,
        "seconds": notes["seconds"],
        "reason": notes["reason"],
    }
    if notes["status"] == "finished" and job.finished:
        figures = {k: v for k, v in record["best"].items() if k.startswith("val/")}
        row |= {k: "" if v is None else v for k, v in figures.items()}
        row |= {key: record[key] for key in ("monitor", "best_epoch", "epochs")}
        row["value"] = job.value
    return row


def _rank(row: Mapping[str, Any]) -> tuple[int, str, float, str]:
    """Return what rows are sorted by; figures of different kinds are not compared."""
    place = STATUSES.index(row["status"])
    if "value" not in row:
        return place, "", 0.0, row["folder"]
    value = row["value"] if better(row["monitor"]) == "min" else -row["value"]
    return place, row["monitor"], value, row["folder"]


class Lock:
    """A lock on a file that the system lets go when the last process that holds it has ended.

    Runs inherit it, so that a sweep cannot begin beside a run that outlived its own sweep.

    Args:
        path: the file; it stays, and names who has or had the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            FaceproofError: another process has it.
        """
        import fcntl  # not on Windows, where the rest of this module can still be imported

        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise FaceproofError(
                f"a sweep is at work in {self.path.parent} already ({holder}); wait for it, stop "
                "it, or choose another folder by hydra.sweep.dir"
            ) from None
        self._file = file
        self.note(f"sweep {os.getpid()} on {socket.gethostname()}")

    def note(self, holder: str) -> None:
        """Write down who has the lock."""
        assert self._file is not None
        self._file.truncate(0)
        self._file.write(holder + "\n")
        self._file.flush()

    def fileno(self) -> int:
        """Return the descriptor that a process must inherit to hold the lock too."""
        assert self._file is not None
        return self._file.fileno()

    def release(self) -> None:
        """Let go; a process that inherited the lock still has it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def run_process(command: Sequence[str], log: Path, lock: Lock) -> str:
    """Run a command to its end, and return why it failed, or nothing.

    Args:
        command: what to run.
        log: where its output is appended.
        lock: what it holds while it lives.
    """
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(command)}\n".encode())
        output.flush()
        begin = output.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock.fileno()],
            env=os.environ | {"PYTHONUNBUFFERED": "1", "HYDRA_FULL_ERROR": "1"},
        )
        lock.note(f"sweep {os.getpid()} and its run {process.pid} on {socket.gethostname()}")
        try:
            code = process.wait()
        except BaseException:  # the sweep is told to end: so is its run
            _stop(process)
            raise
    with log.open("rb") as written:
        written.seek(begin)
        return failure_reason(code, written.read().decode(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, softly if it lets us."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def failure_reason(code: int, output: str) -> str:
    """Return why a process failed, in one line; nothing if it did not.

    Args:
        code: its exit code; negative for the signal that killed it.
        output: what it printed.
    """
    if code == 0:
        return ""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the process was killed by {name}{hint}"
    lines = [line for line in output.splitlines() if line.strip()]
    traces = [n for n, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    if traces:
        ends = (n for n, line in enumerate(lines) if n > traces[-1] and not line[0].isspace())
        return one_line("\n".join(lines[next(ends, -1) :]))
    if errors := [n for n, line in enumerate(lines) if line.startswith("error: ")]:
        return one_line("\n".join(lines[errors[-1] :]).removeprefix("error: "))
    return one_line(lines[-1]) if lines else f"the process ended with code {code}"


def one_line(text: str) -> str:
    """Return a text in one line, cut if it is very long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 3] + "..."


def quoted(path: Path) -> str:
    """Return a path as Hydra's grammar for overrides wants it."""
    text = str(path)
    if re.fullmatch(r"[\w./+-]+", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def __call__(self) -> float:
        """Return the seconds."""
        return time.monotonic() - self._begin
