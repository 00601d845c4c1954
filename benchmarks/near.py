"""Near-duplicates: every evaluated image against every one that a run has seen, by their hashes."""

import time

import numpy as np

from faceproof.audit.seen import find_near


def measure_near(number: int) -> dict[str, object]:
    """Return the seconds in which `number` hashes are compared with as many known ones.

    The hashes are random, but for one of a hundred, which differs from a known one in three bits.
    """
    draw = np.random.default_rng(0)
    known, hashes = draw.integers(0, 2**16, (2, number, 16), np.uint16)
    copied = max(number // 100, 1)
    hashes[:copied] = known[:copied]
    hashes[:copied, 0] ^= 0b111
    labels = np.zeros(number, np.int64)
    began = time.perf_counter()
    place, _ = find_near(hashes, known, labels, labels)
    seconds = time.perf_counter() - began
    return {
        "images": number,
        "known": number,
        "s": seconds,
        "pairs/s": number**2 / seconds,
        "copies": copied,
        "found": int((place >= 0).sum()),
    }
