"""The whole server: interface, page, and what guards both."""

import os

import torch
import uvicorn
from fastapi import FastAPI

from faceproof.inference.faces import FaceOptions
from faceproof.inference.predictor import Predictor
from faceproof.server.api import guarded, make_api, make_metrics
from faceproof.server.connections import bounded
from faceproof.server.limits import Desk, Limits


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
        token: that is asked for; None for none.
        page: whether there is a page at /, which takes Gradio.
        options: how faces are found where that is asked for; None refuses to.

    Raises:
        FaceproofError: Gradio is wanted and not installed, or faces cannot be found.
    """
    # Threads that judge at the same time share the cores instead of fighting for them.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // limits.concurrency))
    desk = Desk(limits)
    metrics = make_metrics(desk)
    app = make_api(predictor, desk, metrics, token is not None, options)
    if not page:
        return guarded(app, desk, metrics, token)
    from faceproof.server.page import PAGE_PATHS, mount_page

    mount_page(app, predictor, desk, options)
    return guarded(app, desk, metrics, token, PAGE_PATHS)


def make_config(app: FastAPI, limits: Limits, host: str, port: int) -> uvicorn.Config:
    """Return how an application is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=bounded(limits),
        ws="none",  # the page needs none
        log_level="info",
        access_log=False,  # names of images and addresses of people are nobody's business
        server_header=False,
        timeout_graceful_shutdown=5,
    )
