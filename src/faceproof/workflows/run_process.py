"""Run a command in a process of its own, and say in one line why it failed."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from faceproof.io.locks import Lock

MAX_REASON = 300  # characters
POLL = 1.0  # seconds between two looks at a process that is watched
PATIENCE = 10  # seconds in which a process that is told to end may do so


# Of a run and of the processes that it starts: no file in the working folder, such as select.py,
# takes the place of a library's.
OF_A_RUN = {"PYTHONUNBUFFERED": "1", "HYDRA_FULL_ERROR": "1", "PYTHONSAFEPATH": "1"}


def run_process(
    command: Sequence[str], log: Path, lock: Lock, watch: Callable[[], str] | None = None
) -> str:
    """Run a command to its end, and return why it failed, or an empty text.

    The process holds the lock too while it lives. Every second `watch` says why it is to be
    stopped, or returns an empty text.
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
            pass_fds=lock.inherited(),
            env=os.environ | OF_A_RUN,
        )
        host = socket.gethostname()
        lock.write_holder(f"sweep {os.getpid()} and its run {process.pid} on {host}")
        try:
            stopped = _wait(process, watch)
        except BaseException:  # the sweep is told to end, and so is its run
            _stop(process)
            raise
    if stopped:
        return stopped
    with log.open("rb") as written:
        written.seek(begin)
        return failure_reason(process.returncode, written.read().decode(errors="replace"))


def _wait(process: subprocess.Popen[bytes], watch: Callable[[], str] | None) -> str:
    while True:
        try:
            process.wait(None if watch is None else POLL)
            return ""
        except subprocess.TimeoutExpired:
            if watch is not None and (reason := watch()):
                _stop(process)
                return reason


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def failure_reason(code: int, output: str) -> str:
    """Return why a process failed, in one line; an empty text if it did not.

    A negative exit code is the signal that killed it.
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
