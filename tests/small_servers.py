"""Servers of the tests: in a thread, and as a process that `faceproof serve` starts."""

import contextlib
import os
import subprocess
import sys
import threading
import time
import urllib.request

from faceproof.server.application import make_uvicorn
from tests.ports import free_port

STARTING = 120  # seconds for a process to come up


@contextlib.contextmanager
def started(detector, folder, options):
    """Start `faceproof serve`, with its log and its temporary files in a folder.

    Yields the port and the process' number.
    """
    port = free_port()
    command = [sys.executable, "-m", "faceproof", "serve", str(detector), "--port", str(port)]
    (folder / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(folder / "temporary")}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=environment)
    try:
        _wait_for(server, port, folder / "log")
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(120)


def _wait_for(server, port, log):
    for _ in range(10 * STARTING):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server has not come up: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def listening(application, limits, **settings):
    """Serve an application on a free port of this machine, in a thread.

    `settings` replace those of Uvicorn's configuration. Yields the port and the server.
    """
    port = free_port()
    server = make_uvicorn(application, limits)
    for name, value in {"host": "127.0.0.1", "port": port, **settings}.items():
        setattr(server.config, name, value)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 300
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    try:
        yield port, server
    finally:
        server.should_exit = True
        thread.join(120)
