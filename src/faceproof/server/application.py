"""Puts a detector's API, its page and what guards them into one application."""

import os

import torch
import uvicorn
from fastapi import FastAPI

from faceproof.inference.faces import FaceOptions
from faceproof.inference.predictor import Predictor
from faceproof.server.answers import Judge
from faceproof.server.api import make_api
from faceproof.server.judging_queue import JudgingQueue
from faceproof.server.limits import Limits
from faceproof.server.middleware import CloseUnread, Metrics, SecurityHeaders, UploadGuard
from faceproof.server.page import add_page, add_static
from faceproof.server.tokens import TokenGate


def make_server(
    predictor: Predictor,
    limits: Limits,
    token: str | None = None,
    page: bool = True,
    options: FaceOptions | None = None,
) -> FastAPI:
    """Return the application that serves a detector.

    Args:
        predictor: the detector.
        limits: how much it takes.
        token: that clients must send; None for none.
        page: whether there is a page at /.
        options: how faces are found; None refuses clients that want that.

    Raises:
        FaceproofError: faces cannot be found with this detector, or the extra is not installed.
    """
    # Threads that judge at the same time share the cores instead of fighting for them.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // limits.concurrency))
    queue = JudgingQueue(limits)
    metrics = Metrics(queue)
    judge = Judge(predictor, limits, options)
    app = make_api(judge, queue, metrics, token is not None)
    add_static(app)
    if page:
        add_page(app, judge)
    # The last one added is the first to see a request.
    app.add_middleware(UploadGuard, queue=queue, metrics=metrics)
    if token is not None:
        app.add_middleware(TokenGate, token=token)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(CloseUnread)
    return app


def make_config(app: FastAPI, limits: Limits, host: str, port: int) -> uvicorn.Config:
    """Return how an application is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",  # bounds the head of a request, which httptools does not
        ws="none",
        limit_concurrency=limits.connections + 1,  # uvicorn refuses the one that reaches it
        log_level="info",
        access_log=False,  # names of images and addresses of people are nobody's business
        server_header=False,
        timeout_graceful_shutdown=5,
    )
