"""`faceproof serve`: a detector as a page and an HTTP interface."""

import argparse
import dataclasses
from pathlib import Path


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    server = commands.add_parser(
        "serve",
        help="put a detector on a page and an HTTP interface",
        description="Serve a detector artifact: a page at /, the HTTP interface at /api/predict, "
        "its description at /docs, metrics for Prometheus at /metrics. Nothing that is sent is "
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
        help="ask for the token in it, 16 characters or more (or set FACEPROOF_TOKEN)",
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


def _serve(arguments: argparse.Namespace) -> int:
    from faceproof.server.limits import Limits
    from faceproof.workflows.serve import ServeConfig, serve

    limits = {item.name: getattr(arguments, item.name) for item in dataclasses.fields(Limits)}
    return serve(
        ServeConfig(
            detector=arguments.detector,
            host=arguments.host,
            port=arguments.port,
            token_file=arguments.token_file,
            find_faces=arguments.find_faces,
            whole_if_none=arguments.whole_if_none,
            page=not arguments.no_page,
            device=arguments.device,
            backend=arguments.backend,
            limits=Limits(**limits),
        )
    )
