"""What `faceproof serve` refuses before it starts, and how it tells the server what to do."""

import asyncio
import socket
import sys

import pytest

from faceproof.cli.main import main
from faceproof.errors import FaceproofError
from faceproof.server.limits import Limits
from faceproof.workflows.export import export_run
from faceproof.workflows.serve import ServeConfig, _bind, serve
from tests.small_runs import write_run

uvicorn = pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "markdown_it", "prometheus_client"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["serve", str(tmp_path)]) == 2
    assert "pip install 'faceproof[serve]'" in capsys.readouterr().err


def test_settings_that_do_not_fit_each_other_are_refused(tmp_path):
    export_run(write_run(tmp_path / "run"), tmp_path / "artifact")
    with pytest.raises(FaceproofError, match="--whole-if-none"):
        serve(ServeConfig(tmp_path / "artifact", whole_if_none=True))


def test_the_settings_reach_the_server(tmp_path, monkeypatch, capsys):
    export_run(write_run(tmp_path / "run"), tmp_path / "artifact")
    monkeypatch.delenv("FACEPROOF_TOKEN", raising=False)
    ran = []

    def run(server, sockets):
        ran.append((server.config, sockets[0].getsockname()))
        server.started = True

    monkeypatch.setattr(uvicorn.Server, "run", run)
    limits = Limits(connections=7)
    folder = tmp_path / "artifact"
    config = ServeConfig(folder, host="0.0.0.0", port=0, root_path="/a", limits=limits)
    assert serve(config) == 0
    ((found, (host, port)),) = ran
    assert (host, found.app.most, found.access_log) == ("0.0.0.0", 7, False)
    said = capsys.readouterr()
    assert said.err.startswith(f"faceproof: loading {folder}\n")
    assert "everybody who reaches 0.0.0.0 can use this server" in said.err
    assert f"page and HTTP API: http://127.0.0.1:{port}/a/\n" in said.out
    assert f"http://{socket.gethostname()}:{port}/a/\n" in said.out
    words = ["serve", str(folder), "--max-pixels", "50e6", "--no-page", "--port", "0"]
    assert main(words) == 0
    paths = {route.path for route in ran[1][0].app.app.routes}
    assert "/api/predict" in paths
    assert "/" not in paths


def test_an_answer_is_sent_at_once():
    """Else its body waits for the client to acknowledge its head, 40 ms on Linux."""
    at_once = []

    def note(_, writer):
        connected = writer.get_extra_info("socket")
        at_once.append(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def ask():
        async with await asyncio.start_server(note, sock=_bind("127.0.0.1", 0)) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()

    asyncio.run(ask())
    assert at_once == [1]


def test_a_port_that_is_taken_is_told_before_a_detector_is_looked_at(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(tmp_path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is taken by another program; " in said
    assert "--port 0" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("path", ["detector", "/detector/", "/", "/a b", "/a//b", "https://a/b"])
def test_what_is_no_path_is_no_root_path(tmp_path, path):
    with pytest.raises(FaceproofError, match=r"--root-path .* is no path"):
        ServeConfig(tmp_path, root_path=path)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_what_is_no_port_is_refused(tmp_path, port):
    with pytest.raises(FaceproofError, match=f"--port {port} must be a port below 65,536"):
        ServeConfig(tmp_path, port=port)


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")]
)
def test_what_is_no_address_is_refused(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(FaceproofError, match=r"--host 'nowhere' is no address: .*(known|long)"):
        serve(ServeConfig(tmp_path, host="nowhere", port=0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"workers": 0}, "--workers 0 must be 1 or more"),
        ({"workers": 3}, "--workers 3 takes --concurrency 3 or more"),
        ({"batch_wait_ms": -1}, "--batch-wait-ms -1 must be from 0 to 1,000"),
        ({"batch_wait_ms": float("nan")}, "--batch-wait-ms nan must be"),
        ({"batch_wait_ms": 5, "limits": Limits(concurrency=1)}, "give --concurrency 2 or more"),
    ],
)
def test_workers_and_waits_that_cannot_work_are_refused(tmp_path, settings, words):
    with pytest.raises(FaceproofError, match=words):
        ServeConfig(tmp_path, **{"limits": Limits(max_pixels=1e6), **settings})


def test_workers_are_refused_where_they_cannot_share_a_port(tmp_path, monkeypatch):
    monkeypatch.setattr("faceproof.workflows.serve.os.name", "nt")
    with pytest.raises(FaceproofError, match="--workers above 1 takes Linux or macOS"):
        ServeConfig(tmp_path, workers=2)
