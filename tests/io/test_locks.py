"""Locks between real processes."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys

import pytest

from faceproof.errors import FaceproofError
from faceproof.io.locks import NO_LOCKS, Lock

HOLD = """
import os, signal, subprocess, sys
from pathlib import Path
from faceproof.io.locks import Lock

with Lock(Path(sys.argv[1]), "busy") as lock:
    if sys.argv[2] == "fork":  # as a loading worker begins
        child = 0 if os.fork() else os.getpid()  # only a child that runs has let the lock go
    else:
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(sleep, pass_fds=lock.inherited()).pid
    if child:
        print(child, flush=True)
    signal.pause()
"""


@pytest.fixture
def hold(tmp_path):
    """Return what starts a process that holds a lock and has a child, and returns both."""
    ids = []

    def start(kind):
        command = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with process.stdout:
            child = int(process.stdout.readline())
        ids.extend([process, child])
        return process, child

    yield start
    for one in ids:
        if isinstance(one, int):
            os.kill(one, signal.SIGKILL)
        else:
            one.kill()
            one.wait()


def test_another_process_is_named_and_a_dead_one_holds_nothing(hold, tmp_path):
    process, _ = hold("fork")  # the child lives on
    lock = Lock(tmp_path / "lock", "busy: {holder}; wait")
    assert not lock.is_free()
    with pytest.raises(FaceproofError, match=rf"^busy: process {process.pid} on .*; wait$"):
        lock.acquire()
    process.kill()
    process.wait()
    assert lock.is_free()
    with lock:
        assert lock.holder().startswith(f"process {os.getpid()} on ")


def test_a_child_that_was_given_the_lock_holds_it_when_its_parent_dies(hold, tmp_path):
    process, child = hold("give")
    process.kill()
    process.wait()
    lock = Lock(tmp_path / "lock", "busy")
    assert not lock.is_free()
    os.kill(child, signal.SIGKILL)
    lock.acquire(wait=True)
    lock.release()


def test_two_locks_of_one_process_exclude_each_other(tmp_path):
    one, other = (Lock(tmp_path / "lock", "busy") for _ in range(2))
    with one:
        assert not other.is_free()
        with pytest.raises(FaceproofError, match="busy"), other:
            pass
    with other:
        pass


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog, number):
    def refuse(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), Lock(tmp_path / "a" / "lock", "busy") as lock:
        assert f"a cannot be locked ({os.strerror(number)})" in caplog.text
        assert lock.inherited() == ()
        assert lock.is_free()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_explained(tmp_path, monkeypatch, number):
    opened = os.open

    def refuse(path, *more, **options):
        if str(path).endswith("lock"):
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FaceproofError, match="lock could not be written"):
        Lock(tmp_path / "lock", "busy").acquire()


def test_a_link_is_refused_and_what_it_points_to_stays(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / "lock").symlink_to(mine)
    with pytest.raises(FaceproofError, match="is a link"):
        Lock(tmp_path / "lock", "busy").acquire()
    assert mine.read_text() == "mine"


def test_where_a_locked_file_cannot_be_read_the_refusal_still_stands(tmp_path, monkeypatch):
    """As on Windows."""

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with Lock(tmp_path / "lock", "busy"):
        monkeypatch.setattr("pathlib.Path.read_text", denied)
        with pytest.raises(FaceproofError, match="held by which has just begun"):
            Lock(tmp_path / "lock", "held by {holder}").acquire()


def test_windows_passes_no_file_descriptor_on(tmp_path, monkeypatch):
    with Lock(tmp_path / "lock", "busy") as lock:
        assert len(lock.inherited()) == 1
        monkeypatch.setattr("faceproof.io.locks.os.name", "nt")
        assert lock.inherited() == ()
        monkeypatch.undo()


def test_a_holder_is_written_without_what_windows_lacks(tmp_path, monkeypatch):
    monkeypatch.delattr("os.pwrite")
    with Lock(tmp_path / "lock", "busy") as lock:
        lock.write_holder("a much longer name than the next one")
        lock.write_holder("me")
        assert lock.holder() == "me"
