"""Guesses the layout of a folder of images from the words in the names of its folders.

For `data=folder data.root=my/images`: the guess is a layout line and the meaning of its words, as
`FolderData` takes them, so that it can be shown, stored with a run and corrected.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faceproof.data.layout import USUAL_SPLITS, found_tree, walk_files
from faceproof.errors import FaceproofError
from faceproof.io.names import composed, folded

KIND = "guess"
# A word may stand among others in a name, with an s at its end: `training_real`, `DeepFakes-2`.
CLASSES = {
    "deepfake": {
        "real": "real original authentic genuine pristine natural bonafide",
        "fake": "fake deepfake synthetic synthesis synthesized generated manipulated forged "
        "tampered ai gan spoof",
    },
    "face": {"face": "face", "non_face": "nonface noface background object other"},
}
NUMBERS = {"deepfake": {"0": "real", "1": "fake"}, "face": {"0": "non_face", "1": "face"}}
NEGATION = re.compile(r"\b(non|no|not|without)[\W_]*(?=faces?\b)")
MOST_WORDS = 64  # of one level; more are names of people or videos
DEPTHS = 6

log = logging.getLogger(__name__)


def guess_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `FolderData` for settings of kind `guess`.

    What is given beside `root` stands: words in `labels` and `splits` beside those guessed, and
    each other setting as it is; `task` may be None.

    Raises:
        FaceproofError: there is no folder, no image in it, or no level of folders that tells the
            classes apart.
    """
    root = Path(str(values["root"])).expanduser()
    if not root.is_dir():
        raise FaceproofError(
            f"there is no folder {root.absolute()}; set data.root to the folder of your images"
        )
    levels = _levels(walk_files(root))
    task, depth, labels = _classes(root, levels, values.get("task"))
    words = {folded(word): word for word in levels[depth]}
    named = {folded(str(word)) for word in values.get("labels") or {}}
    labels = {word: labels[key] for key, word in words.items() if key in labels.keys() - named}
    split_depth, splits = _splits(levels, depth)
    given = values.get("ratios") or {}
    ratios = {split: share for split, share in given.items() if share is not None} or None
    if splits and ratios is None:
        splits, ratios = _with_validation(splits)
    parts = ["*"] * (max(depth, split_depth) + 1)
    parts[depth] = "{label}"
    if splits:
        parts[split_depth] = "{split}"
    layout = "/".join([*parts, "**"])
    settings = {
        **{key: value for key, value in values.items() if value is not None},
        "kind": "folder", "task": task, "layout": layout,
        "labels": labels | dict(values.get("labels") or {}),
        "splits": splits | dict(values.get("splits") or {}), "ratios": ratios,
    }  # fmt: skip
    _show(root, settings)
    return settings


def _levels(paths: Iterable[str]) -> list[dict[str, None]]:
    """Return the names of the folders on each level that images lie below, the highest first."""
    levels: list[dict[str, None]] = [{} for _ in range(DEPTHS)]
    for path in paths:
        for level, word in zip(levels, composed(path).split("/")[:-1], strict=False):
            if len(level) <= MOST_WORDS:
                level[word] = None
    return levels


def _classes(
    root: Path, levels: Sequence[Mapping[str, None]], task: str | None
) -> tuple[str, int, dict[str, str]]:
    """Return the task, the level that tells its classes apart, and what the words there mean."""
    for meanings in (_label, _number):
        for name in [task] if task else CLASSES:
            found = [{folded(word): meanings(word, name) for word in level} for level in levels]
            for depth, words in enumerate(found):
                if set(CLASSES[name]) <= set(words.values()) and len(words) <= MOST_WORDS:
                    return name, depth, {word: one for word, one in words.items() if one}
    known = " or ".join("/".join(classes) for classes in CLASSES.values())
    raise FaceproofError(
        f"the folders in {root.absolute()} do not say what their images are: no level of them has "
        f"names with {known}, or 0/1\n{found_tree(root)}\nrename them, or say what a folder "
        "word stands for by data=real_fake_folders data.layout='{label}/**' data.labels.WORD=real"
    )


def _words(name: str) -> list[str]:
    """Return the words in a name, in small letters: `FakeFaces-2` is fake, faces."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold().replace("_", " ")
    return re.findall(r"[^\W\d]+", NEGATION.sub("non", spaced))


def _label(name: str, task: str) -> str | None:
    """Return the class that a folder's name tells; None where it tells none, or both."""
    words = {form for word in _words(name) for form in (word, word.removesuffix("s"))}
    found = [label for label, known in CLASSES[task].items() if words & set(known.split())]
    return found[0] if len(found) == 1 else None


def _number(name: str, task: str) -> str | None:
    return NUMBERS[task].get(name)


def _splits(levels: Sequence[Mapping[str, None]], label_depth: int) -> tuple[int, dict[str, Any]]:
    """Return the level whose names are splits, and the split of each; none is fine too."""
    for depth, level in enumerate(levels):
        found = {word: USUAL_SPLITS.get(folded(word)) for word in level}
        if depth != label_depth and found and all(found.values()):
            return depth, dict(found)
    return -1, {}


def _with_validation(splits: dict[str, str]) -> tuple[dict[str, str], dict[str, float] | None]:
    """Take validation images from the training folder where there are none."""
    present = set(splits.values())
    if "train" not in present or "val" in present:
        return splits, None
    shares = {"train": 0.85, "val": 0.15} if "test" in present else None
    return {word: "auto" if one == "train" else one for word, one in splits.items()}, shares


def _show(root: Path, settings: Mapping[str, Any]) -> None:
    """Say what was guessed, and how to correct it."""
    labels, splits = settings["labels"], settings["splits"]
    pairs = ", ".join(f"{word} = {name or 'left out'}" for word, name in labels.items())
    log.warning("%s: guessed the layout %s, in which %s", root, settings["layout"], pairs)
    if "auto" in splits.values():
        taken = [word for word, split in splits.items() if split == "auto"]
        log.warning("%s: there are no validation images; a part of %s is taken", root, taken[0])
    elif splits and "test" not in splits.values():
        log.warning("%s: there are no test images; evaluate another set, or split=val", root)
    if set(labels) == set(NUMBERS["deepfake"]):
        first, second = labels.items()
        log.warning(
            "%s: nothing says that %s is %s and %s is %s; if it is the other way round, give "
            "data.labels.%s=%s data.labels.%s=%s",
            root, first[0], first[1], second[0], second[1],
            first[0], second[1], second[0], first[1],
        )  # fmt: skip
