"""Neither the tests, nor importing the package, nor asking for help reach for the network."""

import asyncio
import os
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.conftest import NetworkRefusedError
from tests.jobs import REPOSITORY

ELSEWHERE = ("192.0.2.1", "2001:db8::1", "example.org")  # of those set aside for documentation

# Run by itself, for what this process has imported already would not be imported again.
LISTENER = """
import contextlib, importlib, io, pkgutil, runpy, sys

REACHING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
reached = []
sys.addaudithook(lambda event, about: reached.append((event, about)) if event in REACHING else None)


def ask_for_help(run):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            run()
        except SystemExit as end:
            assert end.code in (0, None), end.code
    assert len(said.getvalue()) > 100, said.getvalue()


import faceproof, faceproof.cli.main, hydra_plugins.faceproof
for package in (faceproof, hydra_plugins.faceproof):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:  # of an extra
                assert not (error.name or "faceproof").startswith("faceproof"), error
found = [(), *((name,) for name in faceproof.cli.main.COMMANDS)]
assert len(found) > 8, found
for words in found:
    ask_for_help(lambda: faceproof.cli.main.main([*words, "--help"]))
for entry in ("train.py", "evaluate.py"):
    sys.argv = [entry, "--help"]
    ask_for_help(lambda: runpy.run_path(entry, run_name="__main__"))
assert not reached, reached
print(len(found), "commands")
"""


def test_importing_every_module_and_every_help_reach_nobody():
    found = subprocess.run(
        [sys.executable, "-c", LISTENER],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "commands" in found.stdout


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_test_that_reaches_for_another_machine_fails(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = f"[{host}]" if ":" in host else host
    for call in (
        lambda: socket.create_connection((host, 80), timeout=1),
        lambda: socket.getaddrinfo(host, 80),
        lambda: socket.gethostbyname(host),
        lambda: urllib.request.urlopen(f"http://{address}"),
        lambda: asyncio.run(asyncio.wait_for(asyncio.open_connection(host, 80), 5)),
    ):
        with pytest.raises(NetworkRefusedError, match="tests run without a network"):
            call()
    for kind, name in ((socket.SOCK_STREAM, "connect"), (socket.SOCK_STREAM, "connect_ex"),
                       (socket.SOCK_DGRAM, "connect")):  # fmt: skip
        with socket.socket(family, kind) as one, pytest.raises(NetworkRefusedError):
            getattr(one, name)((host, 80))
    with socket.socket(family, socket.SOCK_DGRAM) as one, pytest.raises(NetworkRefusedError):
        one.sendto(b"hello", (host, 80))


def test_no_proxy_is_asked():
    assert urllib.request.getproxies_environment() == {}
    assert not [name for name in os.environ if name.lower().endswith("_proxy")]


def test_this_machine_may_be_talked_to(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        for host in ("127.0.0.1", "localhost"):
            with socket.create_connection((host, server.getsockname()[1]), timeout=5):
                taken, _ = server.accept()
                assert taken.getsockname() == server.getsockname()
                taken.close()
    if hasattr(socket, "AF_UNIX"):
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(path)
            server.listen()
            client.connect(path)
            assert client.getpeername() == path
