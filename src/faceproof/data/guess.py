"""Guesses the layout of a folder of images from the words in the names of its folders.

For `data=folder data.root=my/images`: the guess is a layout line and the meaning of its words, as
`FolderData` takes them, so that it can be shown, stored with a run and corrected.
"""

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faceproof import settings
from faceproof.data.groups import GroupSettings
from faceproof.data.layout import USUAL_SPLITS, Words, found_tree, walk_files
from faceproof.data.listing import MAPPING, SHARES, absolute
from faceproof.data.misplaced import deeper_root, did_you_mean
from faceproof.data.splits import BESIDE_TEST
from faceproof.data.swapped import NEGATIONS
from faceproof.errors import FaceproofError
from faceproof.io.names import composed, folded
from faceproof.io.run_folder import is_first_process
from faceproof.settings import PLACE, TEXT, optional
from faceproof.task import get_task
from faceproof.words import meaning, override

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
NEGATED_FACE = re.compile(rf"\b({'|'.join(sorted(NEGATIONS))})[\W_]*(?=faces?\b)")
MANY = 20  # folders below the classes: from so many on each is a video or a person

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GuessConfig:
    """The settings of `data=folder`; those that are not here are as for `FolderData`.

    Attributes:
        root: the folder.
        name: of the data set; None for that of the folder.
        task: `deepfake`, `face`, or None to tell it from the names.
        labels: folder words and their classes, beside those guessed.
        splits: folder words and their splits, likewise.
        ratios: the shares of train, val and test for images without a split; None for the usual.
    """

    root: str
    name: str | None = None
    task: str | None = None
    labels: Words = field(default_factory=dict)
    splits: Words = field(default_factory=dict)
    generator: str | None = None
    ratios: Mapping[str, float | None] = field(default_factory=dict)
    split_seed: int = 0
    groups: GroupSettings = None
    bridges: str = "keep"
    max_unreadable: float = 0.01
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        settings.check(self, root=PLACE, name=optional(TEXT), task=optional(TEXT), labels=MAPPING,
                       splits=MAPPING)  # fmt: skip
        if self.task is not None:
            get_task(self.task)

    @property
    def given_ratios(self) -> dict[str, float] | None:
        """The shares that are given, or None."""
        settings.check(self, ratios=MAPPING)
        given = {split: share for split, share in self.ratios.items() if share is not None}
        return given or None


@dataclass(frozen=True)
class Level:
    """The names of the folders on one level, and on how many of the images' paths they are."""

    depth: int
    names: Mapping[str, int]


def guess_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `FolderData` for settings of kind `guess`; see `GuessConfig`.

    Raises:
        FaceproofError: a setting makes no sense, there is no image, or the folders do not tell.
    """
    given = {key: value for key, value in values.items() if key != "kind"}
    config: GuessConfig = settings.make(GuessConfig, given)
    root = absolute(config.root)
    if not root.is_dir():
        raise FaceproofError(
            f"there is no folder {root}; set data.root to the folder of your images"
        )
    paths = [composed(path).split("/")[:-1] for path in walk_files(root)]
    try:
        task, labelled, labels, divided, splits = _read_names(root, paths, config)
    except FaceproofError as error:
        if folder := deeper_root([[*path, ""] for path in paths], _tells(root, config)):
            raise FaceproofError(f"{error}\n{did_you_mean(root, folder)}") from error
        raise
    splits, ratios = _with_validation(root, splits, config)
    parts = ["*"] * (max(labelled.depth, divided) + 1)
    parts[labelled.depth] = "{label}"
    if splits:
        parts[divided] = "{split}"
    layout = "/".join([*parts, *_groups(root, paths, parts), "**"])
    guessed = {
        "kind": "folder", "layout": layout, "task": task, "labels": labels, "splits": splits,
        "ratios": ratios, "name": config.name or name_of(root.name) or "folder",
    }  # fmt: skip
    _show(root, guessed, config)
    return asdict(config) | guessed


def _read_names(
    root: Path, paths: Sequence[Sequence[str]], config: GuessConfig
) -> tuple[str, Level, dict[str, str | None], int, dict[str, str | None]]:
    """Return what `_classes` and `_splits` do, of images that all lie below these levels."""
    task, labelled, labels = _classes(root, _levels(paths), config)
    divided, splits = _splits(root, _levels(paths), labelled, config)
    _refuse_uneven(root, paths, max(labelled.depth, divided))
    return task, labelled, labels, divided, splits


def _tells(root: Path, config: GuessConfig) -> Callable[[list[Sequence[str]]], bool]:
    """Return what says whether images would be guessed, were another folder the root."""

    def tells(paths: list[Sequence[str]]) -> bool:
        with contextlib.suppress(FaceproofError):
            _read_names(root, [path[:-1] for path in paths], config)
            return True
        return False

    return tells


def _levels(paths: Sequence[Sequence[str]]) -> list[Level]:
    """Return the levels of folders that images lie below, the highest first."""
    counts: list[Counter[str]] = [Counter() for _ in range(max(map(len, paths), default=0))]
    for path in paths:
        for count, name in zip(counts, path, strict=False):
            count[name] += 1
    return [Level(depth, count) for depth, count in enumerate(counts)]


def _classes(
    root: Path, levels: Sequence[Level], config: GuessConfig
) -> tuple[str, Level, dict[str, str | None]]:
    """Return the task, the level that tells its classes apart, and what the names there mean."""
    own = {folded(str(word)): label for word, label in config.labels.items()}
    seen: set[str] = set()
    for tell in (_label, _number):
        for task in [config.task] if config.task else CLASSES:
            for level in levels:
                found = {name: own.get(folded(name), tell(name, task)) for name in level.names}
                labels: set[Any] = set(found.values()) - {None}
                seen |= labels if tell is _label else set()
                if labels >= set(CLASSES[task]):
                    known = {name: label for name, label in found.items() if label}
                    left_out = {str(word): label for word, label in config.labels.items()}
                    return task, level, known | left_out
    raise FaceproofError(_no_classes(root, levels, config, seen))


def _no_classes(
    root: Path, levels: Sequence[Level], config: GuessConfig, seen: Collection[str]
) -> str:
    """Say that the folders do not tell the classes apart, and the command that says it."""
    alone = f"folders that mean {', '.join(sorted(seen))}, and none" if seen else "no folders"
    pairs = " and ".join("/".join(classes) for classes in CLASSES.values())
    unlike_splits = [level.names for level in levels if not all(map(_split, level.names))]
    several = next((names for names in unlike_splits if len(names) > 1), {"WORD": 1})
    task = config.task or "deepfake"
    told = {name: _label(name, task) or "NAME" for name in sorted(several)[:MANY]}
    root_word = override("data.root", root.as_posix())
    words = " ".join(meaning("data.labels", name, label) for name, label in told.items())
    return (
        f"the folders in {root} do not say which images are of which class: there are {alone} that "
        f"mean the other ({pairs}, or 0/1, are known)\n{found_tree(root)}\nsay it by\n"
        f"  faceproof audit data=folder {root_word} {words}\nwhere each NAME is "
        f"{', '.join(get_task(task).classes)}, or null to leave the folder out; train takes the "
        "same words"
    )


def _words(name: str) -> list[str]:
    """Return the words in a name, in small letters: `FakeFaces-2` is fake, faces."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold().replace("_", " ")
    return re.findall(r"[^\W\d]+", NEGATED_FACE.sub("non", spaced))


def _label(name: str, task: str) -> str | None:
    """Return the class that a folder's name tells; None where it tells none, both or a negation."""
    words = {form for word in _words(name) for form in (word, word.removesuffix("s"))}
    found = [label for label, known in CLASSES[task].items() if words & set(known.split())]
    negated = not words.isdisjoint(NEGATIONS)
    return found[0] if len(found) == 1 and not negated else None


def _number(name: str, task: str) -> str | None:
    return NUMBERS[task].get(name)


def _split(name: str) -> str | None:
    """Return the split that a folder's name tells; None where it tells none, or several."""
    found = {USUAL_SPLITS[word] for word in _words(name) if word in USUAL_SPLITS}
    return found.pop() if len(found) == 1 else None


def _splits(
    root: Path, levels: Sequence[Level], labelled: Level, config: GuessConfig
) -> tuple[int, dict[str, str | None]]:
    """Return the level whose names are splits, and the split of each; none is fine too.

    Raises:
        FaceproofError: names tell class and split at once.
    """
    own = {folded(str(word)): split for word, split in config.splits.items()}
    for level in levels:
        found = {
            name: own[folded(name)] if folded(name) in own else _split(name) for name in level.names
        }
        known = {name: split for name, split in found.items() if split or folded(name) in own}
        exact = any(folded(name) in USUAL_SPLITS for name in known)
        if level.depth == labelled.depth:
            if len({split for split in found.values() if split}) > 1:
                names = ", ".join(sorted(known)[:4])
                raise FaceproofError(
                    f"folders in {root} such as {names} name class and split at once, which is not "
                    "guessed; say it by data=real_fake_folders data.layout='{label}_{split}/**'"
                )
        elif known and (exact or 2 * len(known) >= len(found)):
            return level.depth, known  # a name without a split is refused when they are listed
    return -1, {}


def _refuse_uneven(root: Path, paths: Sequence[Sequence[str]], deepest: int) -> None:
    """Refuse images that lie above the folders that say what they are; they would be left out."""
    above = [path for path in paths if len(path) <= deepest]
    if above:
        other = next(path for path in paths if len(path) > deepest)
        raise FaceproofError(
            f"images in {root} lie on different levels, {len(above):,} of them in folders such as "
            f"{'/'.join(above[0]) or '.'} and others in folders such as {'/'.join(other)}; move "
            "them to one level, or list them in a table (data=table)"
        )


def _with_validation(
    root: Path, splits: dict[str, str | None], config: GuessConfig
) -> tuple[dict[str, str | None], dict[str, float] | None]:
    """Take validation images from the training folder where there are none."""
    present, ratios = set(splits.values()), config.given_ratios
    if ratios is not None:
        settings.check(config, ratios=settings.Rule(lambda _: SHARES.fits(ratios), SHARES.meaning))
    if "train" not in present or present & {"val", "auto"}:
        return splits, ratios
    own = {folded(str(word)) for word in config.splits}
    parts = [word for word, one in splits.items() if one == "train" and folded(word) not in own]
    if not parts:
        return splits, ratios
    if ratios is None and "test" in present:
        ratios = BESIDE_TEST
    _say("%s: there are no validation images; a part of %s is taken", root, ", ".join(parts))
    return splits | dict.fromkeys(parts, "auto"), ratios


def _groups(root: Path, paths: Sequence[Sequence[str]], parts: Sequence[str]) -> list[str]:
    """Return `{group}` for the next level if each folder there is a video or a person."""
    depth = len(parts)
    names = {path[depth] for path in paths if len(path) > depth}
    if not names:
        return []
    if len(names) >= MANY and all(len(path) > depth for path in paths):
        _say("%s: each of the %d folders below is taken for a video or a person, whose images stay "
             "in one split", root, len(names))  # fmt: skip
        return ["{group}"]
    line = "/".join(parts)
    _say("%s: the folders below (%s ...) are not used; if each is one video or person, give "
         "data=real_fake_folders 'data.layout=%s/{group}/**', if each is a generator "
         "'data.layout=%s/{generator}/**'", root, min(names), line, line)  # fmt: skip
    return []


def name_of(word: str) -> str:
    """Return the name of a folder or file as that of a data set; empty if no letter is left."""
    return re.sub(r"[^\w.-]+", "-", word, flags=re.ASCII).strip(".-_")[:100]


def _show(root: Path, guessed: Mapping[str, Any], config: GuessConfig) -> None:
    """Say what was guessed, and how to correct it."""
    labels, splits = guessed["labels"], guessed["splits"]
    divided = " and ".join(guessed["ratios"] or ()) or "train, val and test"
    said = {word: divided if name == "auto" else name for word, name in (labels | splits).items()}
    pairs = [f"{word} = {name or 'left out'}" for word, name in said.items()]
    _say("%s: guessed the layout %s, in which %s", root, guessed["layout"], ", ".join(pairs))
    if splits and not {"test", "auto"} & {*splits.values()} and guessed["ratios"] is None:
        _say("%s: there may be no test images; evaluate another set, or split=val", root)
    numbers = NUMBERS[guessed["task"]]
    if numbers.items() <= labels.items() and not numbers.keys() & set(map(str, config.labels)):
        (zero, one), (first, second) = numbers, numbers.values()
        _say("%s: nothing says that %s is %s and %s is %s; if it is the other way round, give "
             "data.labels.%s=%s data.labels.%s=%s", root, zero, first, one, second,
             zero, second, one, first)  # fmt: skip


def _say(words: str, *parts: Any) -> None:
    if is_first_process():
        log.warning(words, *parts)
