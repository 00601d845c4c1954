"""What the builder of the documentation site does not do; `.ci/docs` calls it.

    python .ci/site gather build/pages    the pages of docs/, and those that the code makes
    python .ci/site finish build/site     nothing in the site is fetched from elsewhere

The reference of settings, of commands and of the Python API are made from the dataclasses, the
command line and `faceproof.__all__`, so that no page repeats by hand what the code says.
"""

import re
import shutil
import sys
from pathlib import Path

from api_page import api_page
from commands_page import commands_page
from settings_page import settings_page

REPOSITORY = Path(__file__).parents[2]
# What the plugin `offline` has pages fetch, to search in pages that are opened as files.
SHIM = re.compile(r"""<script src=["']?https://unpkg\.com/iframe-worker/shim["']?[^>]*></script>""")
FETCHED = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*src=["']?(?:https?:)?//[^>]*>"""
                     r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|icon|preload|preconnect))"""
                     r"""[^>]*href=["']?(?:https?:)?//[^>]*>""")  # fmt: skip


def experiments_page() -> str:
    """Return the table of experiments, with its links as they are from docs/."""
    text = (REPOSITORY / "experiments" / "README.md").read_text("utf-8")
    return text.replace("](../docs/", "](")


def of_the_site(text: str) -> str:
    """Return a page of docs/ with links to experiments/ led to the site's own page of them."""
    return text.replace("../experiments/README.md", "experiments.md")


def made_pages() -> dict[str, str]:
    """Return the pages that are made from the code, by their place in the site."""
    return {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "reference/api.md": api_page(),
        "experiments.md": experiments_page(),
    }


def gather(folder: Path) -> None:
    """Write all pages into a folder, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(REPOSITORY / "docs", folder)
    for page in folder.rglob("*.md"):
        page.write_text(of_the_site(page.read_text("utf-8")), "utf-8")
    for name, text in made_pages().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def finish(folder: Path) -> None:
    """Take out what pages would fetch for the search, and refuse what is fetched all the same."""
    for page in folder.rglob("*.html"):
        text = SHIM.sub("", page.read_text("utf-8"))
        if found := FETCHED.search(text):
            sys.exit(f"error: {page} would fetch {found[0]}")
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    {"gather": gather, "finish": finish}[sys.argv[1]](Path(sys.argv[2]))
