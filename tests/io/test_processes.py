"""Processes that share out work: in order, without the caller's script, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.io.processes import in_processes

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
