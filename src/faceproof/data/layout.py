"""Turns a folder tree into the columns of an image table, by a layout line.

A layout line such as `Dataset/{split}/{label}/*` says what each folder name of a path means.
`{split}`, `{label}`, `{generator}`, `{group}` and `{pair}` match one folder name (or part of one,
as in `{label}-{generator}/**`), `*` any text within one name, and `**` any number of folders and
the file in the last of them. Everything else must match as written, in any case. Further
placeholders, such as `{identity}`, are those that `data.groups` names.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from faceproof.data.kinds import (
    FOLDER,
    IMAGE,
    NOT_IMAGES,
    OWN_OUTPUT,
    LeftOut,
    is_own_output,
    kind_of,
)
from faceproof.data.misplaced import deeper_root, did_you_mean, unknown_words
from faceproof.data.unread import warn_of_unread_words
from faceproof.errors import FaceproofError
from faceproof.io.left_behind import is_left_behind_folder
from faceproof.io.names import composed, folded

PLACEHOLDERS = ("split", "label", "generator", "group", "pair")
# Folder words that mean a split wherever the settings do not say otherwise.
USUAL_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TREE_LINES = 16
MAX_WAYS = 100  # to one folder, by links

Words = Mapping[str, str | None]  # what a folder word means

log = logging.getLogger(__name__)


def layout_pattern(layout: str, keys: Collection[str] = ()) -> re.Pattern[str]:
    """Compile a layout line to a pattern over paths relative to the root, `/` between words.

    `keys` are the placeholders that it may have besides `PLACEHOLDERS`.

    It matches paths whose accents are composed; see `io.names`.
    """
    names = re.findall(r"\{(.*?)\}", layout)
    known = dict.fromkeys((*PLACEHOLDERS, *keys))
    if bad := [n for n in names if n not in known or names.count(n) > 1]:
        raise FaceproofError(
            f"data.layout = {layout!r} has {{{bad[0]}}}; it may have "
            f"{', '.join(f'{{{name}}}' for name in known)}, once each, and others that data.groups "
            "names"
        )
    parts = re.split(r"(\*\*/?|\*|\{.*?\})", composed(layout).strip("/"))
    pattern = "".join(_part_pattern(part) for part in parts)
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)  # a name may hold a line break


def _part_pattern(part: str) -> str:
    if part.startswith("{"):
        return f"(?P<{part[1:-1]}>[^/]+?)"
    return {"**": ".+", "**/": "(?:.+/)?", "*": "[^/]*"}.get(part, re.escape(part))


def walk_files(
    root: Path, kinds: Sequence[str] = (IMAGE,), left_out: LeftOut | None = None
) -> Iterator[str]:
    """Yield the files of some kinds below `root`, relative to it.

    Links are followed, so that a folder with several ways to it is listed by each; only one that
    lies in itself ends there. `left_out` counts the other files, and the folders that were not
    looked into.

    Raises:
        FaceproofError: a folder cannot be listed, or links lead to one by more than `MAX_WAYS`.
    """
    left_out = LeftOut() if left_out is None else left_out
    above: dict[str, set[tuple[int, int]]] = {}  # what lies above each folder that is to be listed
    ways: Counter[tuple[int, int]] = Counter()
    for folder, subfolders, files in os.walk(root, onerror=_refuse_folder, followlinks=True):
        status = os.stat(folder)
        place, inside = (status.st_dev, status.st_ino), above.pop(folder, set())
        if place in inside:  # a link that leads back
            subfolders.clear()
            continue
        ways[place] += 1
        if ways[place] > MAX_WAYS:
            raise FaceproofError(
                f"links lead to the folder {folder} by more than {MAX_WAYS} ways; remove those "
                "that lead round in circles"
            )
        prefix = "" if (relative := os.path.relpath(folder, root)) == "." else relative + os.sep
        if prefix and is_own_output(files):
            left_out.add(OWN_OUTPUT, prefix.rstrip(os.sep))
            subfolders.clear()
            continue
        for name in sorted(filter(is_left_behind_folder, subfolders)):
            left_out.add(FOLDER, prefix + name)
        subfolders[:] = sorted(name for name in subfolders if not is_left_behind_folder(name))
        inside = inside | {place}
        above |= {os.path.join(folder, name): inside for name in subfolders}  # noqa: PTH118
        for name in sorted(files):
            if (kind := kind_of(os.path.join(folder, name))) in kinds:  # noqa: PTH118
                yield (prefix + name).replace(os.sep, "/")
            else:
                left_out.add(kind, prefix + name)


def _refuse_folder(error: OSError) -> None:
    """Refuse a folder that cannot be listed; else its images would be missing silently."""
    raise FaceproofError(
        f"the folder {error.filename} cannot be listed ({error.strerror}); make it readable, or "
        "move it away"
    )


def list_folder(
    root: Path,
    layout: str,
    labels: Words,
    splits: Words,
    generators: Words,
    keys: Collection[str] = (),
    kinds: Sequence[str] = (IMAGE,),
) -> dict[str, list[str | None]]:
    """List the images below `root` as columns: path (relative), and one for each of `PLACEHOLDERS`.

    Each key that the layout line has as a placeholder is a column too, such as `{identity}`.

    Args:
        root: the folder that the layout line starts from.
        layout: the layout line; a group is the path up to the end of its word, so that videos of
            the same name under two manipulations are two groups.
        labels: folder word to class name; null leaves the folder out.
        splits: folder word to split; `auto` divides by the ratios, null leaves the folder out.
        generators: folder word to generator; other words are generators by their own name.
        keys: further placeholders that the layout line may have.
        kinds: of the files, `IMAGE`, `VIDEO` or both.

    Raises:
        FaceproofError: the root is missing or empty, no file fits the layout, or a folder word
            has no meaning. The message shows the expected tree and the one found.
    """
    expected = expected_tree(root, layout, labels, splits)
    check_root(root, expected)
    pattern = layout_pattern(layout, keys)
    words = {"label": _folded(labels), "split": _folded(USUAL_SPLITS | dict(splits))}
    makers = _folded(generators)
    raw = {f"{{{key}}}": key for key in keys if key in pattern.groupindex}
    columns: dict[str, list[str | None]] = {name: [] for name in ("path", *PLACEHOLDERS, *raw)}
    misfits, not_text, left_out = list[str](), list[str](), LeftOut()
    unknown: dict[str, dict[str, str]] = {}
    given = {"label": labels, "split": splits, "generator": generators}
    seen: dict[str, set[str]] = {name: set() for name in given if name in pattern.groupindex}
    for path in sorted(walk_files(root, kinds, left_out)):
        match = pattern.fullmatch(composed(path))
        if match is None:
            misfits.append(path)
            continue
        if not is_text(path):
            not_text.append(escaped(path))
            continue
        for name, found in seen.items():
            found.add(match[name])
        if row := _row(match, words, makers, unknown):
            row |= {"path": path, **{name: match[key] for name, key in raw.items()}}
            for name, value in row.items():
                columns[name].append(value)
    if not columns["path"] or unknown:
        trees, other = f"{expected}\n{found_tree(root)}", _other_root(root, pattern, words)
        if unknown:
            raise unknown_words(unknown, words, trees, other)
        raise _nothing_fits(root, trees, misfits, left_out, other)
    _warn_of_left_out(root, layout, misfits, not_text, left_out)
    warn_of_unread_words(root, layout, given, USUAL_SPLITS, seen)
    return columns


def check_root(root: Path, expected: str) -> None:
    """Refuse a root that is not there, or whose name no image table can hold."""
    if not is_text(str(root)):
        raise FaceproofError(
            f"data.root = {escaped(str(root))} is not UTF-8 text, which an image table needs; "
            "rename the folder, or reach it by a link with another name"
        )
    if not root.is_dir():
        raise FaceproofError(
            f"there is no folder {root}\n{expected}\nset data.root to the folder that holds it "
            "(or FACEPROOF_DATA to the folder above)"
        )


def _other_root(root: Path, pattern: re.Pattern[str], known: Mapping[str, Words]) -> str:
    """Return the question whether a folder below the root was meant, in which all fits."""

    def fits(paths: list[Sequence[str]]) -> bool:
        matches = [pattern.fullmatch("/".join(path)) for path in paths]
        return bool(matches) and all(
            match is not None
            and all(
                folded(match[name]) in known[name] for name in known if name in pattern.groupindex
            )
            for match in matches
        )

    paths = [composed(path).split("/") for path in walk_files(root)]
    folder = deeper_root(paths, fits)
    return did_you_mean(root, folder) if folder else ""


def _folded(words: Words) -> dict[str, str | None]:
    """Return words and their meanings, the words as they are compared."""
    return {folded(word): name for word, name in words.items()}


def _nothing_fits(
    root: Path, trees: str, misfits: list[str], left_out: LeftOut, other_root: str
) -> FaceproofError:
    """Return the error for a folder in which no image fits the layout."""
    beside = f"; {left_out}" if left_out else ""
    if not misfits and left_out.number(*set(left_out.kinds()) - set(NOT_IMAGES)):
        return FaceproofError(f"there is no image below {root} that is read{beside}")
    return FaceproofError(
        f"no image below {root} fits the layout{beside}\n{trees}\n"
        + (other_root or "set data.root or data.layout")
    )


def _warn_of_left_out(
    root: Path, layout: str, misfits: list[str], not_text: list[str], left_out: LeftOut
) -> None:
    """Warn of files that the table does not hold."""
    if left_out:
        log.warning("%s: %s", root, left_out)
    if misfits:
        log.warning(
            "%s: %d files do not fit the layout %s and are left out, %r the first",
            root, len(misfits), layout, misfits[0],
        )  # fmt: skip
    if not_text:
        log.warning(
            "%s: %d files have names that are not UTF-8 text and are left out; rename %s",
            root, len(not_text), ", ".join(not_text),
        )  # fmt: skip


def is_text(name: str) -> bool:
    """Say whether a file name is text; Python reads bytes that are not as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def escaped(name: str) -> str:
    """Return a file name as text, other bytes as hexadecimal escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _row(
    match: re.Match[str],
    words: Mapping[str, Words],
    generators: Words,
    unknown: dict[str, dict[str, str]],
) -> dict[str, str | None] | None:
    """Return the row of one path; None where a folder word is mapped to null, or is unknown.

    Unknown words are added to `unknown`, with the first path of each.
    """
    found = match.groupdict()
    row: dict[str, str | None] = {"path": match.string, **dict.fromkeys(PLACEHOLDERS)}
    for name, known in words.items():
        word = found.get(name)
        if word is None:
            continue
        if folded(word) not in known:
            unknown.setdefault(name, {}).setdefault(word, match.string)
            return None
        row[name] = known[folded(word)]
        if row[name] is None:
            return None
    if (generator := found.get("generator")) is not None:
        row["generator"] = generators.get(folded(generator), generator)
    if found.get("group") is not None:
        row["group"] = match.string[: match.end("group")]
    row["pair"] = found.get("pair")
    return row


def expected_tree(root: Path, layout: str, labels: Words, splits: Words) -> str:
    """Draw the folders that a layout line describes."""
    lines = [f"expected, by data.layout = {layout!r}:", f"  {root}/"]
    choices = {"{label}": "|".join(labels), "{split}": "|".join(splits)}
    words = layout.strip("/").split("/")
    for depth, word in enumerate(words, start=2):
        for placeholder, choice in choices.items():
            word = word.replace(placeholder, choice or placeholder)
        word = "..." if word == "**" else word
        last = depth == len(words) + 1
        lines.append("  " * depth + (f"{word} (images)" if last else f"{word}/"))
    return "\n".join(lines)


def found_tree(root: Path) -> str:
    """Draw the folders below `root`, at most `TREE_LINES` of them."""
    lines: list[str] = []
    for folder, subfolders, files in os.walk(root, followlinks=True):  # no deeper than below
        subfolders.sort()
        depth = len(Path(folder).relative_to(root).parts)
        note = f" ({len(files):,} files, {min(files)!r} the first)" if files else ""
        lines.append("  " * (depth + 1) + f"{Path(folder).name if depth else folder}/{note}")
        if depth >= len(PLACEHOLDERS):
            subfolders.clear()
        if len(lines) == TREE_LINES:
            lines.append("  ...")
            break
    return "\n".join(["found:", *lines])
