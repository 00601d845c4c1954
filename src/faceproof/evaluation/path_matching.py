"""The same images in two tables, whose paths may start from different folders."""

import posixpath
from collections.abc import Sequence
from pathlib import Path


def match_paths(
    paths: Sequence[str], folder: Path, others: Sequence[str], other_folder: Path
) -> list[int | None]:
    """Return for each path the place of the same image among others, or None.

    Paths are compared as they are written or, where that finds more, as absolute ones that start
    from the folder of their table.
    """
    found: list[list[int | None]] = []
    for here, there in ((None, None), (folder, other_folder)):
        places = {key: row for row, key in enumerate(_keys(others, there))}
        found.append([places.get(key) for key in _keys(paths, here)])
    as_written, absolute = found
    return as_written if as_written.count(None) <= absolute.count(None) else absolute


def _keys(paths: Sequence[str], folder: Path | None) -> list[str]:
    plain = [path.strip().replace("\\", "/") for path in paths]
    if folder is None:
        return plain
    start = folder.absolute().as_posix()
    return [posixpath.normpath(posixpath.join(start, path)) for path in plain]
