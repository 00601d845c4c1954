"""Write a page, its numbers and its plots into one folder, alike for every command."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from faceproof.io.atomic import write_text
from faceproof.reports.plots import save_png


def write_page(
    folder: Path,
    name: str,
    page: str,
    numbers: Mapping[str, Any],
    plots: Mapping[str, Figure] | None = None,
) -> Path:
    """Write `<name>.html`, `<name>.json` and a PNG for each plot.

    Args:
        folder: where they go; it is made if it is not there.
        name: of page and numbers.
        page: the HTML.
        numbers: plain values; what is undefined is None.
        plots: by file name, without suffix.

    Returns:
        The page.

    Raises:
        CannotWriteError: the disk is full or cannot be written to.
    """
    for plot, figure in (plots or {}).items():
        save_png(figure, folder / f"{plot}.png")
    text = json.dumps(numbers, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(folder / f"{name}.json", text + "\n")
    write_text(folder / f"{name}.html", page)
    return folder / f"{name}.html"
