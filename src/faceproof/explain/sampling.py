"""Draw the images that a command measures, and read them in several threads."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa

from faceproof.errors import FaceproofError
from faceproof.evaluation.groups import unit_codes
from faceproof.io.progress import progress

CHUNK = 256  # images whose results are held at once
UNLABELLED = "unlabelled"
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, ITU-R BT.601

Result = TypeVar("Result")


def class_names(rows: pa.Table) -> list[str]:
    """Return the class name of every row of an image table, or `unlabelled`."""
    return [label or UNLABELLED for label in rows["label"].to_pylist()]


def draw_sample(rows: pa.Table, num: int | None, seed: int) -> pa.Table:
    """Draw `num` rows of an image table at random, stratified by class; None draws all.

    The draw is a function of the seed and the images' names, so that adding images to a data set
    changes few others. Rows come class by class, and within a class in the order of the draw.

    Raises:
        FaceproofError: `num` is less than one for each class.
    """
    classes = np.array(class_names(rows))
    names, totals = np.unique(classes, return_counts=True)
    if num is not None and num < len(names):
        raise FaceproofError(
            f"a sample of {num} cannot hold an image of each class ({', '.join(names)}); "
            f"set --sample to {len(names)} at least"
        )
    keys = np.array([_key(path, seed) for path in rows["path"].to_pylist()])
    members = [np.flatnonzero(classes == name) for name in names]
    shares = _shares(totals, num)
    chosen = [of[np.argsort(keys[of])][:share] for of, share in zip(members, shares, strict=True)]
    return rows.take(pa.array(np.concatenate(chosen)))


def sample_rows(rows: pa.Table, number: int, seed: int) -> pa.Table:
    """Draw images that are independent of each other: at most one of a unit (a video, say).

    For units see `groups.unit_codes`.
    """
    if not rows.num_rows:
        return rows
    drawn = draw_sample(rows, None, seed)
    _, first = np.unique(unit_codes(drawn), return_index=True)
    return draw_sample(drawn.take(pa.array(np.sort(first))), number, seed)


def _key(path: str, seed: int) -> bytes:
    # Only the last parts of the path count, so that moving the data set changes nothing.
    name = "/".join(path.split("/")[-3:])
    key = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return key + hashlib.blake2b(path.encode(), digest_size=8).digest()  # breaks ties


def _shares(totals: np.ndarray, num: int | None) -> np.ndarray:
    """Divide `num` in proportion to `totals` by largest remainders, at least one each."""
    if num is None or num >= totals.sum():
        return totals
    exact = totals * num / totals.sum()
    shares: np.ndarray = np.maximum(np.floor(exact).astype(int), 1)
    while shares.sum() < num:
        shares[np.argmax(exact - shares)] += 1
    while shares.sum() > num:
        shares[np.argmin(np.where(shares > 1, exact - shares, np.inf))] -= 1
    return shares


def read_each(paths: list[str], work: Callable[[str], Result], words: str) -> Iterator[Result]:
    """Yield `work(path)` for every file, in order, holding a chunk of results at a time.

    Several threads call `work`, because decoders release Python's lock. `words` label the progress
    bar, which is shown on terminals only.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def results() -> Iterator[Result]:
            for start in range(0, len(paths), CHUNK):
                yield from pool.map(work, paths[start : start + CHUNK])

        yield from progress(results(), words, len(paths))
