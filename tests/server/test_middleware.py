"""Connections of a real server, places that are free again, and what is counted."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import numpy as np
import pytest
from PIL import ExifTags, Image

import faceproof
from faceproof.audit.file_statistics import statistics_of_file

pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")

from faceproof.server import middleware as guards
from faceproof.server.judging_queue import JudgingQueue
from faceproof.server.limits import Limits
from faceproof.server.metrics import Metrics
from faceproof.server.middleware import (
    CloseUnread,
    ConnectionLimit,
    Mounted,
    UploadGuard,
    respond,
)
from faceproof.server.protocol import CONNECTIONS
from faceproof.server.uploads import UploadReader
from tests.small_servers import listening

BARE = {"lifespan": "off", "log_level": "critical"}  # for applications that are one function
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


async def unread(scope, receive, send):
    """Answer without a look at the body."""
    await guards.respond(send, 413, b"too large", [])


async def read(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await guards.respond(send, 200, b"read", [])


def closed_after(connection):
    """Return what the other side says until it ends a connection."""
    said = b""
    connection.settimeout(20)
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(100_000):
            said += part
    return said


@contextlib.contextmanager
def dripping(connection):
    """Send a byte now and then."""
    ended = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            while not ended.wait(0.05):
                connection.sendall(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_the_rest_of_a_request_that_is_answered_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(guards, "LINGER", 0.3)
    with listening(CloseUnread(unread), Limits(), **BARE) as (port, _):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(HEAD % 100_000)
        start = time.monotonic()
        with dripping(connection):
            said = closed_after(connection)
        assert time.monotonic() - start < 120
    assert said.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in said.lower()


def test_who_still_sends_can_read_why_it_was_refused():
    """A connection that ended at once would take the answer with it."""
    with listening(CloseUnread(unread), Limits(), **BARE) as (port, _):
        for _ in range(5):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(HEAD % 8_000_000)
            for _ in range(80):
                connection.sendall(bytes(100_000))
            assert closed_after(connection).endswith(b"too large")


def test_a_connection_whose_request_was_read_is_used_again():
    with listening(CloseUnread(read), Limits(), **BARE) as (port, _):
        connection = socket.create_connection(("127.0.0.1", port), timeout=120)
        with connection:
            for _ in range(2):
                connection.sendall(HEAD % 3 + b"abc")
                said = b""
                while not said.endswith(b"read"):
                    said += connection.recv(1000)
                assert b"close" not in said.lower()


def test_only_so_many_connections_are_served():
    with listening(read, Limits(connections=2), **BARE) as (port, _):
        ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        time.sleep(0.2)
        third = socket.create_connection(("127.0.0.1", port))
        third.sendall(ask)
        assert closed_after(third).startswith(b"HTTP/1.1 503")
        idle[0].sendall(ask)
        assert closed_after(idle[0]).startswith(b"HTTP/1.1 200")
        fourth = socket.create_connection(("127.0.0.1", port))
        fourth.sendall(ask)
        assert closed_after(fourth).startswith(b"HTTP/1.1 200")
        idle[1].close()


def test_an_answer_that_nobody_reads_holds_no_place():
    queue = JudgingQueue(Limits(concurrency=1, queue=0))
    present = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        present.append((message["type"], queue.present))

    async def answer(scope, receive, send):
        present.append(("work", queue.present))
        await read(scope, receive, send)

    scope = {"type": "http", "path": guards.PREDICT, "headers": []}
    asyncio.run(UploadGuard(answer, queue, Metrics(queue, "a", "1f"))(scope, receive, send))
    queue.close()
    assert present == [("work", 1), ("http.response.start", 0), ("http.response.body", 0)]


def test_the_histogram_adds_up():
    queue = JudgingQueue(Limits(concurrency=2, queue=1))
    metrics = Metrics(queue, "a", "1f")
    for seconds in (0.001, 0.01, 0.02, 3.0, 100.0):
        metrics.add("answered", "page" if seconds > 1 else "api", seconds)
    with queue.place():
        lines = metrics.text().decode().splitlines()
    assert 'faceproof_request_seconds_bucket{le="0.01"} 2.0' in lines
    assert 'faceproof_request_seconds_bucket{le="0.025"} 3.0' in lines
    assert 'faceproof_request_seconds_bucket{le="5.0"} 4.0' in lines
    assert 'faceproof_request_seconds_bucket{le="+Inf"} 5.0' in lines
    assert "faceproof_request_seconds_count 5.0" in lines
    assert "faceproof_request_seconds_sum 103.031" in lines
    assert 'faceproof_requests_total{client="api",outcome="answered"} 3.0' in lines
    assert 'faceproof_requests_total{client="page",outcome="answered"} 2.0' in lines
    assert "faceproof_in_work 1.0" in lines
    assert "faceproof_places 3.0" in lines
    assert not any("_created" in line for line in lines)
    queue.close()


def said_by(app, path, method="GET", **more):
    """Return status, headers and body of what an application answers."""
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], **more}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def echo(scope, receive, send):
    await respond(send, 200, f"{scope['method']} {scope['path']}".encode(), [])


@pytest.mark.parametrize(
    ("root", "path", "seen"),
    [
        ("", "/docs", "/docs"),
        ("/detector", "/detector/docs", "/docs"),
        ("/detector", "/docs", "/docs"),  # the proxy takes the path away
        ("/api", "/api/api/predict", "/api/predict"),
        ("/detector", "/detectors", "/detectors"),
    ],
)
def test_a_server_answers_below_its_root_path(root, path, seen):
    assert said_by(Mounted(echo, root), path)[2] == f"GET {seen}".encode()


def test_links_are_right_without_the_last_slash_too():
    status, headers, _ = said_by(Mounted(echo, "/detector"), "/detector")
    assert (status, headers[b"location"]) == (308, b"/detector/")


def test_head_is_answered_wherever_get_is():
    assert said_by(Mounted(echo), "/health", "HEAD")[2] == b"GET /health"


def test_too_many_connections_are_told_so_as_every_error_is():
    state = {CONNECTIONS: {1, 2, 3}}
    assert said_by(ConnectionLimit(echo, 3), "/", state=state)[0] == 200
    status, headers, body = said_by(ConnectionLimit(echo, 2), "/", state=state)
    assert (status, headers[b"retry-after"]) == (503, b"1")
    assert json.loads(body) == {"error": "more than 2 connections are open; try again later"}


def test_what_images_are_like_is_counted_as_the_file_statistics_have_it(tmp_path):
    queue = JudgingQueue(Limits())
    metrics = Metrics(queue, "mine", "1f")
    noise = np.random.default_rng(0).normal(100, 30, (700, 300, 3)).clip(0, 255).astype(np.uint8)
    file, exif = tmp_path / "on its side.jpg", Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise).save(file, exif=exif)
    reader = UploadReader(Limits())
    reader.watch = metrics.add_image
    with file.open("rb") as opened:
        assert reader.read_image(opened, time.monotonic() + 60).shape == (3, 300, 700)
    lines = metrics.text().decode().splitlines()
    queue.close()
    expected = statistics_of_file(str(file))
    sums = {
        "width": 300, "height": 700, "sharpness": expected["sharpness"],
        "brightness": np.mean(expected["colour"][:3]), "contrast": np.mean(expected["colour"][3:]),
    }  # fmt: skip
    for name, value in sums.items():
        assert f"faceproof_image_{name}_count 1.0" in lines
        (line,) = (one for one in lines if one.startswith(f"faceproof_image_{name}_sum "))
        assert float(line.split()[1]) == pytest.approx(value), name
    assert 'faceproof_image_width_bucket{le="256.0"} 0.0' in lines
    assert 'faceproof_image_width_bucket{le="512.0"} 1.0' in lines


def test_verdicts_visits_and_the_detector_are_counted():
    queue = JudgingQueue(Limits())
    metrics = Metrics(queue, "mine", "1f")
    metrics.add_verdict("fake", "image", 0.85, 1.1, 10_000)
    metrics.add_verdict("unsure", "video")
    metrics.visits.inc()
    lines = metrics.text().decode().splitlines()
    queue.close()
    assert 'faceproof_verdicts_total{kind="image",verdict="fake"} 1.0' in lines
    assert 'faceproof_verdicts_total{kind="video",verdict="unsure"} 1.0' in lines
    assert 'faceproof_probability_bucket{kind="image",le="0.8"} 0.0' in lines
    assert 'faceproof_probability_bucket{kind="image",le="0.9"} 1.0' in lines
    assert 'faceproof_novelty_bucket{kind="image",le="1.25"} 1.0' in lines
    assert 'faceproof_file_bytes_bucket{kind="image",le="4000.0"} 0.0' in lines
    assert 'faceproof_file_bytes_bucket{kind="image",le="16000.0"} 1.0' in lines
    assert "faceproof_page_visits_total 1.0" in lines
    about = f'faceproof="{faceproof.__version__}",fingerprint="1f",name="mine"'
    assert f"faceproof_detector_info{{{about}}} 1.0" in lines
