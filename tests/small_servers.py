"""A server of the tests, as `faceproof serve` starts one."""

import contextlib
import socket
import threading
import time

import uvicorn

from faceproof.server.server import make_config


@contextlib.contextmanager
def listening(application, limits, **settings):
    """Serve an application on a free port of this machine, in a thread.

    `settings` replace those of Uvicorn's configuration. Yields the port and the server.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = make_config(application, limits, "127.0.0.1", port)
    for name, value in settings.items():
        setattr(config, name, value)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    try:
        yield port, server
    finally:
        server.should_exit = True
        thread.join(20)
