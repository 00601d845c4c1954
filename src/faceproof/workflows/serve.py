"""Serves a detector as a page and an HTTP API: the story of `faceproof serve`."""

import atexit
import contextlib
import errno
import functools
import gc
import os
import re
import socket
import sys
import tempfile
import traceback
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from faceproof.errors import FaceproofError
from faceproof.io.processes import end_with_parent
from faceproof.server.limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from faceproof.server.middleware import ConnectionLimit
    from faceproof.server.share import Share

MAX_PORT = 2**16
MAX_WAIT_MS = 1000  # more is no longer a wait for others
METRICS = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported


@dataclass(frozen=True)
class ServeConfig:
    """Serve a detector artifact as a web page and an HTTP API.

    The page is at /, the HTTP API at /api/predict, its description at /docs, and metrics for
    Prometheus are at /metrics. Nothing that is sent is stored. Needs pip install
    'faceproof[serve]', and 'faceproof[video]' for videos.

    Attributes:
        detector: the artifact's folder, made by faceproof export; or hf://OWNER/NAME of the Hugging
            Face hub, or hf://OWNER/NAME@REVISION.
        host: the address to listen at; the default can be reached from this machine only.
        port: the port to listen at; 0 takes one that is free.
        root_path: the path below which a proxy passes requests on, such as /detector.
        token_file: a file with a token that clients must send, 16 characters or more; the
            environment variable FACEPROOF_TOKEN does the same.
        allowed_hosts: a name, besides localhost and addresses, by which the server is reached, such
            as that of a proxy before it; * is any. Can be repeated.
        cors_origins: a web site whose pages may call the API, such as https://example.org; * is
            any. Can be repeated. Cookies of a browser are never taken from there.
        find_faces: let clients have each face in an image judged by itself, by a box on the page or
            ?faces=true; needs pip install 'faceproof[faces]'.
        whole_if_none: with --find-faces, judge the whole image where no face is found, instead of
            answering no face.
        page: serve the page, not the HTTP API alone.
        device: where the network runs, cpu, cuda or auto.
        backend: what runs the network.
        workers: processes that serve behind the port; each loads the detector and has its share of
            the limits. One that dies is started again. Not on Windows.
        batch_wait_ms: milliseconds that an image waits for those of other clients, to be judged in
            one batch; 0 judges each by itself.
        allow: a module with code of your own that the artifact may use; can be repeated.
        limits: how much the server takes.
    """

    detector: Path
    _: KW_ONLY
    host: str = "127.0.0.1"
    port: int = 7860
    root_path: str = ""
    token_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    find_faces: bool | None = None
    whole_if_none: bool = False
    page: bool = True
    device: str = "auto"
    backend: Literal["torch", "onnx"] = "torch"
    workers: int = 1
    batch_wait_ms: float = 0.0
    allow: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(/[\w.~-]+)*", self.root_path, re.ASCII):
            raise FaceproofError(
                f"--root-path {self.root_path!r} is no path; give one that begins with a slash and "
                "ends without, such as /detector"
            )
        if not 0 <= self.port < MAX_PORT:
            raise FaceproofError(f"--port {self.port} must be a port below {MAX_PORT:,}, or 0")
        if self.workers < 1:
            raise FaceproofError(f"--workers {self.workers} must be 1 or more")
        if self.workers > 1 and os.name == "nt":
            raise FaceproofError("--workers above 1 takes Linux or macOS; start one server here")
        if not 0 <= self.batch_wait_ms <= MAX_WAIT_MS:
            raise FaceproofError(
                f"--batch-wait-ms {self.batch_wait_ms:g} must be from 0 to {MAX_WAIT_MS:,}"
            )
        each = self.limits_of_each  # which refuses what cannot be divided
        if self.batch_wait_ms and each.concurrency < 2:
            raise FaceproofError(
                "--batch-wait-ms joins uploads that a worker judges at the same time, and each "
                f"judges one; give --concurrency {2 * self.workers} or more"
            )

    @property
    def limits_of_each(self) -> Limits:
        """How much each worker takes."""
        return self.limits.divided(self.workers)


def serve(config: ServeConfig) -> int:
    """Serve a detector until the process is told to end; return the exit code.

    Raises:
        FaceproofError: a package is not installed, the address is taken, or the detector, the
            token or a setting is of no use.
    """
    try:
        import fastapi  # noqa: F401
        import markdown_it  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise FaceproofError(
            f"serving takes the package {error.name}, which is not installed: "
            "pip install 'faceproof[serve]'"
        ) from error
    with _bind(config.host, config.port) as listener:  # before a detector is loaded
        return _serve(config, listener)


def _serve(config: ServeConfig, listener: socket.socket) -> int:
    # Importing PyTorch takes seconds.
    print(f"faceproof: loading {config.detector}", file=sys.stderr, flush=True)
    from faceproof.server.access import Access
    from faceproof.server.application import make_uvicorn
    from faceproof.server.share import Share
    from faceproof.server.tokens import read_token

    token = read_token(config.token_file)
    name, app = _make_app(config, token, Share())  # what cannot work is told before workers start
    if token is None and not Access(config.host).is_local:
        who = f"everybody who reaches {config.host} can use this server"
        print(f"faceproof: {who}; --token-file asks for a token", file=sys.stderr)
    for address in _addresses(config.host, listener.getsockname()[1]):
        what = "page and HTTP API" if config.page else "HTTP API"
        print(f"faceproof: {name}, {what}: {address}{config.root_path}/")
    print("faceproof: Ctrl-C ends it", flush=True)
    if config.workers > 1:
        del app
        return _serve_by_workers(config, token, listener)
    gc.collect()
    gc.freeze()  # what is there from the start stays; looking through it takes a tenth of a second
    server = make_uvicorn(app, config.limits)
    with contextlib.suppress(KeyboardInterrupt):  # the usual end of a server
        server.run(sockets=[listener])
    gc.unfreeze()  # or libraries complain at the end that they are not tidied up
    return 0 if server.started else 1


def _make_app(config: ServeConfig, token: str | None, share: "Share") -> tuple[str, "FastAPI"]:
    """Load the detector; return its name, and the application that serves it.

    Raises:
        FaceproofError: the detector or a setting is of no use.
    """
    from faceproof.inference.faces import face_options
    from faceproof.inference.predictor import load
    from faceproof.server.access import Access
    from faceproof.server.application import make_server

    access = Access(config.host, config.allowed_hosts, config.cors_origins)
    predictor = load(config.detector, config.device, config.backend, config.allow)
    options = face_options(predictor, config.find_faces, config.whole_if_none)
    app = make_server(
        predictor, config.limits_of_each, token, config.page, options, access, config.root_path,
        config.batch_wait_ms / 1000, share,
    )  # fmt: skip
    return predictor.card.name, app


def _serve_by_workers(config: ServeConfig, token: str | None, listener: socket.socket) -> int:
    """Serve by several processes until this one is told to end; return the exit code."""
    from uvicorn.config import STARTUP_FAILURE

    from faceproof.server.application import make_workers
    from faceproof.server.share import Share

    with tempfile.TemporaryDirectory(prefix="faceproof-metrics-") as folder:
        os.environ[METRICS] = folder  # for the workers, which inherit it
        make = functools.partial(
            _make_worker, config, token, Share(config.workers, metrics=Path(folder))
        )
        server = make_workers(make, config.workers, listener)
        server.run()
        del os.environ[METRICS]
    return 1 if any(one.exitcode == STARTUP_FAILURE for one in server.processes) else 0


def _make_worker(config: ServeConfig, token: str | None, share: "Share") -> "ConnectionLimit":
    """Return the application of a worker, in its process; end that where there can be none."""
    from uvicorn.config import STARTUP_FAILURE

    from faceproof.server.middleware import ConnectionLimit

    end_with_parent()
    try:
        _, app = _make_app(config, token, share)
    except FaceproofError as error:  # a traceback helps nobody, and another try would not either
        print(f"faceproof: {error}", file=sys.stderr, flush=True)
        raise SystemExit(STARTUP_FAILURE) from error
    except Exception:  # such as no memory on a GPU: it would be started again without end
        traceback.print_exc()
        raise SystemExit(STARTUP_FAILURE) from None
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)
    print(f"faceproof: worker {os.getpid()} answers", file=sys.stderr, flush=True)
    return ConnectionLimit(app, config.limits_of_each.connections)


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; who connects waits until the detector is loaded.

    Raises:
        FaceproofError: something else listens there, or it is no address of this machine.
    """
    try:
        # Only where a socket names its protocol does asyncio send what is written at once; else the
        # body of an answer waits 40 ms for the client to acknowledge the head.
        (kind, _, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (socket.gaierror, UnicodeError) as error:
        raise FaceproofError(f"--host {host!r} is no address: {error}") from error
    listener = socket.socket(kind, socket.SOCK_STREAM, protocol)
    try:
        if os.name != "nt":  # there it would let two servers listen at one address
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise FaceproofError(
                f"port {port} of {host} is taken by another program; give another one, or "
                "--port 0 for one that is free"
            ) from error
        raise FaceproofError(f"{host}:{port} cannot be used: {error.strerror}") from error
    return listener


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses to open, those of this machine in its network where all listen."""
    hosts = [host]
    if host in ("0.0.0.0", "::"):
        hosts = ["127.0.0.1", socket.gethostname()]
    return [f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in hosts]
