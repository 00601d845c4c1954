"""What is said where folders do not fit a layout: all words at once, and a root that would fit."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.words import meaning, override

DEEPEST = 3  # folders below the root that are tried as roots
NUM_NAMED = 20  # folder words that a message names

Words = Sequence[str]  # of a path, relative to the root


def deeper_root(paths: Collection[Words], fits: Callable[[list[Words]], bool]) -> str:
    """Return the folder below the root that most images lie in and that fits; empty if none does.

    Args:
        paths: of all images.
        fits: whether images, relative to another root, say what they are.
    """
    for depth in range(1, DEEPEST + 1):
        folders = Counter(tuple(path[:depth]) for path in paths if len(path) > depth)
        for folder, number in folders.most_common(NUM_NAMED):
            inside = [path[depth:] for path in paths if tuple(path[:depth]) == folder]
            if 2 * number >= len(paths) and fits(inside):
                return "/".join(folder)
    return ""


def did_you_mean(root: Path, folder: str) -> str:
    """Return the question whether another folder was meant as root."""
    return f"did you mean {override('data.root', f'{root.as_posix()}/{folder}')}?"


def unknown_words(
    unknown: Mapping[str, Mapping[str, str]],
    known: Mapping[str, Mapping[str, str | None]],
    trees: str,
    other_root: str,
) -> FaceproofError:
    """Return the error for folder words without a meaning, all of them at once.

    Args:
        unknown: by placeholder (label, split) the words, and the first path with each.
        known: by placeholder the words with a meaning.
        trees: the expected folders and those found.
        other_root: the question whether another folder was meant as root, or empty.
    """
    parts = [_told(name, words, known[name]) for name, words in unknown.items()]
    advice = other_root or f"{_advice(unknown, known)}, or set data.layout"
    return FaceproofError(f"{'; '.join(parts)}\n{trees}\n{advice}")


def _told(name: str, words: Mapping[str, str], known: Iterable[str]) -> str:
    first = [f"{word!r} (in {path})" for word, path in list(words.items())[:NUM_NAMED]]
    more = f" and {len(words) - len(first):,} more" if len(words) > len(first) else ""
    one = len(words) == 1
    return (
        f"the folder word{'' if one else 's'} {', '.join(first)}{more} "
        f"{'is no ' + name if one else 'are no ' + name + 's'} that data.{name}s knows: "
        f"{', '.join(known) or 'it is empty'}"
    )


def _advice(
    unknown: Mapping[str, Mapping[str, str]], known: Mapping[str, Mapping[str, str | None]]
) -> str:
    """Say what to add to the command."""
    lines = []
    for name, words in unknown.items():
        given = " ".join(meaning(f"data.{name}s", w, "NAME") for w in list(words)[:NUM_NAMED])
        names = dict.fromkeys(one for one in known[name].values() if one)
        choices = ", ".join([*names, *(["auto"] if name == "split" else [])])
        it = "the folder" if len(words) == 1 else "a folder"
        lines.append(f"{given} (NAME is one of {choices}, or null to leave {it} out)")
    return f"add to the command: {'; '.join(lines)}"
