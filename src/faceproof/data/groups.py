"""What belongs together: rows that share a person or a video, directly or through other rows.

`data.groups` names keys, such as `[source_video, identity]`. Each key has values in each row: the
word that the layout line's placeholder of that name matches (of a table: the cell of that column),
or what a pattern finds in it; or, for a key of `names.KEYS` that is neither, what the names of
files of known data sets say. Rows that share a value are connected, and so are those of one group.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceproof.data.names import KEYS, credible_values
from faceproof.errors import FaceproofError
from faceproof.settings import Rule, SettingError

Groups = Mapping[str, str | None]  # keys, and the pattern of their values; None for the whole word
GroupSettings = Sequence[str] | Mapping[str, str | None] | None  # as they are set
KEYS_OF_GROUPS = Rule(
    lambda value: isinstance(value, Mapping) or (
        isinstance(value, Sequence) and all(isinstance(key, str) for key in value)
        and not isinstance(value, str)
    ),
    "a list of keys, or keys and the patterns of their values",
)  # fmt: skip


def check_groups(groups: Sequence[str] | Mapping[str, str | None] | None) -> Groups:
    """Return `data.groups`, a list of keys or a mapping, as a mapping; refuse what is none."""
    named = groups if isinstance(groups, Mapping) else dict.fromkeys(groups or ())
    for key, pattern in named.items():
        if not (isinstance(key, str) and key.isidentifier()):
            raise SettingError("groups", f"has {key!r}, which is no name of a key")
        if pattern is None:
            continue
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise SettingError(
                f"groups.{key}", f"= {pattern!r} must be a regular expression ({error})"
            ) from error
    return named


def values_by_row(
    groups: Groups, words: Mapping[str, Sequence[str | None]], paths: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the values of all keys in each row, such as `identity=id7`; in lower case.

    Args:
        groups: see `check_groups`.
        words: of those keys that the layout line or the table has, the word in each row.
        paths: of the images, relative to the data set's root.

    Raises:
        FaceproofError: a key is neither in `words` nor one that names of files tell.
    """
    found: list[list[str]] = [[] for _ in paths]
    named = [key for key in groups if key not in words]
    for key in named:
        if key not in KEYS or groups[key] is not None:
            there = ", ".join(words) or "none"
            raise FaceproofError(
                f"data.groups names {key}, which is not there; found {there}. Add {{{key}}} to "
                f"data.layout (a column {key} to a table). Without either, {' and '.join(KEYS)} "
                "are read from the names of files of known data sets"
            )
    for key, column in words.items():
        for row, word in zip(found, column, strict=True):
            row += [f"{key}={value}" for value in _values(word, groups[key])]
    if named:
        for row, values in zip(found, credible_values(paths, trusted=True), strict=True):
            row += [f"{one.key}={one.name}" for one in values if one.key in named]
    return [tuple(dict.fromkeys(row)) for row in found]


def _values(word: str | None, pattern: str | None) -> list[str]:
    """Return what a pattern finds in a word: each match, or each group of each match."""
    if word is None:
        return []
    word = word.lower()
    if pattern is None:
        return [word]
    matches = re.findall(pattern, word, re.IGNORECASE)
    return [part for one in matches for part in ([one] if isinstance(one, str) else one) if part]


def components(rows: Sequence[Sequence[str]]) -> list[str | None]:
    """Return for each row the component that its values connect it to, None for one without.

    Two rows that share a value are of one component, and so are those that a third connects. A
    component is named by the first of its values in alphabetical order, so that neither the order
    of rows nor images that are added change it, unless they connect it to another.
    """
    numbers = {value: n for n, value in enumerate(sorted({v for row in rows for v in row}))}
    if not numbers:
        return [None] * len(rows)
    firsts = [numbers[row[0]] for row in rows for _ in row]
    others = [numbers[value] for row in rows for value in row]
    edges = coo_array((np.ones(len(firsts), bool), (firsts, others)), [len(numbers)] * 2)
    _, labels = connected_components(edges, directed=False)
    _, first = np.unique(labels, return_index=True)  # values are sorted: the first names it
    names = list(numbers)
    return [names[first[labels[numbers[row[0]]]]] if row else None for row in rows]
