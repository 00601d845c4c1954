"""The same images in two tables, whose paths may start from different folders."""

import posixpath
from collections.abc import Sequence
from pathlib import Path

NUM_LOOKED_AT = 100  # paths of each table, to see whether its files are there


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


def shared_paths(
    paths: Sequence[str], folder: Path, others: Sequence[str], other_folder: Path
) -> list[str]:
    """Return the paths of images that are among others too.

    Paths are compared as absolute ones that start from the folder of their table, if files of
    either table are there; else as they are written as well, for the tables may have been moved.
    """
    ours, theirs = _keys(paths, folder), _keys(others, other_folder)
    known = {*theirs}
    shared = {path for path, key in zip(paths, ours, strict=True) if key in known}
    looked_at = (*ours[:NUM_LOOKED_AT], *theirs[:NUM_LOOKED_AT])
    if not any(Path(key).is_file() for key in looked_at):
        written = {*_keys(others, None)}
        shared |= {
            path for path, key in zip(paths, _keys(paths, None), strict=True) if key in written
        }
    return [path for path in paths if path in shared]


def _keys(paths: Sequence[str], folder: Path | None) -> list[str]:
    plain = [path.strip().replace("\\", "/") for path in paths]
    if folder is None:
        return plain
    start = folder.absolute().as_posix()
    return [posixpath.normpath(posixpath.join(start, path)) for path in plain]
