"""Shows a page of faceproof inside a notebook."""

import html
from dataclasses import dataclass
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.io.plain_files import read_bytes

MAX_PAGE = 50_000_000  # bytes
REPORT = "report.html"


@dataclass(frozen=True)
class Page:
    """A page in one file; as the last value of a notebook's cell it is shown there.

    Attributes:
        file: the page.
        height: of the frame that it is shown in, in pixels.

    Examples:
        >>> from pathlib import Path
        >>> import faceproof as fp
        >>> file = Path("page.html")
        >>> _ = file.write_text("<h1>A page</h1>")
        >>> "&lt;h1&gt;A page" in fp.Page(file)._repr_html_()
        True
    """

    file: Path
    height: int = 600

    def _repr_html_(self) -> str:
        """Return a frame with the page in it, whose styles and the notebook's do not mix.

        The frame runs no scripts: the page may be a stranger's.
        """
        page = html.escape(read_bytes(self.file, MAX_PAGE).decode("utf-8", "replace"))
        style = f"width: 100%; height: {self.height}px; border: 1px solid #8888"
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-popups" style="{style}" '
            f'title="{html.escape(self.file.name)}"></iframe>'
        )


def show_report(folder: str | Path, height: int = 600) -> Page:
    """Return a report for the last line of a notebook's cell, which shows it.

    Args:
        folder: of a run, whose newest evaluation is meant; of an evaluation; or of what `faceproof
            report`, `compare` or `audit` have written.
        height: of the frame that it is shown in, in pixels.

    Raises:
        FaceproofError: there is no page in the folder.

    Examples:
        >>> from pathlib import Path
        >>> import faceproof as fp
        >>> _ = Path("report.html").write_text("<h1>A report</h1>")
        >>> fp.show_report(".", height=300).height
        300
    """
    place = Path(folder)
    if (own := place / REPORT).is_file():
        return Page(own, height)
    is_run = (place / "record.json").is_file()  # whose other page is the audit
    pages = [*place.glob(f"evaluations/*/{REPORT}")]
    pages = pages or ([] if is_run else [*place.glob("*.html")])
    if not pages:
        raise FaceproofError(
            f"{place} has no report: write one by faceproof evaluate run={place}, or name the "
            "folder of an evaluation"
        )
    return Page(max(pages, key=lambda page: page.stat().st_mtime_ns), height)
