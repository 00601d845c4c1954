"""`faceproof serve`: a detector as a page and an HTTP interface."""

import argparse
import os
import sys
from pathlib import Path

from faceproof.errors import FaceproofError

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
        help="of a picture or a video's frame (default: 50e6)",
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
    from faceproof.serving.limits import Limits
    from faceproof.serving.predictor import load
    from faceproof.serving.server import make_server

    limits = Limits(
        max_megabytes=arguments.max_megabytes,
        max_pixels=int(arguments.max_pixels),
        max_frames=arguments.max_frames,
        concurrency=arguments.concurrency,
        queue=arguments.queue,
        timeout=arguments.timeout,
    )
    token = read_token(arguments.token_file)
    predictor = load(arguments.detector, arguments.device, arguments.backend)
    if token is None and arguments.host not in LOOPBACK:
        print(
            f"faceproof: everybody who reaches {arguments.host} can use this server; "
            "--token-file asks for a token",
            file=sys.stderr,
        )
    app = make_server(predictor, limits, token, page=not arguments.no_page)
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        log_level="info",
        access_log=False,  # names of pictures and addresses of people are nobody's business
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return 0
