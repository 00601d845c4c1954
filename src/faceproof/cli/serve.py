"""`faceproof serve`: a detector as a page and an HTTP interface."""

import argparse
import contextlib
import gc
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.errors import FaceproofError

if TYPE_CHECKING:
    from faceproof.server.limits import Limits

TOKEN = "FACEPROOF_TOKEN"
MIN_TOKEN = 16  # characters: a token can be guessed at as fast as the server answers
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    server = commands.add_parser(
        "serve",
        help="put a detector on a page and an HTTP interface",
        description="Serve a detector artifact: a page at /, the HTTP interface at /api/predict, "
        "its description at /docs, figures for Prometheus at /metrics. Nothing that is sent is "
        "kept. Needs pip install 'faceproof[serve]', and 'faceproof[video]' for videos.",
        epilog="example: faceproof serve detector, then open http://127.0.0.1:7860",
    )
    server.add_argument("detector", type=Path, metavar="DIR", help="what faceproof export made")
    server.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    server.add_argument("--port", type=int, default=7860, help="default: 7860")
    server.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"ask for the token in it, {MIN_TOKEN} characters or more (or set {TOKEN})",
    )
    server.add_argument(
        "--find-faces",
        action="store_true",
        help="let who asks have each face in an image judged by itself, by a box on the page or "
        "?faces=true; needs pip install 'faceproof[faces]'",
    )
    server.add_argument(
        "--whole-if-none",
        action="store_true",
        help="with --find-faces: judge the whole image where no face is found, instead of "
        "saying no face",
    )
    _add_limits(server)
    server.add_argument("--no-page", action="store_true", help="the HTTP interface alone")
    server.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    server.add_argument("--backend", choices=("torch", "onnx"), default="torch")
    server.set_defaults(run=_serve)


def _add_limits(server: argparse.ArgumentParser) -> None:
    limits = server.add_argument_group("limits")
    limits.add_argument(
        "--max-megabytes", type=float, default=20.0, metavar="N", help="of an upload (default: 20)"
    )
    limits.add_argument(
        "--max-pixels", type=float, default=50e6, metavar="N",
        help="of an image or a video's frame (default: 50e6)",
    )  # fmt: skip
    limits.add_argument(
        "--max-frames", type=int, default=64, metavar="N", help="of a video (default: 64)"
    )
    limits.add_argument(
        "--concurrency", type=int, default=2, metavar="N", help="judged at a time (default: 2)"
    )
    limits.add_argument(
        "--queue", type=int, default=64, metavar="N",
        help="arriving or waiting besides; more are told to come back later (default: 64)",
    )  # fmt: skip
    limits.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS",
        help="for an upload to arrive, and again for its answer (default: 30)",
    )  # fmt: skip
    limits.add_argument(
        "--connections", type=int, default=500, metavar="N", help="open at a time (default: 500)"
    )


def read_token(file: Path | None) -> str | None:
    """Return the token of a file or of the environment; None if there is neither.

    Raises:
        FaceproofError: it cannot be read, or could be guessed.
    """
    if file is not None:
        try:
            token = file.read_text("utf-8").strip()
        except OSError as error:
            raise FaceproofError(f"--token-file {file} cannot be read: {error.strerror}") from error
        origin = f"--token-file {file}"
    else:
        if TOKEN not in os.environ:
            return None
        token, origin = os.environ[TOKEN].strip(), TOKEN
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise FaceproofError(
            f"{origin} holds {len(token)} characters; a token is {MIN_TOKEN} or more plain ones, "
            "such as openssl rand -hex 16 makes"
        )
    return token


def _limits(arguments: argparse.Namespace) -> "Limits":
    """Return the limits that were asked for."""
    from faceproof.server.limits import Limits

    # Infinity and what is no number have no whole part; `Limits` refuses them in words.
    pixels = arguments.max_pixels
    return Limits(
        max_megabytes=arguments.max_megabytes,
        max_pixels=int(pixels) if math.isfinite(pixels) else pixels,
        max_frames=arguments.max_frames,
        concurrency=arguments.concurrency,
        queue=arguments.queue,
        timeout=arguments.timeout,
        connections=arguments.connections,
    )


def _serve(arguments: argparse.Namespace) -> int:
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise FaceproofError(
            f"serving takes the package {error.name}, which is not installed: "
            "pip install 'faceproof[serve]'"
        ) from error
    from faceproof.inference.faces import face_options
    from faceproof.inference.predictor import load
    from faceproof.server.server import make_config, make_server

    limits = _limits(arguments)
    token = read_token(arguments.token_file)
    faces = face_options(arguments.find_faces, arguments.whole_if_none)
    predictor = load(arguments.detector, arguments.device, arguments.backend)
    app = make_server(predictor, limits, token, not arguments.no_page, faces)
    if token is None and arguments.host not in LOOPBACK:
        print(
            f"faceproof: everybody who reaches {arguments.host} can use this server; "
            "--token-file asks for a token",
            file=sys.stderr,
        )
    gc.collect()
    gc.freeze()  # what is there from the start stays; to look through it takes a tenth of a second
    server = uvicorn.Server(make_config(app, limits, arguments.host, arguments.port))
    with contextlib.suppress(KeyboardInterrupt):  # the usual end of a server
        server.run()
    gc.unfreeze()  # or libraries complain at the end that they are not tidied up
    return 0 if server.started else 1
