"""One line for settings and choices that are misspelt, with what was probably meant."""

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from faceproof import words
from faceproof.app.conf import choices_of, choices_with, groups_of, own_settings, settings_of
from faceproof.errors import FaceproofError
from faceproof.io.newest_runs import LATEST
from faceproof.io.run_folder import RunFolder
from faceproof.settings import UnknownSettingError, join

MENDABLE = (FaceproofError, HydraException, OmegaConfBaseException, yaml.YAMLError)
# What other programs call our settings, without dashes and underscores; of several names the first
# that the program has.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("dataset", "datasets"), ("data",)),
    **dict.fromkeys(("datadir", "datapath", "dataroot", "imagedir"), ("data.root",)),
    **dict.fromkeys(("arch", "architecture", "backbone", "network", "net"), ("model", "run")),
    **dict.fromkeys(("model", "checkpoint", "ckpt", "ckptpath", "detector"), ("resume", "run")),
    **dict.fromkeys(("epochs", "epoch", "numepochs", "nepochs"), ("trainer.max_epochs",)),
    **dict.fromkeys(("lr", "learningrate", "initlr", "baselr"), ("optimizer.lr",)),
    **dict.fromkeys(("wd", "decay"), ("optimizer.weight_decay",)),
    **dict.fromkeys(("bs", "batch", "batchsize", "trainbatchsize"), ("loader.batch_size",)),
    **dict.fromkeys(("workers", "nworkers", "jobs"), ("loader.num_workers",)),
    **dict.fromkeys(("experiment", "exp", "recipe", "config"), ("experiments",)),
    **dict.fromkeys(("aug", "augs", "augmentation", "transform", "transforms"), ("augment",)),
    **dict.fromkeys(("sbi", "selfblending", "pseudofakes"), ("synthesis",)),
    **dict.fromkeys(("optim", "opt"), ("optimizer",)),
    **dict.fromkeys(("sched", "schedule", "lrscheduler"), ("scheduler",)),
    **dict.fromkeys(("imagesize", "imgsize", "imgsz", "inputsize"), ("model.input.size",)),
    **dict.fromkeys(("crop", "cropping", "randomcrop", "centercrop"), ("model.input.mode",)),
    **dict.fromkeys(("tta", "testtimeaugmentation"), ("model.input.tta",)),
    **dict.fromkeys(("pretrained", "initialweights"), ("model.weights",)),
    **dict.fromkeys(("gpus", "numgpus", "ngpus"), ("trainer.devices",)),
    **dict.fromkeys(("device", "cuda", "gpu"), ("device", "trainer.accelerator")),
    **dict.fromkeys(("teacher", "distillation"), ("distill.teacher",)),
    **dict.fromkeys(("earlystopping", "earlystop"), ("patience",)),
    **dict.fromkeys(("out", "output", "outputdir", "savedir"), ("name", "hydra.run.dir")),
    **dict.fromkeys(("randomseed", "manualseed"), ("seed",)),
}
# What a group takes beside its files.
BESIDES = {
    "model": " (any of timm's is model=timm model.name={name})",
    "data": " (a folder of your own is data=folder data.root=FOLDER)",
    "optimizer": " (any of torch's and timm's is optimizer.name={name})",
}
# What Hydra says where a program has no such group.
NO_GROUP = re.compile(r"Could not override '([\w/]+)'\.? No match in the defaults list")
MISSING = re.compile(r"Missing mandatory value: ([\w.$-]+)")
ALREADY = re.compile(r"Could not append to config\. An item is already at '([^']+)'")
SEVERAL = re.compile(r"Ambiguous value for argument '([^=']+)=(.*)'\n")
UNREADABLE = (
    "{word} cannot be read as KEY=VALUE; give a value that holds other signs than letters, digits "
    "and ./_- in quotes of its own, as in name='\"a b\"'"
)
NUM_NAMED = 4  # choices that a message names
LIKELY = 0.8  # how alike the name of a setting elsewhere must be


def message(error: BaseException, program: str = "train") -> str:
    """Return the message of the error that a configuration library has wrapped.

    `program` says among whose settings is searched what may have been meant.
    """
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    for one in causes:
        if isinstance(one, UnknownSettingError):
            return unknown_setting(one.setting, one.known, program)
        if isinstance(one, FaceproofError):
            return str(one)
        if isinstance(one, MissingConfigException) and "/" in (one.missing_cfg_file or ""):
            group, _, name = str(one.missing_cfg_file).rpartition("/")
            return unknown_choice(group, name, one.options or ())
        if isinstance(one, yaml.MarkedYAMLError):
            return f"{' '.join(str(one).split())}; mend this file, which is not YAML"
        if isinstance(one, OverrideParseException):
            return UNREADABLE.format(word=one.override)
        if found := MISSING.search(str(one)):
            name = found[1]
            if isinstance(one, MissingMandatoryValue) and one.full_key:
                name = str(one.full_key)  # the text has the name without its place
            if name == "run":
                return "name the run: run=latest is the newest, run=FOLDER any other"
            return f"{name} has no value yet; give one by {name}=VALUE"
        if found := SEVERAL.match(str(one)):
            return several_values(found[1], found[2], program)
        if found := NO_GROUP.match(str(one)):
            return unknown_setting(found[1], (), program)
        if found := ALREADY.match(str(one)):
            return f"{found[1]} is a setting already; leave out the + before it"
    for one in causes:
        parent = getattr(one, "parent_node", None)
        if isinstance(one, ConfigKeyError | ConfigAttributeError) and isinstance(
            parent, DictConfig
        ):
            return unknown_setting(str(one.full_key), map(str, parent), program)
    said = dict.fromkeys(str(one) for one in causes if str(one))
    text = "\n".join(said).partition("\nConfig search path:")[0]
    return f"the configuration cannot be used: {text}"


def several_values(setting: str, values: str, program: str) -> str:
    """Say what takes several values of a setting."""
    quoted = words.for_shell(f"{setting}='{values}'")
    sweep = f"faceproof sweep {words.for_shell(f'{setting}={values}')} trains one of each; "
    return (
        f"{setting}={values} gives several values to one setting; "
        f"{sweep if program == 'train' else ''}a single text with commas is {quoted}"
    )


def unknown_setting(setting: str, beside: Iterable[str], program: str) -> str:
    """Say that nothing reads a setting, and which one was probably meant.

    `beside` are the settings that stand at its place.
    """
    known, groups = set(beside) - {"hydra"}, groups_of(program)
    where, _, name = setting.rpartition(".")
    if not where:
        known |= {*groups, *own_settings(program)}
    if where == "trainer" and where in groups:
        known |= {*words.TRAINER_OPTIONS}
    if setting in settings_of(program):
        return _of_other_choices(setting)
    if meant := _meant(where, name, known, {*groups, *known, *settings_of(program)}):
        return f"there is no setting {setting}; did you mean {meant}?"
    return str(UnknownSettingError(setting, known))


def _of_other_choices(setting: str) -> str:
    """Say that the chosen file of a group has not a setting that others have."""
    group, _, name = setting.partition(".")
    having = [f"{group}={choice}" for choice in choices_with(group, name)]
    if not having:
        return f"there is no setting {setting}; this choice of {group} has none, so leave it out"
    first = ", ".join(having[:NUM_NAMED])
    more = len(having) - NUM_NAMED
    rest = f" and {more} more" if more > 0 else ""
    have = "has" if len(having) == 1 else "have"
    return (
        f"there is no setting {setting}; this choice of {group} has none, but {first}{rest} {have}"
    )


def _meant(where: str, name: str, beside: Collection[str], everywhere: Collection[str]) -> str:
    """Return the setting that was probably meant, or an empty text."""
    for usual in ELSEWHERE.get(name.replace("_", "").replace("-", "").casefold(), ()):
        if usual in everywhere or usual.startswith("hydra."):
            return usual
    by_last: dict[str, list[str]] = {}
    for one in everywhere:
        by_last.setdefault(one.rpartition(".")[2], []).append(one)
    if len(same := by_last.get(name, [])) == 1:
        return same[0]
    if close := get_close_matches(name, sorted(beside), 1):
        return join(where, close[0])
    close = get_close_matches(name, sorted(by_last), 1, LIKELY)
    return by_last[close[0]][0] if close and len(by_last[close[0]]) == 1 else ""


def unknown_choice(group: str, name: str, known: Sequence[str]) -> str:
    """Say that a group has no choice of a name, and which one was probably meant."""
    there = [one for one in known if not one.startswith("_")] or [*choices_of(group)]
    besides = BESIDES.get(group, "").format(name=name)
    if group == "data" and Path(name).is_dir():
        return f"there is no data={name}; did you mean {own_folder(name)}?"
    if close := get_close_matches(name, there, 1):
        return f"there is no {group}={name}; did you mean {group}={close[0]}?{besides}"
    return f"there is no {group}={name}; there are {', '.join(there)}{besides}"


def refuse_unknown_choice(group: str, names: Iterable[str | None], known: Sequence[str]) -> None:
    """Refuse choices of a group that are none of those known.

    Raises:
        FaceproofError: it names the choice, and what was probably meant.
    """
    for name in names:
        if name not in (None, "null", *known) and not _is_nested(str(name)):
            raise FaceproofError(unknown_choice(group, str(name), known))


def _is_nested(name: str) -> bool:
    """Say whether a choice is a list, a path below the group's folder, or another setting's."""
    return any(special in name for special in "[/$")


def refuse_unknown_words(given: Sequence[str], program: str) -> None:
    """Refuse words that are neither an option nor KEY=VALUE, and say what they may have meant.

    Raises:
        FaceproofError: it names the first such word.
    """
    before, after = ["", *given], [*given[1:], ""]
    for last, word, following in zip(before, given, after, strict=False):
        if last in words.VALUED or ("=" in word.lstrip("-") and not word.startswith("-")):
            continue
        if word.startswith("-") and not words.is_option(word):
            _refuse_option(word, following, program)
        elif not word.startswith(("-", "~")):
            _refuse_bare(word, program)


def _refuse_option(word: str, following: str, program: str) -> None:
    """Refuse an option that there is not; its value stands in it, or in the word that follows."""
    name, _, value = word.lstrip("-").replace("-", "_").partition("=")
    if "=" in word:
        value = word.partition("=")[2]
    elif following and "=" not in following and not following.startswith("-"):
        value = following
    known = {*groups_of(program), *own_settings(program)}
    if name not in (*known, *settings_of(program)):
        name = _meant("", name, known, {*known, *settings_of(program)})
    meant = words.override(name, value) if value else f"{name}=VALUE"
    hint = f"did you mean {meant}?" if name else f"see faceproof {program} --help"
    shown = f"{word} {value}" if value and "=" not in word else word
    raise FaceproofError(f"{shown} is no option; settings have no dashes: {hint}")


def _refuse_bare(word: str, program: str) -> None:
    for group in groups_of(program):
        if word in choices_of(group):
            raise FaceproofError(f"{word} needs its group; did you mean {group}={word}?")
    if Path(word).is_dir() or word == LATEST:
        raise FaceproofError(f"{word} needs its setting; did you mean {_of_path(word, program)}?")
    raise FaceproofError(
        f"{word} is no setting, which is KEY=VALUE, such as optimizer.lr=0.01; "
        f"faceproof {program} --help lists them"
    )


def _of_path(word: str, program: str) -> str:
    """Return the settings that take a run or a folder of images."""
    key = "run" if program == "evaluate" else "resume"
    if word == LATEST:
        return f"{key}={word}"
    if key == "run" or RunFolder(word).config.is_file():
        return words.override(key, word)
    return own_folder(word)


def own_folder(folder: str) -> str:
    """Return the settings that take a folder of the user's own, as a shell takes them."""
    return f"data=folder {words.override('data.root', folder)}"
