import os
import sys

import pytest

from faceproof.io.locks import Lock
from faceproof.workflows.run_process import failure_reason, run_process


@pytest.fixture
def lock(tmp_path):
    with Lock(tmp_path / "lock", "busy") as held:
        yield held


@pytest.mark.parametrize(
    ("code", "output", "reason"),
    [
        (0, "Traceback (most recent call last):\nValueError: x", ""),
        (-9, "", "the process was killed by SIGKILL (out of memory?)"),
        (-11, "", "the process was killed by SIGSEGV"),
        (1, "INFO: a\nerror: no such folder:\n  more of it\n", "no such folder: more of it"),
        (
            1,
            'Traceback (most recent call last):\n  File "a"\nValueError: first\n\nDuring\n\n'
            'Traceback (most recent call last):\n  File "b"\n    f(x)\n      ^^^\n'
            "torch.OutOfMemoryError: CUDA out of memory.\nsecond line\n",
            "torch.OutOfMemoryError: CUDA out of memory. second line",
        ),
        (3, "last words\n\n", "last words"),
        (3, "", "the process ended with code 3"),
    ],
)
def test_the_reason_of_a_failure_in_one_line(code, output, reason):
    assert failure_reason(code, output) == reason


def test_a_process_that_fails_leaves_its_output_and_its_reason(tmp_path, lock):
    log = tmp_path / "log"
    assert run_process([sys.executable, "-c", "print('fine')"], log, lock) == ""
    code = "import os, sys; print('here', flush=True); os.kill(os.getpid(), 9)"
    assert "SIGKILL" in run_process([sys.executable, "-c", code], log, lock)
    assert "fine" in log.read_text()
    assert "here" in log.read_text()


def test_a_process_holds_the_lock_too_and_is_named(tmp_path, lock):
    look = (
        "import sys; from pathlib import Path; from faceproof.io.locks import Lock\n"
        "lock = Lock(Path(sys.argv[1]), 'busy'); print(lock.is_free(), lock.holder())"
    )
    log = tmp_path / "log"
    assert run_process([sys.executable, "-c", look, str(lock.path)], log, lock) == ""
    assert f"False sweep {os.getpid()} and its run " in log.read_text()


def test_a_watched_process_is_stopped_softly_and_says_why(tmp_path, lock, monkeypatch):
    monkeypatch.setattr("faceproof.workflows.run_process.POLL", 0.05)
    soft = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('soft', flush=True)))\n"
        "print('began', flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    reason = run_process(
        [sys.executable, "-c", soft], log, lock,
        lambda: "it is bad" if "\nbegan" in log.read_text() else "",
    )  # fmt: skip
    assert reason == "it is bad"
    assert "\nsoft" in log.read_text()
