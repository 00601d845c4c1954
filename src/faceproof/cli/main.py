"""The command `faceproof`: puts the commands together, and turns errors into exit codes."""

import re
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from cyclopts import App, CycloptsError, MissingArgumentError

from faceproof import __version__
from faceproof.cli.shell import make_app
from faceproof.errors import FaceproofError
from faceproof.io.logs import log_to_stderr
from faceproof.io.plain_files import printable_lines
from faceproof.io.streams import outlive_closed_pipes
from faceproof.performance.threads import wait_briefly

TEXT = "Train, compare, judge and serve detectors for face images."
# The modules that say how far a command is, or what it has checked.
INFORMING = ("faceproof.io.progress", "faceproof.workflows.export_parity")
# Those that Hydra starts: they take groups and settings, such as model=resnet18 seed=1.
PROGRAMS = {
    "train": "train a detector",
    "sweep": "train one for each combination of values: model=resnet18,effnet_b0 seed=1,2",
    "crossval": "train without each source or generator in turn, and judge it on that: data=[a,b]",
    "evaluate": "score a run's best epoch and write a report: run=latest",
}
# Each command is `command` in the module of its name; the module is loaded when it is called.
COMMANDS = {
    "audit": "find leaks, shortcuts and bad files in a data set",
    "completion": "print what makes a shell complete these words: bash, zsh or fish",
    "compare": "set runs against each other that scored the same images",
    "drift": "say whether the images that come in have changed since the training",
    "ensemble": "average the scores of several runs",
    "explain": "show what in an image speaks for the answer, and how far to trust that",
    "explore": "show what a data set holds",
    "export": "make a detector artifact of a run, to hand on",
    "features": "put a run's images on a plane by the features of its backbone",
    "fetch": "get the original of a ready data set",
    "init": "write a starter project: a conf/ of your own, an example data set, a README",
    "predict": "say of images and videos what a detector takes them for",
    "prepare": "find the faces in photographs and videos, and cut them out to train on",
    "protocol": "publish which images a result was measured on, or check such a list",
    "pull": "fetch a detector from the Hugging Face hub",
    "push": "put a detector on the Hugging Face hub",
    "report": "report the scores of any detector, given as a table",
    "serve": "put a detector on a page and an HTTP interface",
    "shard": "write a data set's images as shards, to a folder or an object store",
    "spectra": "show the mean Fourier spectra of a data set's classes and generators",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 where it cannot be done, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # not within another program
        outlive_closed_pipes()
    try:
        if words[:1] == ["--complete"]:  # a shell asks, by the script of `faceproof completion`
            sys.stdout.writelines(f"{word}\n" for word in complete(words[1:]))
            return 0
        if words and words[0] in PROGRAMS:  # which log as Hydra is told, and end by themselves
            from faceproof import programs

            getattr(programs, words[0])(words[1:])
            return 0
        wait_briefly()
        log_to_stderr(INFORMING)
        return run(words)
    except (FaceproofError, CycloptsError) as error:
        said = _missing(error) if isinstance(error, MissingArgumentError) else str(error)
        text = re.sub(r"Literal\[(.*?)\]", r"\1", said)  # of a type such as int|Literal[auto]
        print(f"faceproof: {printable_lines(text)}", file=sys.stderr)
        if isinstance(error, CycloptsError):
            known = words[:1] if words and words[0] in COMMANDS else []
            print(f"usage: {' '.join(['faceproof', *known])} --help", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("faceproof: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _missing(error: MissingArgumentError) -> str:
    """Say which argument is missing, by the name that the help gives it, and what it is."""
    if error.argument is None or error.app is None:
        return str(error)
    known = {one.name: one for one in error.app.assemble_argument_collection(parse_docstring=True)}
    argument = known[error.argument.name]
    name = argument.name if argument.index is None else argument.name.lstrip("-").upper()
    return f"{name} needs a value: {' '.join((argument.parameter.help or '').split()).rstrip('.')}"


def complete(typed: Sequence[str]) -> list[str]:
    """Return the words that the last one of a command line may become."""
    from faceproof.cli.completion import completions

    options: dict[str, list[str]] = {name: [] for name in COMMANDS}
    if typed and typed[0] in COMMANDS and typed[-1].startswith("-"):
        arguments = make_parser(typed[0])[typed[0]].assemble_argument_collection()
        names = [name for argument in arguments for name in argument.names]
        options[typed[0]] = [*(name for name in names if name.startswith("--")), "--help"]
    return completions(typed, PROGRAMS, options)


def run(words: Sequence[str]) -> int:
    """Run a command and return its exit code.

    Raises:
        FaceproofError: the command cannot be done.
        CycloptsError: the words are no command.
    """
    if not words:
        raise CycloptsError("name a command")
    # cyclopts takes a lone - for an option without a name.
    tokens = ["/dev/stdin" if word == "-" else word for word in words]
    try:
        code = make_parser(words[0])(
            tokens, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        if isinstance(error.__cause__, FaceproofError):  # of the checks of a settings' dataclass
            raise error.__cause__ from None
        raise
    return int(code or 0)


def make_parser(called: str | None = None) -> App:
    """Return the command line; of the commands, only the one that is called is loaded."""
    app = make_app("faceproof", TEXT)
    app.version_flags = ("--version",)
    app.version = f"faceproof {__version__}"
    for name, summary in PROGRAMS.items():
        app.command(f"faceproof.programs:{name}", name=name, help=summary)
    for name, summary in COMMANDS.items():
        place = f"faceproof.cli.{name}"
        if name == called:
            app.command(import_module(place).command)
        else:
            app.command(f"{place}:command", name=name, help=summary)
    return app
