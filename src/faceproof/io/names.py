"""Names of files that are one name although their bytes differ: é may be one character or two.

macOS and its archives write letters with accents decomposed (Unicode's NFD), most others composed
(NFC). Linux takes them for two names, so that a list, or what a user types, names no file.
"""

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

# How the names of files of tables end.
CSV_SUFFIXES = (".csv", ".tsv")
JSON_SUFFIXES = (".json",)
LINES_SUFFIXES = (".jsonl", ".ndjson")


def composed(name: str) -> str:
    """Return a name with its accents composed, under which both forms of it are equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def folded(word: str) -> str:
    """Return a word in the form in which its spellings in any case and any form are equal."""
    return composed(composed(word).casefold())


def as_on_disk(path: str) -> str:
    """Return a path as its folders hold it, where they hold it in another form.

    A path that is there, or that is in no form there, is returned as it is.
    """
    if path.isascii() or os.path.lexists(path):
        return path
    head, name = os.path.split(path)
    if not name:
        return path
    folder = as_on_disk(head) if head else head
    try:
        names = _other_forms(folder or ".", os.stat(folder or ".").st_mtime_ns)
    except OSError:  # whoever reads the file says why it cannot be read
        names = {}
    return os.path.join(folder, names.get(composed(name), name))  # noqa: PTH118


@lru_cache(maxsize=8)
def _other_forms(folder: str, changed: int) -> dict[str, str]:
    """Return the names in a folder, by their composed form; `changed` is when it last was."""
    names = os.listdir(folder)  # noqa: PTH208
    return {composed(name): name for name in sorted(names) if not name.isascii()}


def is_hub_place(path: str | Path) -> bool:
    """Say whether a path is meant for a detector on the hub; as a path it has lost a slash."""
    return str(path).startswith("hf:/")
