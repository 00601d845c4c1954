"""Where a run is shown beside its files: figures, settings and reports, as TensorBoard and others.

A board is a logger of Lightning's, which takes the curves, or a run's board that is opened again
after the training, for its mistakes and reports.
"""

import contextlib
import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from faceproof.errors import FaceproofError
from faceproof.io.atomic import write_text
from faceproof.io.cache import cache_folder
from faceproof.io.plain_files import printable
from faceproof.io.run_folder import RunFolder
from faceproof.training.config import LoggerConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRACKERS = "trackers"  # in record.json: what the run is called where it is tracked
# What a tracker calls a run: `project/run` or `run`.
RUN_NAME = re.compile(r"(?a)(?:[\w.-]{1,200}/)?\w{1,64}")

log = logging.getLogger(__name__)


class Board:
    """Shows of a run what is no single curve; what a kind of board cannot show it leaves out."""

    kind: ClassVar[str] = ""  # what `logger=` calls it
    failed = False

    def begin(self, values: Mapping[str, Any], choices: Mapping[str, str]) -> str | None:
        """Begin a training's run with its settings, or continue it; return what it is called there.

        None is of a board that lies in the run folder.

        Args:
            values: the settings, in the structure of `conf/train.yaml`.
            choices: which file of `conf/` each group was taken from.

        Raises:
            FaceproofError: the board cannot be reached.
        """
        return None

    def add_charts(self, charts: Mapping[str, Any]) -> None:
        """Say which curves belong into one chart, as TensorBoard's custom scalars."""

    def add_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Show a figure, at an epoch."""

    def log_settings(
        self, values: Mapping[str, Any], choices: Mapping[str, str], best: Mapping[str, Any]
    ) -> None:
        """Show a run's settings with its best metrics, such as `val/loss`; see `begin`."""

    def log_report(self, name: str, metrics: Mapping[str, float | None], page: Path) -> None:
        """Show the metrics of an evaluation of this name, and its page."""

    def close(self, failed: bool = False) -> None:
        """Write what is not written yet."""

    def attempt(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Call what may fail because a server is away: a training goes on without its tracker."""
        if self.failed:
            return
        try:
            call(*arguments, **named)
        # Trackers pass on the errors of what they store to: HTTP, databases, disks.
        except Exception as error:
            self.failed = True
            log.warning("no more of this run is logged to %s: %s", self.kind, reason_of(error))


def reason_of(error: Exception) -> str:
    """Return kind and first line of an error, for a message."""
    first, *_ = [*str(error).splitlines(), ""]
    return f"{type(error).__name__}: {printable(first)}"


class EventFiles(Board):
    """TensorBoard events of a run whose training is over; another file of them is begun."""

    kind = "tensorboard"

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder)

    def add_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Show a figure among the images."""
        self.writer.add_figure(name, figure, step)

    def close(self, failed: bool = False) -> None:
        """Close the file."""
        self.writer.close()


def check_boards(config: LoggerConfig) -> None:
    """Refuse boards that cannot be used here, before any work.

    Raises:
        FaceproofError: a package is missing, or nobody is logged in.
    """
    for kind in wanted_trackers(config):
        if find_spec(kind) is None:
            raise FaceproofError(f"logger={kind} needs {kind}: pip install 'faceproof[{kind}]'")
    if config.wandb:
        from faceproof.training.trackers import check_login

        check_login()


def wanted_trackers(config: LoggerConfig) -> list[str]:
    """Return the trackers that the settings ask for."""
    wanted = {"mlflow": config.mlflow, "wandb": config.wandb}
    return [kind for kind, is_wanted in wanted.items() if is_wanted]


@contextlib.contextmanager
def begun(
    boards: Sequence[Board], run: RunFolder, values: Mapping[str, Any], choices: Mapping[str, str]
) -> Iterator[None]:
    """Begin the boards of a training and record what it is called there; close them at its end.

    Raises:
        FaceproofError: one cannot be reached.
    """
    done = False
    try:
        names = {board.kind: board.begin(values, choices) for board in boards}
        if trackers := {kind: name for kind, name in names.items() if name is not None}:
            run.update_record(**{TRACKERS: trackers})
            for kind, name in trackers.items():
                write_text(_mark(kind, name), f"{kind} {name}\n")
        yield
        done = True
    finally:
        for board in boards:
            board.close(failed=not done)


def recorded_trackers(run: RunFolder) -> dict[str, str]:
    """Return what a run is called where it is tracked, by the trackers' kinds."""
    recorded = run.read_record().get(TRACKERS)
    found = recorded if isinstance(recorded, Mapping) else {}
    return {
        kind: name
        for kind, name in found.items()
        if kind in ("mlflow", "wandb") and isinstance(name, str) and RUN_NAME.fullmatch(name)
    }


def _mark(kind: str, name: str) -> Path:
    """Return the file that says that this user has begun a tracked run, by its name there.

    A record may be a stranger's: it cannot say what is sent to the user's own account.
    """
    digest = hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:32]
    return cache_folder() / "tracked" / digest


def own_trackers(run: RunFolder) -> dict[str, str]:
    """Return those of `recorded_trackers` that this user has begun; warn of others."""
    found = {}
    for kind, name in recorded_trackers(run).items():
        if _mark(kind, name).is_file():
            found[kind] = name
            continue
        log.warning(
            "this run was logged to %s as %s, but not by you (%s is not there), so that nothing is "
            "added there", kind, name, _mark(kind, name),
        )  # fmt: skip
    return found


@contextlib.contextmanager
def reopened_boards(run: RunFolder) -> Iterator[list[Board]]:
    """Open the boards of a run again whose training is over, and close them at the end.

    A tracker that is not there any more, or does not know the run, is left out with a warning; so
    is a run that this user has not begun.
    """
    boards: list[Board] = []
    if any(run.path.glob("events.*")):
        boards.append(EventFiles(run.path))
    try:
        for kind, name in own_trackers(run).items():
            if find_spec(kind) is None:
                log.warning(
                    "this run was logged to %s, which is not installed, so that nothing is added "
                    "there: pip install 'faceproof[%s]'", kind, kind,
                )  # fmt: skip
                continue
            from faceproof.training.trackers import reopen

            boards.extend(reopen(kind, name))
        yield boards
    finally:
        for board in boards:
            board.close()
