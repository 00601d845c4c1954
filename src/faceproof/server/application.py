"""Puts a detector's API, its page and what guards them into one application.

The page is one template, two scripts and one style sheet over the HTTP API.
"""

import functools
import socket
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.middleware.cors import CORSMiddleware
from uvicorn.supervisors import Multiprocess

from faceproof.artifact.model_card import model_card
from faceproof.inference.faces import FaceOptions
from faceproof.inference.predictor import Predictor
from faceproof.reports.card_html import card_html
from faceproof.reports.html import render
from faceproof.server.access import Access, HostGuard
from faceproof.server.answers import Judge
from faceproof.server.api import make_api
from faceproof.server.judging_queue import JudgingQueue
from faceproof.server.limits import Limits
from faceproof.server.metrics import Metrics
from faceproof.server.middleware import (
    IS_HEAD,
    CloseUnread,
    ConnectionLimit,
    Mounted,
    SecurityHeaders,
    UploadGuard,
)
from faceproof.server.protocol import BoundedProtocol
from faceproof.server.share import Share
from faceproof.server.tokens import TokenGate

LOCAL = Access()
ANSWERING = 30  # seconds in which a worker must say that it is alive, also while it loads
UVICORN: dict[str, Any] = {
    "http": BoundedProtocol,  # over h11, which bounds the size of a head; httptools does not
    "ws": "none",
    "log_level": "warning",  # `serve` says itself where it is reached
    "access_log": False,  # names of images and addresses of people are nobody's business
    "server_header": False,
    "timeout_graceful_shutdown": 5,
}
STATIC = {
    "page.js": "text/javascript",
    "ask.js": "text/javascript",
    "answer.js": "text/javascript",
    "page.css": "text/css",
}


def make_server(
    predictor: Predictor,
    limits: Limits,
    token: str | None = None,
    page: bool = True,
    options: FaceOptions | None = None,
    access: Access = LOCAL,
    root_path: str = "",
    batch_wait: float = 0.0,
    share: Share | None = None,
) -> FastAPI:
    """Return the application that serves a detector.

    Args:
        predictor: the detector.
        limits: how much it takes; of several processes, how much each.
        token: that clients must send; None for none.
        page: whether there is a page at /.
        options: how faces are found; None refuses clients that want that.
        access: which names it answers to, and which web sites may use it.
        root_path: below which it is reached, such as /detector.
        batch_wait: seconds that an image waits for others, to be judged in one batch.
        share: what it has in common with other processes that serve; None where it is alone.

    Raises:
        FaceproofError: faces cannot be found with this detector, or the extra is not installed.
    """
    share = share or Share()
    # Threads that judge at the same time share the cores instead of fighting for them, as processes
    # do; a batch is judged by one thread. torch knows OMP_NUM_THREADS, and which cores are allowed.
    at_once = share.workers * (1 if batch_wait else limits.concurrency)
    torch.set_num_threads(max(1, _num_threads() // at_once))
    queue = JudgingQueue(limits)
    metrics = Metrics(queue, predictor.card.name, predictor.fingerprint, share.metrics)
    judge = Judge(predictor, limits, options, batch_wait)
    app = make_api(judge, queue, metrics, token is not None)
    _add_static(app)
    if root_path:
        app.servers = [{"url": root_path}]
    if page:
        _add_route(app, "/", HTMLResponse(render_page(judge)), metrics.visits.inc)
    # The last one added is the first to see a request.
    app.add_middleware(UploadGuard, queue=queue, metrics=metrics)
    if token is not None:
        app.add_middleware(TokenGate, token=token, root_path=root_path, share=share)
    app.add_middleware(Mounted, root_path=root_path)
    if access.origins:  # never with credentials: a site that may call has to send a token itself
        headers = ["Authorization", "Content-Type"]
        app.add_middleware(
            CORSMiddleware, allow_origins=access.origins, allow_methods=["GET", "POST"],
            allow_headers=headers, expose_headers=["Retry-After"],
        )  # fmt: skip
    app.add_middleware(HostGuard, access=access)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(CloseUnread)
    return app


@functools.cache
def _num_threads() -> int:
    """Return how many threads torch has by itself, whatever an application sets later."""
    return torch.get_num_threads()


def make_uvicorn(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """Return the server of an application."""
    return uvicorn.Server(uvicorn.Config(ConnectionLimit(app, limits.connections), **UVICORN))


def make_workers(
    make_app: Callable[[], ConnectionLimit], workers: int, listener: socket.socket
) -> Multiprocess:
    """Return what starts several servers behind one port, and starts one again that dies.

    Each is a process of its own, which calls `make_app`: a function that can be pickled.
    """
    config = uvicorn.Config(
        make_app, factory=True, workers=workers, timeout_worker_healthcheck=ANSWERING, **UVICORN
    )
    return Multiprocess(config, [listener])


def _add_static(app: FastAPI) -> None:
    """Add scripts and styles at /static, each a route of its own: no path of a client is opened."""
    for name, kind in STATIC.items():
        content = files("faceproof.server").joinpath("static", name).read_bytes()
        _add_route(app, f"/static/{name}", Response(content, media_type=kind))


def _add_route(
    app: FastAPI, path: str, answer: Response, count: Callable[[], None] | None = None
) -> None:
    """Add a route that always gives the same answer, and maybe counts that."""

    async def respond(request: Request) -> Response:
        if count is not None and not request.scope.get(IS_HEAD):
            count()
        return answer

    app.add_api_route(path, respond, include_in_schema=False, response_model=None)


def render_page(judge: Judge) -> str:
    """Return the page as HTML."""
    predictor, limits = judge.predictor, judge.uploads.limits
    settings = {
        "positive": predictor.task.positive,
        "negative": predictor.task.classes[0],
        "max_megabytes": limits.max_megabytes,
        "map_problem": judge.maps.problem,
    }
    return render(
        "page.html.j2",
        card=predictor.card,
        in_use=predictor.card.detector.in_use,
        find_faces=judge.options is not None,
        faces_by_default=judge.faces_by_default,
        in_browser=False,
        settings=settings,
        card_html=card_html(model_card(predictor.card, "DIR")),
    )
