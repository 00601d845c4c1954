"""Find videos and people in two splits under several names, though nobody has said what they are.

Two things give them away: names as those of known data sets (`data.names`), and a name that an
image shares with another of another folder, such as `real/7.png` and `fake/7_swapped.png`, where
the two look alike.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa

from faceproof.audit.duplicates import MAX_DISTANCE, fixed_bytes, hamming
from faceproof.data.names import KEYS, credible_values, inner_paths

# Bits in which the hashes of an image and of a forgery made of it differ at most. Of 300 faces with
# others warped onto them half differ in 26 and nine of ten in 42; of 720,000 pairs of different
# images one in ten thousand differs in fewer than 72.
ALIKE = 44
MOST_OF_A_NAME = 16  # rows; a name that more share is counting
# Words that say what was done to an image, and not which image it is.
DONE = re.compile(
    r"^(?:fake|real|orig(?:inal)?|swap(?:ped)?|deepfakes?|df|synth(?:esis|etic)?|manipulated|forged|"
    r"altered|edited|mod(?:ified)?|retouched|src|source|tgt|target|gen(?:erated)?|copy|crop(?:ped)?)$"
)


def named_in_two_splits(
    paths: Sequence[str], splits: Sequence[str]
) -> Iterator[tuple[str, int, int, str]]:
    """Yield for each of `names.KEYS` how many videos or people, by their names, are in two splits.

    Yielded are the key, the number in two splits, the number in all, and the first of those.
    """
    found: dict[str, dict[str, set[str]]] = {key: defaultdict(set) for key in KEYS}
    for row, split in zip(credible_values(inner_paths(paths)), splits, strict=True):
        for value in row:
            found[value.key][value.name].add(split)
    for key, names in found.items():
        if across := sorted(name for name, inside in names.items() if len(inside) > 1):
            yield key, len(across), len(names), across[0]


def counterparts_in_two_splits(
    paths: Sequence[str], splits: Sequence[str], looks: pa.ChunkedArray
) -> list[tuple[str, str]]:
    """Return pairs of images of two splits that share a name and look alike, in order.

    Near-duplicates, which are found without their names, are not among them.
    """
    pairs = sorted(
        {
            pair
            for rows in _namesakes(inner_paths(paths))
            for pair in combinations(sorted(rows), 2)
            if splits[pair[0]] != splits[pair[1]]
        }
    )
    if not pairs:
        return []
    hashes, places = fixed_bytes(looks, 32).view(np.uint16), np.array(pairs)
    bits = hamming(hashes[places[:, 0]], hashes[places[:, 1]])
    alike = places[(bits > MAX_DISTANCE) & (bits <= ALIKE)]
    return [(paths[one], paths[other]) for one, other in alike]


def _namesakes(paths: Sequence[str]) -> Iterable[set[int]]:
    """Return the rows that share a name, each a set of two to `MOST_OF_A_NAME`.

    An image is called by its file's name, alone and with its folder's, and a forgery by those of
    what it was made of too: 7_12 by 7 and by 12.
    """
    called = [_calls(path) for path in paths]
    whole: dict[str, set[int]] = defaultdict(set)
    for row, (names, _) in enumerate(called):
        for name in names:
            whole[name].add(row)
    for row, (_, parts) in enumerate(called):
        for name in parts & whole.keys():
            whole[name].add(row)
    return (rows for rows in whole.values() if 1 < len(rows) <= MOST_OF_A_NAME)


def _calls(path: str) -> tuple[set[str], set[str]]:
    """Return what an image is called by, and what it may have been made of."""
    folders, _, file = path.lower().rpartition("/")
    stem, folder = _words(file.rpartition(".")[0] or file), _words(folders.rpartition("/")[2])
    name = "_".join(stem)
    names = {name, "_".join(folder) + "/" + name} - {"", "/"}
    parts = set(stem) | {f"{word}/{name}" for word in folder}
    return names, parts - names


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name) if word and not DONE.match(word)]
