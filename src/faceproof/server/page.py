"""The page of a detector: one template, two scripts and one style sheet over the HTTP API."""

from importlib.resources import files

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from markupsafe import Markup

from faceproof.artifact.model_card import model_card
from faceproof.reports.html import render
from faceproof.server.answers import Judge

STATIC = {"page.js": "text/javascript", "answer.js": "text/javascript", "page.css": "text/css"}


def add_static(app: FastAPI) -> None:
    """Add scripts and styles at /static, each a route of its own: no path of a client is opened."""
    for name, kind in STATIC.items():
        content = files("faceproof.server").joinpath("static", name).read_bytes()
        _add(app, f"/static/{name}", Response(content, media_type=kind))


def add_page(app: FastAPI, judge: Judge) -> None:
    """Add the page at /."""
    _add(app, "/", HTMLResponse(render_page(judge)))


def _add(app: FastAPI, path: str, answer: Response) -> None:
    """Add a route that always gives the same answer."""

    async def respond() -> Response:
        return answer

    app.add_api_route(path, respond, include_in_schema=False, response_model=None)


def render_page(judge: Judge) -> str:
    """Return the page as HTML."""
    predictor, limits = judge.predictor, judge.limits
    point = predictor.scorer.point
    settings = {
        "positive": predictor.task.positive,
        "negative": predictor.task.classes[0],
        "unsure": list(point.unsure),
        "max_megabytes": limits.max_megabytes,
        "map_problem": judge.maps.problem,
    }
    return render(
        "page.html.j2",
        card=predictor.card,
        limits=limits,
        find_faces=judge.options is not None,
        settings=settings,
        card_html=card_html(model_card(predictor.card, "DIR")),
    )


def card_html(text: str) -> Markup:
    """Return a model card, which is Markdown, as HTML; raw HTML and images in it stay text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(reader.render(text))
