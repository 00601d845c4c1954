"""Slow clients of a real server: each is let go."""

import socket
import time

import pytest

pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")

from faceproof.server import middleware as guards
from faceproof.server import protocol
from faceproof.server.judging_queue import JudgingQueue
from faceproof.server.limits import Limits
from faceproof.server.metrics import Metrics
from faceproof.server.middleware import CloseUnread, UploadGuard
from tests.server.test_middleware import BARE, closed_after, dripping, read
from tests.small_servers import listening

SHORT = 0.5  # seconds
PATIENCE = 15  # far more than the server may take, on a machine that has much else to do


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", SHORT)
    monkeypatch.setattr(protocol, "READ_SECONDS", SHORT)


def opened(port):
    return socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_head_that_does_not_arrive_is_not_waited_for(sent):
    with listening(read, Limits(), **BARE) as (port, server):
        connection = opened(port)
        connection.sendall(sent)
        began = time.monotonic()
        assert closed_after(connection) == b""
        assert SHORT * 0.5 < time.monotonic() - began < PATIENCE
        assert not server.server_state.connections


def test_a_head_that_drips_is_not_waited_for():
    with listening(read, Limits(), **BARE) as (port, _):
        connection = opened(port)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        with dripping(connection):
            began = time.monotonic()
            assert closed_after(connection) == b""
        assert time.monotonic() - began < PATIENCE


def test_the_second_head_on_a_connection_is_bounded_too():
    with listening(read, Limits(), **BARE) as (port, _):
        connection = opened(port)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not connection.recv(1000).endswith(b"read"):
            pass
        connection.sendall(b"GET / HT")
        with dripping(connection):
            began = time.monotonic()
            assert closed_after(connection) == b""
        assert time.monotonic() - began < PATIENCE


def test_a_request_that_takes_long_to_answer_is_not_ended():
    async def slow(scope, receive, send):
        import asyncio

        await asyncio.sleep(4 * SHORT)
        await guards.respond(send, 200, b"late", [])

    with listening(slow, Limits(), **BARE) as (port, _):
        connection = opened(port)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert closed_after(connection).endswith(b"late")


def test_an_answer_that_nobody_reads_is_given_up():
    async def long(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(500):
            await send({"type": "http.response.body", "body": bytes(10**6), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    with listening(long, Limits(), **BARE) as (port, server):
        connection = opened(port)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.recv(10)
        deadline = time.monotonic() + PATIENCE
        while server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not server.server_state.connections
        connection.close()


@pytest.mark.parametrize("drip", [False, True])
def test_an_upload_that_does_not_arrive_is_answered_and_let_go(monkeypatch, drip):
    monkeypatch.setattr(guards, "LINGER", SHORT)
    queue = JudgingQueue(Limits(timeout=SHORT))
    app = CloseUnread(UploadGuard(read, queue, Metrics(queue, "a", "1f")))
    with listening(app, queue.limits, **BARE) as (port, _):
        connection = opened(port)
        head = b"POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        connection.sendall(head + b"some of it")
        began = time.monotonic()
        if drip:
            with dripping(connection):
                said = closed_after(connection)
        else:
            said = closed_after(connection)
        assert time.monotonic() - began < PATIENCE
    assert said.startswith(b"HTTP/1.1 408")
    queue.close()
