"""`faceproof completion`, and the words that a shell may complete one by."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from faceproof.cli.shell import shell
from faceproof.words import OPTIONS
from faceproof.workflows.completion import CompletionConfig, script

RUNS = ("run", "resume")  # settings that name a run folder


@shell(example="faceproof completion fish | source")
def command(config: CompletionConfig) -> None:
    """Print the script."""
    print(script(config), end="")


def completions(
    typed: Sequence[str], programs: Collection[str], options: Mapping[str, Collection[str]]
) -> list[str]:
    """Return the words that the last one may become.

    Args:
        typed: the words after `faceproof`, the last of them unfinished or empty.
        programs: the commands that take groups and settings.
        options: of each other command, its options.
    """
    if len(typed) < 2:
        found: Iterator[str] = iter([*programs, *options, "--help", "--version"])
    elif typed[0] in programs:
        found = _settings("evaluate" if typed[0] == "evaluate" else "train", typed[-1])
    else:
        found = iter(options.get(typed[0], ()))
        if not typed[-1].startswith("-"):
            found = _settings("train", typed[-1]) if typed[-1].startswith("data") else iter(())
    return sorted(word for word in found if word.startswith(typed[-1] if typed else ""))


def _settings(program: str, word: str) -> Iterator[str]:
    """Yield options, groups, settings and their values, as far as files name them."""
    from faceproof.app.conf import choices_of, groups_of, settings_of

    key, equals, value = word.partition("=")
    if not equals:
        if word.startswith("-"):
            yield from (*(one for one in OPTIONS if one.startswith("--")), "--allow", "-m")
            return
        names = [*groups_of(program), *settings_of(program)]
        yield from dict.fromkeys(_next_part(name, word) for name in names if name.startswith(word))
        return
    before, comma, _ = value.rpartition(",")  # of a sweep
    if key in groups_of(program):
        yield from (f"{key}={before}{comma}{name}" for name in choices_of(key))
    elif key in RUNS:
        runs = (path.parent for path in Path("runs").glob("*/config.yaml"))
        yield from (f"{key}={name}" for name in ("latest", *map(str, runs)))


def _next_part(name: str, word: str) -> str:
    """Return a setting, or the group that it is in, if that is not typed yet: `optimizer.`."""
    part, dot, _ = name[len(word) :].partition(".")
    return f"{word}{part}{dot}" if dot else f"{name}="
