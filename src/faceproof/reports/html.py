"""Pages that stand alone: one HTML file with its style, drawings and images inside."""

import base64
import io
from collections.abc import Callable
from typing import Any

import jinja2
from PIL import Image


def render(template: str, filters: dict[str, Callable[..., Any]], **values: Any) -> str:
    """Fill a template of this folder; every value is escaped unless the template says otherwise."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("faceproof.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)


def image_url(image: Image.Image, quality: int = 80) -> str:
    """Return an RGB image as a data URL, in JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
