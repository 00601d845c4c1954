"""The files of conf/ and experiments/: where they lie, whose come first, and what each one is for.

Nothing here composes them: help and the messages about misspelt words read them as plain YAML.
"""

import functools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import flatten, is_first_process
from faceproof.words import TRAINER_OPTIONS

PACKAGE_LINE = "# @package _global_\n"

log = logging.getLogger(__name__)


def config_root() -> Path:
    """Return the folder that holds conf/ and experiments/: this package's, or a checkout."""
    package = Path(__file__).parents[1]
    return package if (package / "conf").is_dir() else package.parents[1]


def own_conf() -> Path | None:
    """Return the `conf/` in the working folder, which comes before faceproof's, if there is one.

    Raises:
        FaceproofError: it belongs to another program, whose settings would take over.
    """
    own = Path.cwd() / "conf"
    if not own.is_dir() or own.samefile(config_root() / "conf"):
        return None
    for name in ("train", "evaluate"):
        if (own / f"{name}.yaml").is_file():
            raise FaceproofError(
                f"{own / name}.yaml would take the place of faceproof's own settings; a conf/ of "
                "yours holds folders such as conf/data and conf/model: rename the file, or start "
                "in another folder"
            )
    return own


@functools.cache
def _say_once(own: Path) -> None:
    log.info("%s comes before faceproof's own conf/", own)


def say_own_conf() -> None:
    """Say, once in a process, that choices come from a `conf/` in the working folder."""
    if (own := own_conf()) is not None and is_first_process():
        _say_once(own)


def folders() -> list[Path]:
    """Return the folders in which choices are searched, the user's own first."""
    own = own_conf()
    return [*([own] if own else []), config_root() / "conf", config_root()]


def choices_of(group: str, within: Sequence[Path] | None = None) -> dict[str, Path]:
    """Return the choices of a group and the file of each; of one name the first folder's.

    `within` are the folders that are searched, by default `folders()`.
    """
    files = [
        file
        for folder in (folders() if within is None else within)
        for file in (folder / group).glob("[!_]*.yaml")
    ]
    found = {file.stem: file for file in reversed(files)}
    return dict(sorted(found.items()))


def purpose(file: Path) -> str:
    """Return the first sentence of the comment at the top of a file of conf/."""
    lines = []
    for line in file.read_text("utf-8").removeprefix(PACKAGE_LINE).splitlines():
        if not line.startswith("# ") or line.startswith("#   "):
            break
        lines.append(line[2:])
    # The dot of "et al. 2021" ends no sentence.
    sentence = re.match(r".*?(?<!\bal)[.?](?=\s+(?:[A-Z\d\"`]|arXiv:)|\Z)", " ".join(lines))
    return sentence[0].rstrip(".") if sentence else " ".join(lines)


def program_file(program: str) -> Path:
    """Return the file of a program's own settings, `conf/train.yaml`."""
    return config_root() / "conf" / f"{program}.yaml"


def groups_of(program: str) -> dict[str, str]:
    """Return the groups that a program chooses from, and what the comments beside them say."""
    text = program_file(program).read_text("utf-8")
    lines = re.findall(r"^  - (\w+): *\S+(?: +# (.*))?$", text, re.MULTILINE)
    return {group: meaning.strip() for group, meaning in lines}


def own_settings(program: str) -> dict[str, Any]:
    """Return the settings that a program has besides those of its groups."""
    written = _read(program_file(program))
    return {name: value for name, value in written.items() if name not in ("defaults", "hydra")}


@functools.cache
def settings_of(program: str) -> tuple[str, ...]:
    """Return the dotted names of all settings that a program may have, of any choice of a group."""
    names = dict.fromkeys(flatten(own_settings(program)))
    if "trainer" in groups_of(program):
        names |= dict.fromkeys(f"trainer.{option}" for option in TRAINER_OPTIONS)
    for group in groups_of(program):
        if group not in ("experiments", "sweep"):
            for file in _files(group):
                names |= dict.fromkeys(f"{group}.{name}" for name in flatten(_read(file)))
    return tuple(names)


def said_by(group: str, choice: str | None) -> dict[str, Any]:
    """Return the settings in the own file of a choice, dotted; none where there is no file."""
    file = choices_of(group).get(choice or "")
    return {} if file is None else dict(flatten(_read(file)))


def choices_with(group: str, name: str) -> list[str]:
    """Return the choices of a group whose own files have a setting, such as `root` of `data`."""
    return [choice for choice, file in choices_of(group).items() if name in flatten(_read(file))]


def _files(group: str) -> Iterator[Path]:
    """Yield the files of a group, those that others start from among them."""
    for folder in folders():
        yield from sorted((folder / group).glob("*.yaml"))


def _read(file: Path) -> dict[str, Any]:
    """Return a file's own settings; nothing in it is interpolated."""
    try:
        held = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, OSError, ValueError):  # composing it says what is wrong with it
        return {}
    if not isinstance(held, Mapping):
        return {}
    return {str(name): value for name, value in held.items() if name != "defaults"}
