"""A process that is forked while another thread talks to an object store can talk to it too."""

import multiprocessing
import os
import threading
import time
from pathlib import Path

from faceproof.data.shards.fork_gate import ForkGate
from faceproof.data.shards.store import ObjectStore
from tests.small_shards import wait_for


def fetch(root: str, file: Path) -> None:
    for _ in range(2):
        ObjectStore(root).fetch("x", file)


def test_forked_processes_fetch_while_a_thread_does(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content := os.urandom(300_000))
    ObjectStore(bucket + "/set").put(tmp_path / "x")
    stopped = threading.Event()

    def busy() -> None:
        while not stopped.is_set():
            ObjectStore(bucket + "/set").fetch("x", tmp_path / "busy")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        forked = multiprocessing.get_context("fork")
        for number in range(10):
            file = tmp_path / str(number)
            child = forked.Process(target=fetch, args=(f"{bucket}/set", file))
            child.start()
            child.join(300)
            assert child.exitcode == 0, "it hangs" if child.is_alive() else "it failed"
            assert file.read_bytes() == content
    finally:
        stopped.set()
        thread.join()
        for child in multiprocessing.active_children():
            child.kill()


def test_a_fork_waits_for_requests_and_later_requests_for_the_fork() -> None:
    gate, order = ForkGate(), []
    begun, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with gate.request():
            begun.set()
            may_end.wait()
            order.append("request")

    def fork() -> None:
        gate._before()
        order.append("fork")
        time.sleep(0.05)
        gate._after()

    def second() -> None:
        with gate.request():
            order.append("later request")

    threads = [threading.Thread(target=one) for one in (first, fork, second)]
    threads[0].start()
    begun.wait()
    threads[1].start()
    wait_for(lambda: gate._num_forks == 1)
    threads[2].start()
    may_end.set()
    for thread in threads:
        thread.join(300)
    assert order == ["request", "fork", "later request"]
