"""The HTTP API of a detector: its routes, their description, and their errors in plain words."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from faceproof import __version__
from faceproof.evaluation.predictions import ScoreError
from faceproof.inference.faces import FaceOptions
from faceproof.inference.video import NUM_FRAMES
from faceproof.reports.html import render
from faceproof.server.answers import NOT_FINDING, Answer, Judge, Problem, Question
from faceproof.server.judging_queue import JudgingQueue, RefusedError, too_large
from faceproof.server.limits import Limits
from faceproof.server.metrics import Metrics
from faceproof.server.middleware import PREDICT

FILE = {"type": "string", "format": "binary", "description": "an image or a video"}
FORM = {"type": "object", "required": ["file"], "properties": {"file": FILE}}
BODY = {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}


class Health(BaseModel):
    """That the server is alive."""

    status: str


def make_api(judge: Judge, queue: JudgingQueue, metrics: Metrics, token: bool) -> FastAPI:
    """Return the API without what guards it; its description says whether a token is needed."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    app = FastAPI(
        title=f"faceproof: {judge.predictor.card.name}",
        description="What a detector takes images and videos for. Nothing that is sent is stored.",
        version=__version__,
        docs_url=None,  # FastAPI's own page takes its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    for kind in (RefusedError, ScoreError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _explain_error)
    _add_predict(app, judge, queue, metrics, token)
    _add_others(app, judge, metrics, token)
    return app


def _add_predict(
    app: FastAPI, judge: Judge, queue: JudgingQueue, metrics: Metrics, token: bool
) -> None:
    limits = queue.limits
    judge.uploads.watch = metrics.add_image
    most = limits.max_frames
    about = {
        "frames": f"of a video, at most {most}",
        "faces": about_faces(judge.options),
        "map": "of an image: draw what the answer rests on, as `map`; takes the extra explain",
        "thumbnails": "return a small copy of the image, or of the video's frames of the highest "
        "probability",
    }

    def read_question(
        frames: int = Query(min(NUM_FRAMES, most), ge=1, le=most, description=about["frames"]),
        faces: bool = Query(judge.faces_by_default, description=about["faces"]),
        map: bool = Query(False, description=about["map"]),
        thumbnails: bool = Query(False, description=about["thumbnails"]),
    ) -> Question:
        return Question(frames, faces, map, thumbnails)

    @app.post(
        PREDICT,
        summary="Judge an image or a video",
        response_model=Answer,
        response_model_exclude_unset=True,
        responses=describe_errors(limits, token),
        openapi_extra={"requestBody": BODY},
    )
    async def predict(
        request: Request, question: Annotated[Question, Depends(read_question)]
    ) -> dict[str, Any]:
        """Judge an image or a video, sent as a form with the field `file`."""
        if question.faces and judge.options is None:
            raise RefusedError(422, NOT_FINDING)
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise RefusedError(400, "send the file as multipart/form-data in the field file")
        async with request.form(max_files=1, max_fields=4) as form:
            upload = form.get("file")
            if not isinstance(upload, UploadFile):
                raise RefusedError(400, "there is no file in the field file")
            if not upload.size:
                raise RefusedError(400, "the file in the field file is empty")
            if upload.size > limits.max_bytes:
                raise too_large(limits)
            answer = await queue.work(judge.answer, upload.file, question, queue.deadline())
            metrics.add_verdict(
                answer["verdict"], answer["kind"], answer["probability"], answer.get("novelty"),
                upload.size,
            )  # fmt: skip
            return answer


def _add_others(app: FastAPI, judge: Judge, metrics: Metrics, token: bool) -> None:
    locked = _locked(token)

    @app.get("/api/card", summary="The detector's card", responses=locked)
    async def card() -> dict[str, Any]:
        """Return what is known of the detector: classes, threshold, metrics, versions."""
        return judge.predictor.card.to_json()

    @app.get("/health", summary="Whether the server is alive")
    async def health() -> Health:
        """Answer without a token, and without waiting for images."""
        return Health(status="ok")

    kind = PlainTextResponse

    @app.get("/metrics", summary="Metrics for Prometheus", response_class=kind, responses=locked)
    async def show_metrics() -> Response:
        """Return requests, verdicts, what images are like, visits, seconds, uploads in work."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return render("api.html.j2", api=app.openapi())


def describe_errors(limits: Limits, token: bool) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a prediction."""
    found = {
        400: "The request is no form, or has no file in the field `file`.",
        408: f"The file did not arrive within {limits.timeout:g} seconds.",
        413: f"Over {limits.max_megabytes:g} megabytes, or {limits.max_pixels:,.0f} pixels.",
        421: "The header Host names another server.",
        415: "Neither an image nor a video that can be read here.",
        422: "A damaged image or video; a wrong parameter; `faces` where the server was started "
        "without --find-faces; `map` where the server cannot draw one.",
        503: "Too many are waiting; the header Retry-After says when to try again.",
        504: f"No answer within {limits.timeout:g} seconds.",
    }
    return {**_locked(token), **{k: {"model": Problem, "description": v} for k, v in found.items()}}


def _locked(token: bool) -> dict[int | str, dict[str, Any]]:
    if not token:
        return {}
    found = {401: "No token, or a wrong one.", 429: "Too many wrong tokens are waiting."}
    return {status: {"model": Problem, "description": words} for status, words in found.items()}


def about_faces(options: FaceOptions | None) -> str:
    """Describe the parameter `faces`."""
    if options is None:
        return "refused: this server was started without --find-faces"
    without = "the whole is judged" if options.whole_if_none else "the verdict is no face"
    return (
        f"find the faces, at most {options.most}, and judge each by itself, in a video over its "
        "frames; the whole is called what its face of the highest probability is (a face unlike "
        "the training images decides only where no other is called positive); without any "
        f"{without}"
    )


async def _explain_error(request: Request, error: Exception) -> JSONResponse:
    """Answer an error as JSON, in plain words; the traceback of a defect goes to the log."""
    headers: Mapping[str, str] | None = None
    match error:
        case RefusedError():
            status, words, headers = error.status, error.message, error.headers
        case HTTPException():
            status, headers = error.status_code, error.headers
            words = "there is nothing here; see /docs" if status == 404 else str(error.detail)
        case RequestValidationError():
            first = error.errors()[0]
            status, words = 422, f"{first['loc'][-1]}: {first['msg']}"
        case ScoreError():
            status, words = 500, str(error)
        case _:
            status, words = 500, "the server has made a mistake; its log says more"
    return JSONResponse({"error": words}, status, headers)
