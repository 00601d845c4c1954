"""Pages that stand alone: one HTML file with its style, drawings and images inside."""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from faceproof.io.atomic import write_json, write_text
from faceproof.reports.numbers import FILTERS
from faceproof.reports.plots import save_png


def render(template: str, **values: Any) -> str:
    """Fill a template of this folder; every value is escaped unless the template says otherwise."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("faceproof.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS, contents=contents)
    return environment.get_template(template).render(values)


def contents(page: str) -> list[tuple[str, Markup]]:
    """Return the id and the heading of each section of a page, for its list of contents."""
    found = re.findall(r'<section id="([\w-]+)"[^>]*>\s*<h2>(.+?)</h2>', page)
    return [(name, Markup(heading)) for name, heading in found]


def write_page(
    folder: Path, name: str, page: str, numbers: Any, plots: Mapping[str, Figure] | None = None
) -> Path:
    """Write `<name>.html`, `<name>.json` and a PNG for each plot into a folder; return the page.

    `numbers` are plain values, None what is undefined; `plots` go by file name without suffix.

    Raises:
        CannotWriteError: the disk is full or cannot be written to.
    """
    for plot, figure in (plots or {}).items():
        save_png(figure, folder / f"{plot}.png")
    write_json(folder / f"{name}.json", numbers)
    write_text(folder / f"{name}.html", page)
    return folder / f"{name}.html"


def image_url(image: Image.Image, quality: int = 80) -> str:
    """Return an RGB image as a data URL, in JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
