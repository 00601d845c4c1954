"""The audit of a data set as lines for the terminal, and as a page with the pairs found."""

from pathlib import Path

from PIL import Image

from faceproof.audit.audit import Audit
from faceproof.data.image_io import UnreadableImageError
from faceproof.reports.html import image_url, render, write_page
from faceproof.reports.image_grid import small_copy

MAX_SHOWN = 100  # pairs on the page


def write_audit(audit: Audit, folder: Path) -> Path:
    """Write `audit.json` and `audit.html` into a folder, and return the page."""
    return write_page(folder, "audit", audit_page(audit), audit.to_json())


def audit_page(audit: Audit) -> str:
    """Return the page of an audit, with the most serious pairs as images."""
    shown = audit.pairs[:MAX_SHOWN]
    return render(
        "audit.html.j2",
        audit=audit,
        verdict=verdict(audit),
        labels=list(dict.fromkeys(label for row in audit.balance.values() for label in row)),
        pairs=[(pair, _thumbnail(pair.first), _thumbnail(pair.second)) for pair in shown],
    )


def _thumbnail(path: str) -> str | None:
    """Return a small copy of an image as a data URL; None for a file that has changed meanwhile."""
    try:
        return image_url(Image.fromarray(small_copy(path)))
    except UnreadableImageError:
        return None


def verdict(audit: Audit) -> str:
    """Say in one line whether the data set can be trained on."""
    if audit.leaks:
        return "LEAK: the same images are in several splits, so metrics on them would be too good"
    if audit.clear:
        return "clear: nothing was found that would distort its metrics"
    if any(finding.kind.startswith("shortcut: ") for finding in audit.findings):
        return "SHORTCUT: the files give the class away; metrics may say nothing about faces"
    return "warnings: mend what is named, or keep it in mind when you read its metrics"


def describe(audit: Audit) -> str:
    """Return the findings, a line each."""
    return "\n".join(map(str, audit.findings)) or "nothing was found"
