"""Numbers on the command line of this room's commands."""

import argparse

MAX_SEED = 2**32 - 1  # the largest that numpy and scikit-learn both take


def count(word: str) -> int:
    """Return a number of images."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no count")
    return int(word)


def seed(word: str) -> int:
    """Return the seed of what is drawn."""
    if not word.isdecimal() or int(word) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"{word!r} is no seed; give a number from 0 to {MAX_SEED}")
    return int(word)
