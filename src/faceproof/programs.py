"""The programs that Hydra starts: `faceproof train`, `sweep`, `crossval` and `evaluate`.

`python train.py` and `python evaluate.py` are the same in a checkout.
"""

import contextlib
import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from faceproof import app
from faceproof.io.newest_runs import find_resumable
from faceproof.io.plain_files import printable_lines
from faceproof.io.run_folder import RunFolder
from faceproof.io.streams import outlive_closed_pipes
from faceproof.performance.threads import wait_briefly
from faceproof.words import with_allowed

# Words with which nothing is run.
ASKING = frozenset(("-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info",
                    "-sc", "--shell-completion"))  # fmt: skip
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def train(words: Sequence[str] | None = None) -> None:
    """Train a detector; with several values for a setting and `-m`, one of each.

    Args:
        words: groups and settings such as `model=resnet18`; by default those that the process was
            started with.
    """
    start("train", _train, sys.argv[1:] if words is None else words)


def sweep(words: Sequence[str]) -> None:
    """Train a detector for every combination of the values, or by a search."""
    start("train", _train, list(words) if ASKING.intersection(words) else ["-m", *words])


def crossval(words: Sequence[str]) -> None:
    """Train without each source or generator in turn, and judge each run on what was left out."""
    start("train", _train, list(words) if ASKING.intersection(words) else over_words(words))


def over_words(words: Sequence[str]) -> list[str]:
    """Return the words of a sweep that leaves out each source, or with `--over` each generator.

    Raises:
        SystemExit: another sweep is named, or nothing stands behind `--over`.
    """
    if other := next((word for word in words if word.startswith("sweep=")), None):
        sys.exit(f"error: crossval is a sweep of its own; leave out {other}")
    kept, rest = ["sweep=leave_one_out"], iter(words)
    for word in rest:
        option, equals, name = word.partition("=")
        if option != "--over":
            kept.append(word)
        elif name := name if equals else next(rest, ""):
            kept.append(f"hydra.sweeper.over={name}")
        else:
            sys.exit("error: --over needs a value: source or generator")
    return kept


def evaluate(words: Sequence[str] | None = None) -> None:
    """Score the best epoch of a run and write the report."""
    start("evaluate", _evaluate, sys.argv[1:] if words is None else words)


def start(name: str, task: Callable[[DictConfig], Any], words: Sequence[str]) -> None:
    """Compose the configuration `conf/NAME.yaml` by Hydra and call a task with it.

    What the user can mend ends with one message and exit code 1. The task finds `sys.argv` as the
    process was started, because Lightning starts further processes with it.
    """
    outlive_closed_pipes()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints and exits by itself
    typed, begun = sys.argv, False
    not_there = [place for place in (Path("runs"), Path("multirun")) if not place.exists()]

    @functools.wraps(task)
    def with_typed_words(config: DictConfig) -> Any:
        nonlocal begun
        sys.argv, begun = typed, True
        app.say_own_conf()
        return task(config)

    conf = str(app.config_root() / "conf")
    main = hydra.main(version_base="1.3", config_path=conf, config_name=name)(with_typed_words)
    try:
        words = with_allowed(words)
        app.refuse_unknown_words(words, name)
        sys.argv = [typed[0], *app.command_line(words)]
        main()
    except app.MENDABLE as error:
        sys.exit(f"error: {printable_lines(app.message(error, name))}")
    except OSError as error:
        if begun or error.errno not in NOT_WRITABLE:
            raise
        sys.exit(
            f"error: {Path(error.filename or '.').absolute()} cannot be written to, and the run's "
            "folder would lie there; start in another folder, or name one by "
            "hydra.run.dir=FOLDER (hydra.sweep.dir=FOLDER in a sweep)"
        )
    finally:
        sys.argv = typed
        for place in not_there:  # a refused run leaves nothing behind
            with contextlib.suppress(OSError):  # it is not there, or holds runs
                place.rmdir()


def clear_errors(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Let a task end with one message and exit code 1 where the user can mend it.

    Defects of faceproof keep their traceback; in a multirun the error is left to the sweep. Ctrl-C
    outside of the epochs, which write a checkpoint first, ends with exit code 130.
    """

    @functools.wraps(task)
    def wrapped(config: DictConfig) -> Any:
        wait_briefly()
        try:
            return task(config)
        except (*app.MENDABLE, KeyboardInterrupt) as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            folder = Path(HydraConfig.get().runtime.output_dir)
            _remove_if_unused(folder)
            if not isinstance(error, KeyboardInterrupt):
                program = str(HydraConfig.get().job.config_name)
                sys.exit(f"error: {printable_lines(app.message(error, program))}")
            hint = ""
            if "resume" in config:  # an evaluation is simply started again
                run = RunFolder(folder) if config.resume is None else find_resumable(config.resume)
                hint = f"; {run.how_to_resume()}"
            print(f"interrupted{hint}", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)

    return wrapped


def _remove_if_unused(folder: Path) -> None:
    """Remove a run folder that holds nothing but Hydra's log."""
    log = folder / f"{HydraConfig.get().job.name}.log"
    if not folder.is_dir() or folder.samefile(Path.cwd()):  # an evaluation has no folder of its own
        return
    if set(folder.iterdir()) <= {log}:
        log.unlink(missing_ok=True)
        folder.rmdir()


@clear_errors
def _train(config: DictConfig) -> float:
    return app.train(config)


@clear_errors
def _evaluate(config: DictConfig) -> None:
    app.evaluate(config)
