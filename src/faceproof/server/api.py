"""The HTTP interface: images and videos in, verdicts out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, BinaryIO

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from faceproof import __version__
from faceproof.inference.faces import FaceOptions, check_faces, judge_faces
from faceproof.inference.predictor import Predictor, stack_fitted
from faceproof.inference.video import NUM_FRAMES, Clip
from faceproof.inference.video_verdict import judge_clip
from faceproof.reports.html import render
from faceproof.server.guards import PREDICT, KnownPaths, SecurityHeaders, TokenGate, UploadGuard
from faceproof.server.limits import Desk, Limits, RefusedError, too_large
from faceproof.server.metrics import Metrics
from faceproof.server.uploads import read_for_faces, read_upload

PATHS = (PREDICT, "/api/card", "/health", "/metrics", "/docs", "/openapi.json")
NOT_FINDING = (
    "this server does not look for faces; leave out faces=true, or start it by faceproof serve DIR "
    "--find-faces, which takes pip install 'faceproof[faces]'"
)
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "an image or a video",
                        }
                    },
                }
            }
        },
    }
}


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="in plain words")


class Place(BaseModel):
    """A rectangle in pixels of the image as it is shown, turned upright."""

    left: int
    top: int
    right: int = Field(description="the first one outside")
    bottom: int = Field(description="the first one outside")


class Face(BaseModel):
    """What the detector says of one face of an image."""

    box: Place
    verdict: str = Field(description="a class, unsure, or no face where a gate says so")
    called: str
    probability: float | None
    logit: float | None
    threshold: float
    task: str
    gate_probability: float | None


class Answer(BaseModel):
    """What the detector says of an image or a video."""

    kind: str = Field(description="image or video")
    verdict: str = Field(description="a class, unsure, or no face")
    called: str = Field(description="the class by the threshold alone, or no face")
    probability: float | None = Field(
        description="calibrated, of the positive class; of a video the mean over its frames; "
        "null where there is no face"
    )
    threshold: float = Field(description="called positive from this probability on")
    task: str
    gate_probability: float | None = Field(description="of a face; of cascades alone")
    logit: float | None = Field(None, description="of an image, the raw score")
    low: float | None = Field(None, description="of a video: 10 % of the frames lie below")
    high: float | None = Field(None, description="of a video: 10 % of the frames lie above")
    share: float | None = Field(None, description="of a video: frames called positive")
    seconds: float | None = Field(None, description="of a video, how long it lasts")
    frames_wanted: int | None = Field(None, description="of a video")
    frames_read: int | None = Field(None, description="of a video")
    rule: str | None = Field(None, description="of a video or of faces, how the verdict is made")
    note: str | None = Field(None, description="what should be known of a video's frames, or faces")
    frames: list[dict[str, Any]] | None = Field(
        None, description="of a video: time in seconds, verdict and probability of each frame"
    )
    faces: list[Face] | None = Field(
        None, description="with faces=true: the faces that were found, the largest first"
    )


class Health(BaseModel):
    """That the server is alive."""

    status: str


def problems(limits: Limits, token: bool) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a prediction."""
    found = {
        400: "The request is no form, or has no file in the field `file`.",
        408: f"The file did not arrive within {limits.timeout:g} seconds.",
        413: f"Over {limits.max_megabytes:g} megabytes, or {limits.max_pixels:,} pixels.",
        415: "Neither an image nor a video that can be read here.",
        422: "A damaged image or video, or a wrong `frames` or `faces`, which is also refused "
        "where the server was started without --find-faces.",
        503: "Too many are waiting; the header Retry-After says when to try again.",
        504: f"No answer within {limits.timeout:g} seconds.",
    }
    return {**_locked(token), **{k: {"model": Problem, "description": v} for k, v in found.items()}}


def _locked(token: bool) -> dict[int | str, dict[str, Any]]:
    if not token:
        return {}
    return {401: {"model": Problem, "description": "No token, or a wrong one."}}


def make_api(
    predictor: Predictor,
    desk: Desk,
    metrics: Metrics,
    token: bool = False,
    options: FaceOptions | None = None,
) -> FastAPI:
    """Return the application without what guards it; see `guarded`.

    Args:
        predictor: the detector.
        desk: where uploads are judged.
        metrics: what is shown at /metrics.
        token: whether a token is asked for, which is described.
        options: how faces are found where that is asked for; None refuses to.

    Raises:
        FaceproofError: faces cannot be found with this detector, or the extra is not installed.
    """
    if options is not None:
        check_faces(predictor)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    name = str(predictor.card["name"])
    app = FastAPI(
        title=f"faceproof: {name}",
        description="What a detector takes images and videos for. Nothing that is sent is kept.",
        version=__version__,
        docs_url=None,  # FastAPI's own page takes its scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _defect)
    limits = desk.limits
    most = limits.max_frames
    usual = min(NUM_FRAMES, most)

    @app.post(
        PREDICT,
        summary="Judge an image or a video",
        response_model=Answer,
        response_model_exclude_unset=True,
        responses=problems(limits, token),
        openapi_extra=FORM,
    )
    async def predict(
        request: Request,
        frames: int = Query(usual, ge=1, le=most, description=f"of a video, at most {most}"),
        faces: bool = Query(False, description=about_faces(options)),
    ) -> dict[str, Any]:
        """Judge an image or a video, sent as a form with the field `file`."""
        if faces and options is None:
            raise RefusedError(422, NOT_FINDING)
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise RefusedError(400, "send the file as multipart/form-data in the field file")
        async with request.form(max_files=1, max_fields=4) as form:
            upload = form.get("file")
            if not isinstance(upload, UploadFile) or not upload.size:
                raise RefusedError(400, "there is no file in the field file")
            if upload.size > limits.max_bytes:
                raise too_large(limits)
            if faces and options is not None:
                return await desk.work(find_and_judge, predictor, upload.file, limits, options)
            judge = partial(judge_file, predictor, upload.file, limits, frames, desk.deadline())
            return await desk.work(judge)

    @app.get("/api/card", summary="The detector's card", responses=_locked(token))
    async def card() -> dict[str, Any]:
        """Return what is known of the detector: classes, threshold, figures, versions."""
        return predictor.card

    @app.get("/health", summary="Whether the server is alive")
    async def health() -> Health:
        """Answer without asking for a token, and without waiting for images."""
        await asyncio.sleep(0)
        return Health(status="ok")

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=PlainTextResponse,
        responses=_locked(token),
    )
    async def show_metrics() -> str:
        """Return requests by outcome, a histogram of their seconds, and how many are in work."""
        return str(metrics)

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return render("api.html.j2", {}, api=app.openapi())

    return app


def make_metrics(desk: Desk) -> Metrics:
    """Return the figures of a server."""
    limits = desk.limits
    return Metrics(
        {
            "faceproof_in_work": (
                "Uploads that arrive, wait or are judged.",
                lambda: float(desk.present),
            ),
            "faceproof_places": (
                "How many of them there may be.",
                lambda: float(limits.concurrency + limits.queue),
            ),
        }
    )


def guarded(
    app: FastAPI, desk: Desk, metrics: Metrics, token: str | None, paths: tuple[str, ...] = ()
) -> FastAPI:
    """Put the guards before an application, the last one first.

    Args:
        app: what they stand before.
        desk: whose limits hold.
        metrics: what counts.
        token: that is asked for; None for none.
        paths: patterns of further paths that are let through.
    """
    app.add_middleware(UploadGuard, desk=desk, metrics=metrics)
    known = (*(path.replace(".", r"\.") for path in PATHS), *paths)
    app.add_middleware(KnownPaths, paths=known)  # /login is answered before, where there is a token
    if token is not None:
        app.add_middleware(TokenGate, token=token)
    app.add_middleware(SecurityHeaders)
    return app


def make_app(
    predictor: Predictor,
    limits: Limits,
    token: str | None = None,
    options: FaceOptions | None = None,
) -> FastAPI:
    """Return the HTTP interface of a detector, without a page; see `make_api`."""
    desk = Desk(limits)
    metrics = make_metrics(desk)
    app = make_api(predictor, desk, metrics, token is not None, options)
    return guarded(app, desk, metrics, token)


def about_faces(options: FaceOptions | None) -> str:
    """Describe the parameter `faces`."""
    if options is None:
        return "refused: this server was started without --find-faces"
    without = "the whole is judged" if options.whole_if_none else "the verdict is no face"
    return (
        f"of an image: find its faces, at most {options.most}, and judge each by itself; the "
        f"image is called what its face of the highest probability is; without any {without}"
    )


def judge_file(
    predictor: Predictor, file: BinaryIO, limits: Limits, num_frames: int, deadline: float
) -> dict[str, Any]:
    """Return the answer on a file; see `read_upload`."""
    found = read_upload(file, predictor.fits, limits, num_frames, deadline)
    if isinstance(found, Clip):
        return {"kind": "video", **judge_clip(predictor, found).to_json()}
    (verdict,) = predictor.judge(stack_fitted([predictor.fit(found)]))
    return {"kind": "image", **verdict.to_json()}


def find_and_judge(
    predictor: Predictor, file: BinaryIO, limits: Limits, options: FaceOptions
) -> dict[str, Any]:
    """Return the answer on the faces of an image; see `read_for_faces`."""
    found = judge_faces(predictor, read_for_faces(file, limits), options)
    return {"kind": "image", **found.to_json()}


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": error.message}, error.status, error.headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _defect(request: Request, error: Exception) -> JSONResponse:
    """Answer a defect of ours; its traceback goes to the log."""
    return JSONResponse({"error": "the server has made a mistake; its log says more"}, 500)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)
