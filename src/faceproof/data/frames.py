"""Chooses a few evenly spaced frames of each video in an image table."""

import re

import numpy as np
import pyarrow as pa

from faceproof.errors import FaceproofError


def evenly_spaced(rows: pa.Table, num: int) -> pa.Table:
    """Return at most `num` rows of each group, evenly spaced; rows without a group all stay.

    A group is ordered by its file names, in which numbers count by their value. It is divided into
    `num` equal stretches, and the middle row of each is taken.

    Raises:
        FaceproofError: `num` is below 1.
    """
    if num < 1:
        raise FaceproofError(f"frames={num} must be at least 1")
    members: dict[str, list[int]] = {}
    for row, group in enumerate(rows["group"].to_pylist()):
        if group is not None:
            members.setdefault(group, []).append(row)
    paths = rows["path"].to_pylist()
    left_out = np.zeros(rows.num_rows, dtype=bool)
    for inside in members.values():
        if len(inside) > num:
            inside.sort(key=lambda row: _natural(paths[row]))
            chosen = ((np.arange(num) + 0.5) * len(inside) / num).astype(int)
            left_out[inside] = True
            left_out[np.array(inside)[chosen]] = False
    return rows.filter(pa.array(~left_out))


def _natural(path: str) -> list[tuple[int, str]]:
    """Return a sort key in which the numbers of a name count by their value."""
    parts = re.split(r"(\d+)", path)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
