"""Serves a detector as a page and an HTTP API: the story of `faceproof serve`."""

import contextlib
import errno
import gc
import os
import re
import socket
import sys
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal

from faceproof.errors import FaceproofError
from faceproof.server.limits import Limits

MAX_PORT = 2**16


@dataclass(frozen=True)
class ServeConfig:
    """Serve a detector artifact as a web page and an HTTP API.

    The page is at /, the HTTP API at /api/predict, its description at /docs, and metrics for
    Prometheus are at /metrics. Nothing that is sent is stored. Needs pip install
    'faceproof[serve]', and 'faceproof[video]' for videos.

    Attributes:
        detector: the artifact's folder, made by faceproof export.
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
    from faceproof.inference.faces import face_options
    from faceproof.inference.predictor import load
    from faceproof.server.access import Access
    from faceproof.server.application import make_server, make_uvicorn
    from faceproof.server.tokens import read_token

    access = Access(config.host, config.allowed_hosts, config.cors_origins)
    token = read_token(config.token_file)
    predictor = load(config.detector, config.device, config.backend, config.allow)
    options = face_options(predictor, config.find_faces, config.whole_if_none)
    app = make_server(
        predictor, config.limits, token, config.page, options, access, config.root_path
    )
    if token is None and not access.is_local:
        who = f"everybody who reaches {config.host} can use this server"
        print(f"faceproof: {who}; --token-file asks for a token", file=sys.stderr)
    gc.collect()
    gc.freeze()  # what is there from the start stays; looking through it takes a tenth of a second
    server = make_uvicorn(app, config.limits)
    for address in _addresses(config.host, listener.getsockname()[1]):
        what = "page and HTTP API" if config.page else "HTTP API"
        print(f"faceproof: {predictor.card.name}, {what}: {address}{config.root_path}/")
    print("faceproof: Ctrl-C ends it", flush=True)
    with contextlib.suppress(KeyboardInterrupt):  # the usual end of a server
        server.run(sockets=[listener])
    gc.unfreeze()  # or libraries complain at the end that they are not tidied up
    return 0 if server.started else 1


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; who connects waits until the detector is loaded.

    Raises:
        FaceproofError: something else listens there, or it is no address of this machine.
    """
    try:
        (kind, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise FaceproofError(f"--host {host!r} is no address: {error}") from error
    listener = socket.socket(kind, socket.SOCK_STREAM)
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
