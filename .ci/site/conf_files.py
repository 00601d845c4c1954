"""The files of conf/: their values, and what their comments say."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from faceproof.settings import join

CONF = Path(__file__).parents[2] / "conf"


def written(file: Path) -> dict[str, Any]:
    """Return the values of a file of conf/, by dotted name, over those that it starts from."""
    held = yaml.safe_load(file.read_text("utf-8")) or {}
    above = [name for name in held.pop("defaults", []) if isinstance(name, str) and "@" not in name]
    values: dict[str, Any] = {}
    for name in above:
        if (beside := file.with_name(f"{name}.yaml")).is_file():
            values |= written(beside)
    return values | dict(flat(held))


def flat(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names of settings that are no mapping, or an empty one, and the values."""
    for key, value in values.items():
        name = join(where, str(key))
        if isinstance(value, Mapping) and value:
            yield from flat(value, name)
        else:
            yield name, value


def comments(file: Path) -> dict[str, str]:
    """Return what stands behind each key of a file; a comment may go on in lines of its own."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    last = None
    for line in file.read_text("utf-8").splitlines():
        key = re.match(r"( *)([\w.]+):", line)
        note = re.search(r"(?:^|\s)# (.*)$", line)
        if key:
            above = [one for one in above if one[0] < len(key[1])] + [(len(key[1]), key[2])]
            last = ".".join(name for _, name in above)
            if note:
                found[last] = note[1]
        elif note and last in found and re.match(r"\s+#", line):
            found[last] += " " + note[1].strip()
        else:
            last = None
    return found


def header(file: Path) -> str:
    """Return the sentences at the top of a file, up to the line that shows a path or a command."""
    lines = []
    for line in file.read_text("utf-8").removeprefix("# @package _global_\n").splitlines():
        if not line.startswith("# ") or line.startswith("#   "):
            break
        lines.append(line[2:])
    return " ".join(lines)
