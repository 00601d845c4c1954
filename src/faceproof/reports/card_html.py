"""A model card as HTML, for the pages of a detector; takes `markdown-it-py`."""

from markdown_it import MarkdownIt
from markupsafe import Markup


def card_html(text: str) -> Markup:
    """Return a model card, which is Markdown, as HTML; raw HTML and images in it stay text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(reader.render(text))
