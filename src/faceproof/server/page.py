"""The page of a detector: a person drops an image or a video and reads the answer.

Gradio serves the page; what is uploaded is read by the same functions, and under the same limits,
as in the API. Gradio's own handling of images is not used: it would decode them before they are
looked at, and write them again.
"""

import contextlib
import gc
import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from faceproof.artifact.model_card import model_card
from faceproof.errors import FaceproofError
from faceproof.inference.faces import FaceOptions
from faceproof.inference.predictor import Predictor
from faceproof.reports.html import render
from faceproof.server.guards import PAGE_UPLOAD
from faceproof.server.heat_map import HeatMaps
from faceproof.server.limits import Desk, RefusedError
from faceproof.server.page_answer import FILTERS, answer_page
from faceproof.server.page_guard import PageGuard

CAMERA = {"video": {"width": {"ideal": 1280}}}  # what a browser is asked for
FIND_FACES = "Find the faces, and judge each by itself"
FIND_INFO = "For several people or a small face, in images. Tick it before you send one."
SMALLEST = 1_000_000  # bytes that a stored file counts at least, which bounds their number
SPARE = 60  # seconds for a browser between upload and question
# What the page needs of Gradio. It has many more routes, which fetch, proxy and write files.
# How far an upload has come is not told: Gradio would keep that for ever.
PAGE_PATHS = (
    r"/",
    r"/(?:assets|static|svelte)/[\w./@+-]+",
    r"/(?:config|theme\.css|favicon\.ico|manifest\.json)/?",
    r"/gradio_api/(?:info|app_id|startup-events|theme\.css|queue/join|queue/data|cancel|reset)/?",
    PAGE_UPLOAD,
    r"/gradio_api/heartbeat/\w+",
)
Handler = Callable[..., Coroutine[Any, Any, tuple[str, None]]]


class Forgetful(set[str]):
    """In which Gradio notes every upload for ever, to no use here."""

    def update(self, *others: Any) -> None:
        """Note nothing."""


def import_gradio() -> Any:
    """Return gradio, which must not call home.

    Raises:
        FaceproofError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise FaceproofError(
            "the page takes the package gradio, which is not installed: "
            "pip install 'faceproof[serve]'"
        ) from error
    return gradio


class Uploads:
    """The folder in which Gradio puts what a browser sends; gone when the process ends.

    Gradio leaves behind what was never judged, and what broke off while it arrived. A thread
    deletes whatever is older than an upload can be.

    Args:
        max_age: in seconds.
    """

    def __init__(self, max_age: float) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="faceproof-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(self.folder)
        self.max_age = max_age
        self._closed = threading.Event()
        threading.Thread(target=self._sweep, name="sweep uploads", daemon=True).start()

    def _sweep(self) -> None:
        """Delete what is too old and close what nobody reads, now and then, until the end."""
        while not self._closed.wait(self.max_age / 4):
            oldest = time.time() - self.max_age
            for entry in self.folder.iterdir():
                # A file that goes meanwhile was read by `take`.
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime < oldest:
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            gc.collect()  # an upload that broke off is held open by the errors that say so

    def stored(self) -> int:
        """Return how many bytes lie in the folder, as they count."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # read meanwhile
                    total += max(Path(folder, name).stat().st_size, SMALLEST)
        return total

    def take(self, path: str) -> io.BytesIO:
        """Read an upload into memory and delete it.

        Raises:
            RefusedError: it is not one of this folder, or no longer there.
        """
        file = Path(path)
        if file.is_symlink() or self.folder not in file.resolve().parents:
            raise RefusedError(400, "that is no upload of this page")
        try:
            return io.BytesIO(file.read_bytes())
        except OSError as error:
            raise RefusedError(400, "the upload is no longer there; send it again") from error
        finally:
            self.forget(path)

    def forget(self, path: str) -> None:
        """Delete an upload and the folder that was made for it."""
        place = Path(path).resolve().parent
        if self.folder in place.parents:
            shutil.rmtree(place, ignore_errors=True)

    def close(self) -> None:
        """Delete all."""
        self._closed.set()
        self._folder.cleanup()


def mount_page(
    app: FastAPI, predictor: Predictor, desk: Desk, options: FaceOptions | None = None
) -> None:
    """Put the page at / of an application.

    Args:
        app: to which all other routes have been added.
        predictor: the detector.
        desk: where uploads are judged; when it closes, what was uploaded is gone.
        options: how faces are found where that is wished; None offers no such wish.

    Raises:
        FaceproofError: gradio is not installed.
    """
    gradio = import_gradio()
    uploads = Uploads(max_age=2 * desk.limits.timeout + SPARE)
    desk.closing.append(uploads.close)
    desk.stored = uploads.stored
    maps = HeatMaps(predictor)

    async def judge(path: str | None, find: object = False) -> tuple[str, None]:
        """Answer, and empty the place where the upload was dropped."""
        if path is None:
            return "", None
        wished = options if find is True else None
        try:
            with desk.place(), uploads.take(path) as file:
                answer = partial(answer_page, predictor, maps, file, desk, wished)
                return await desk.work(answer), None
        except RefusedError as refusal:
            return render("answer.html.j2", FILTERS, problem=refusal.message), None

    blocks = _blocks(gradio, predictor, desk, judge, options is not None)
    app.add_middleware(PageGuard, questions=blocks.fns, queue=blocks._queue)
    gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=desk.limits.max_bytes,
        allowed_paths=[],
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(gradio),
        css=render("serve.css.j2", {}),
    )


def _theme(gradio: Any) -> Any:
    """Return a theme with the system's own type, so that none is fetched."""
    return gradio.themes.Base(
        primary_hue="blue",
        font=["system-ui", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def _blocks(gradio: Any, predictor: Predictor, desk: Desk, judge: Handler, faces: bool) -> Any:
    """Lay the page out."""
    limits, card = desk.limits, predictor.card
    with gradio.Blocks(title=f"faceproof: {card['name']}", analytics_enabled=False) as blocks:
        gradio.HTML(render("serve_head.html.j2", {}, card=card, limits=limits))
        with gradio.Row():
            with gradio.Column(min_width=300):
                with gradio.Tab("Image or video"):
                    file = gradio.File(
                        label="Drop an image or a video here", file_types=["image", "video"]
                    )
                with gradio.Tab("Camera"):
                    camera = gradio.Image(
                        label="Take an image",
                        sources=["webcam"],
                        type="filepath",
                        webcam_options=gradio.WebcamOptions(mirror=False, constraints=CAMERA),
                    )
                config = []
                if faces:
                    words = {"label": FIND_FACES, "info": FIND_INFO, "elem_classes": "fp-wish"}
                    config.append(gradio.Checkbox(**words))
            with gradio.Column(min_width=300):
                answer = gradio.HTML(
                    render("answer.html.j2", FILTERS, problem=None, waiting=True), elem_id="answer"
                )
        with gradio.Accordion("The detector's card", open=False):
            gradio.Markdown(model_card(card, "DIR"))
        for component, event in ((file, file.upload), (camera, camera.input)):
            _keep_to_uploads(component)
            event(
                judge,
                inputs=[component, *config],
                outputs=[answer, component],
                api_visibility="private",
                concurrency_limit=limits.concurrency + limits.queue,
                show_progress="minimal",
                show_progress_on=answer,
            )
    blocks.upload_file_set = Forgetful()
    blocks.queue(api_open=False, max_size=limits.concurrency + limits.queue)
    return blocks


def _keep_to_uploads(component: Any) -> None:
    """Hand an upload's path on as it is: nothing is fetched from an address, decoded or copied."""

    async def as_it_is(path: Any) -> str:
        if "://" in str(path):
            raise ValueError("only uploads are taken, no addresses")
        return str(path)

    def path_of(payload: Any) -> str | None:
        return None if payload is None else str(payload.path)

    component.async_move_resource_to_block_cache = as_it_is
    component.preprocess = path_of
