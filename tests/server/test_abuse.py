"""A real server against requests that no honest client sends; benchmarks.abuse at length."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from benchmarks import abuse
from faceproof.artifact.export import export_run
from tests.small_runs import write_run

pytest.importorskip("gradio", reason="the page takes faceproof[serve]")
pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")

from faceproof.server.limits import Limits
from tests.small_servers import listening

BARE = {"lifespan": "off", "log_level": "critical"}  # for applications that are one function


def test_a_server_survives_abuse(tmp_path):
    export_run(write_run(tmp_path / "run", gain=40.0), tmp_path / "artifact")
    found = abuse.check(tmp_path / "artifact", 150)
    assert found["faults"] == []
    assert found["answers"]["200"] > 0
    assert found["answers"]["404"] > 0
    assert {"200", "500"} & set(found["answers"]) == {"200"}


async def large(scope, receive, send):
    """Answer with so much that it does not fit into what the system holds back."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(100):
        await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def small(scope, receive, send):
    await asyncio.sleep(0.6)  # longer than a head may take: the clock must stand still
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def closed_after(connection):
    """Return what the other side says until it ends a connection."""
    said = b""
    connection.settimeout(20)
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(100_000):
            said += part
    return said


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_request_that_never_comes_is_not_waited_for(sent):
    with listening(small, Limits(timeout=0.3), **BARE) as (port, _):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(sent)
        assert closed_after(connection) == b""


def test_nor_is_the_rest_of_one_that_is_answered():
    with listening(small, Limits(timeout=0.3), **BARE) as (port, _):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        ended = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    connection.sendall(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        said = closed_after(connection)
        ended.set()
        thread.join()
    assert said.startswith(b"HTTP/1.1 204")


def test_a_client_that_does_not_read_is_given_up():
    with listening(large, Limits(timeout=0.3), **BARE) as (port, server):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        deadline = time.monotonic() + 20
        while not server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.server_state.connections
        while server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not server.server_state.connections
        connection.close()


async def at_once(scope, receive, send):
    """Answer with as much, in one piece."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(60_000_000)})


def test_a_client_that_reads_slowly_gets_all():
    with listening(at_once, Limits(timeout=1.5), **BARE) as (port, _):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        start, arrived = time.monotonic(), 0
        with connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while part := connection.recv(1_000_000):
                arrived += len(part)
                time.sleep(len(part) / 15_000_000)
        assert time.monotonic() - start > 3
    assert arrived > 60_000_000


def test_only_so_many_connections_are_open():
    with listening(small, Limits(timeout=60, connections=2), **BARE) as (port, _):
        kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        time.sleep(0.2)
        third = socket.create_connection(("127.0.0.1", port))
        said = closed_after(third)
        assert said.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 2" in said
        kept[0].sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert closed_after(kept[0]).startswith(b"HTTP/1.1 204")
        fourth = socket.create_connection(("127.0.0.1", port))
        fourth.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert closed_after(fourth).startswith(b"HTTP/1.1 204")
        kept[1].close()
