"""Several processes behind one port: who answers, what they count, and how they end."""

import contextlib
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from faceproof.cli.main import main
from tests.conftest import write_images
from tests.small_runs import write_artifact

pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")

from tests.small_servers import started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

TOKEN = "a-token-of-the-tests"
OPTIONS = ["--workers", "2", "--max-pixels", "1e6", "--queue", "60", "--concurrency", "4"]
WAITING = 180  # seconds for a worker to come up on a busy machine


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    return write_artifact(folder)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    (path,) = write_images(tmp_path_factory.mktemp("images"), ["a.jpg"], face=True)
    return path.read_bytes()


@contextlib.contextmanager
def two_workers(detector, folder, *more):
    """Start a server of two workers, and wait for both; yield its address, number and log."""
    with started(detector, folder, [*OPTIONS, *more]) as (port, pid):
        wait_for(lambda: len(ready(folder)) >= 2)
        yield f"http://127.0.0.1:{port}", pid


def ready(folder):
    """The numbers of the workers that have said that they answer, in their order."""
    words = [line.split() for line in (folder / "log").read_text().splitlines()]
    return [int(one[2]) for one in words if one[:2] == ["faceproof:", "worker"]]


def wait_for(what):
    end = time.monotonic() + WAITING
    while not what():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.1)


def is_there(pid):
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def counted(folder, pid):
    """How many requests a worker has answered, by the file that it counts in."""
    from prometheus_client.multiprocess import MultiProcessCollector

    (file,) = (folder / "temporary").glob(f"faceproof-metrics-*/counter_{pid}.db")
    metrics = MultiProcessCollector.merge([str(file)])
    return sum(
        sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name == "faceproof_requests_total"
    )


def figure(address, name):
    """One figure of /metrics."""
    lines = httpx.get(f"{address}/metrics", timeout=60).text.splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(found.split()[-1])


def send(address, image):
    """Send an image by a connection of its own."""
    return httpx.post(f"{address}/api/predict", files={"file": ("a", image)}, timeout=60)


REQUESTS = 'faceproof_requests_total{client="api",outcome="answered"}'


def test_both_workers_answer_are_counted_as_one_and_a_dead_one_is_started_again(
    detector, image, tmp_path
):
    with two_workers(detector, tmp_path, "--batch-wait-ms", "5") as (address, pid):
        first, second = ready(tmp_path)
        sent = 0
        with ThreadPoolExecutor(8) as pool:
            while not (counted(tmp_path, first) and counted(tmp_path, second)):
                answers = list(pool.map(lambda _: send(address, image), range(16)))
                assert {one.status_code for one in answers} == {200}
                assert len({one.json()["verdict"] for one in answers}) == 1
                sent += len(answers)
                assert sent < 1000, "one worker has taken all"
        assert counted(tmp_path, first) + counted(tmp_path, second) == sent
        for _ in range(4):  # whichever is asked
            assert figure(address, REQUESTS) == sent
        assert figure(address, "faceproof_places") == 64
        assert figure(address, "faceproof_in_work") == 0
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(ready(tmp_path)) == 3)
        assert send(address, image).status_code == 200
        assert figure(address, REQUESTS) == sent + 1  # those of the dead one too
        assert figure(address, "faceproof_places") == 64
        assert is_there(pid)
        workers = ready(tmp_path)
    assert not any(map(is_there, (pid, *workers)))
    assert not list((tmp_path / "temporary").glob("faceproof-metrics-*"))


def test_a_session_is_known_to_all_workers_and_none_outlives_a_killed_parent(
    detector, tmp_path, monkeypatch
):
    monkeypatch.setenv("FACEPROOF_TOKEN", TOKEN)
    with two_workers(detector, tmp_path) as (address, pid):
        answer = httpx.post(f"{address}/login", data={"token": TOKEN}, timeout=60)
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"].partition(";")[0]
        for _ in range(30):  # by connections of their own
            page = httpx.get(f"{address}/api/card", headers={"Cookie": cookie}, timeout=60)
            assert page.status_code == 200
        workers = ready(tmp_path)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_there, workers)))


def test_a_detector_that_cannot_be_loaded_is_told_in_one_line(tmp_path, capsys):
    words = ["serve", str(tmp_path), "--port", "0", "--workers", "2", "--max-pixels", "1e6"]
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if "no detector artifact" in line]) == 1
