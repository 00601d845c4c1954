"""An explanation as a page, its numbers and its plots in one folder.

<folder>/
  explanation.html   the page, complete in itself
  explanation.json   what the detector said of each image, and every measure of the maps
  plots/*.png        one for each image, and the curves
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from faceproof.data.image_io import Pixels
from faceproof.explain.explanation_results import MAX_SIMILARITY, Explained, Explanation, Map
from faceproof.reports.gallery import (
    NAMES,
    map_pixels,
    overlay_pixels,
    strip,
    to_pixels,
    verdict_words,
)
from faceproof.reports.html import image_url, render, write_page
from faceproof.reports.plots import plot_html
from faceproof.reports.trust_report import draw_trust, trust_sentences, trust_tables
from faceproof.task import Task

SHOWN_SIDE = 224  # pixels; smaller images are enlarged
REMOVED_AS = {
    "blur": "its blurred self (a Gaussian of an eighth of the side)",
    "mean": "the image's mean colour",
}


def write_explanation(folder: Path, found: Explanation) -> Path:
    """Write page, numbers and plots into a folder, and return the page."""
    plots = {} if found.trust is None else draw_trust(found.trust)
    files = {f"plots/{name}": figure for name, figure in plots.items()}
    for name, one in zip(found.plot_names, found.images, strict=True):
        files[name] = strip(one, found.task)
    page = explanation_page(found, plots)
    return write_page(folder, "explanation", page, found.to_json(), files)


def explanation_page(found: Explanation, plots: dict[str, Figure]) -> str:
    """Return the page; `plots` are those of `trust_report.draw_trust`."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for one in found.images:
        sections.setdefault(one.section, []).append(_shown(one, found.task))
    trust = found.trust
    return render(
        "explain.html.j2",
        found=found,
        sections=sections,
        removed_as=REMOVED_AS[found.config.removal],
        tables=[] if trust is None else trust_tables(trust),
        sentences=[] if trust is None else trust_sentences(trust),
        plots={name: plot_html(figure) for name, figure in plots.items()},
        effort=found.config.effort,
        limit=MAX_SIMILARITY,
    )


def _shown(one: Explained, task: Task) -> dict[str, Any]:
    return {
        "name": Path(one.path).name,
        "path": one.path,
        "verdict": verdict_words(one, task),
        "image": _data_url(to_pixels(one.image)),
        "maps": [(NAMES[name], *_drawn(one.image, of, name)) for name, of in one.maps.items()],
    }


def _drawn(image: Map, values: Map, method: str) -> tuple[str, str]:
    """Return a map laid over its image, and alone."""
    return _data_url(overlay_pixels(image, values, method)), _data_url(map_pixels(values, method))


def _data_url(pixels: Pixels) -> str:
    """Return pixels (S, S, 3) as a data URL; a small image is enlarged without smoothing."""
    image = Image.fromarray(pixels)
    factor = -(-SHOWN_SIDE // image.width)
    size = image.width * factor, image.height * factor
    return image_url(image.resize(size, Image.Resampling.NEAREST), quality=88)
