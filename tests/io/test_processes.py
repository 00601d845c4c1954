"""Processes that share out work: in order, without the caller's script, and never left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faceproof.errors import FaceproofError
from faceproof.io.processes import in_processes, reports_of_deaths_wait

SCRIPT = """
import sys
from faceproof.io.processes import in_processes
from tests.io.test_processes import tell, wait

print("script", flush=True)  # once: processes do not import it
for number in in_processes(wait if sys.argv[1:] else tell, range(40), "tests"):
    print(number, flush=True)
"""


def tell(part: int) -> str:
    """Say the part and the process."""
    return f"{part} {os.getpid()}"


def wait(part: int) -> str:
    """Do the same after a while."""
    time.sleep(0.05)
    return tell(part)


def die(part: int) -> int:
    """End the process, as the kernel does for want of memory."""
    if part == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def test_results_come_in_order_from_other_processes_and_a_script_needs_no_guard(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    first, *lines = done.stdout.split("\n")[:-1]
    assert first == "script"
    assert [int(line.split()[0]) for line in lines] == list(range(40))
    assert done.stderr == ""


def test_they_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script, "slowly"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as running:  # fmt: skip
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(4)]
        running.kill()
    workers = {int(line.split()[1]) for line in lines[1:]}
    assert running.pid not in workers
    deadline = time.monotonic() + 60
    while any(map(_is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_process_that_dies_is_told_in_a_sentence() -> None:
    with pytest.raises(FaceproofError, match="a process that looks at files has died"):
        list(in_processes(die, range(8), "looks at files"))


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def deaths() -> Iterator[list[str]]:
    """What a handler of dead processes has been told; it raises, as torch's does."""
    told: list[str] = []

    def tell_and_raise(number: int, frame: object) -> None:
        told.append("died")
        raise RuntimeError("a process died")

    before = signal.signal(signal.SIGCHLD, tell_and_raise)
    yield told
    assert signal.getsignal(signal.SIGCHLD) is tell_and_raise
    signal.signal(signal.SIGCHLD, before)


def hold(done: list[str], error: Exception | None = None) -> None:
    with reports_of_deaths_wait():
        signal.raise_signal(signal.SIGCHLD)
        done.append("written")
        if error is not None:
            raise error


def test_a_report_of_a_death_waits_for_the_end_of_a_block(deaths: list[str]) -> None:
    done: list[str] = []
    with pytest.raises(RuntimeError, match="a process died"):
        hold(done)
    assert done == ["written"]
    assert deaths == ["died"]


def test_of_a_block_that_fails_its_own_error_is_told(deaths: list[str]) -> None:
    with pytest.raises(OSError, match="no room"):
        hold([], OSError("no room"))
    assert not deaths


def test_other_threads_write_as_they_are(deaths: list[str]) -> None:
    found: list[Any] = []

    def write() -> None:
        with reports_of_deaths_wait():
            found.append(signal.getsignal(signal.SIGCHLD))

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGCHLD)]
    assert not deaths
