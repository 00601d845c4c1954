"""Experiment trackers as boards: MLflow, and Weights & Biases, through Lightning's loggers.

Where they are and who may write there is the user's own: MLFLOW_TRACKING_URI, WANDB_MODE, `wandb
login`. A run's settings and record name projects and runs alone, so that a stranger's run cannot
say where anything is sent.
"""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.training.boards import Board, own_trackers, reason_of, wanted_trackers
from faceproof.training.config import LoggerConfig
from faceproof.training.loggers import hyperparameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the two report to their makers by themselves, unless the user wants it.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}

MEND = {
    "mlflow": "look at MLFLOW_TRACKING_URI, or train without logger=mlflow",
    "wandb": "look at wandb login, set WANDB_MODE=offline, or train without logger=wandb",
}

log = logging.getLogger(__name__)


def make_trackers(run: RunFolder, config: LoggerConfig, resume: bool) -> list[Logger]:
    """Return the loggers of the trackers that the settings ask for.

    A run that is resumed goes on where this user has begun it, and else as another one.

    Raises:
        FaceproofError: one cannot be reached.
    """
    known = own_trackers(run) if resume else {}
    kinds = {"mlflow": MLflow, "wandb": WandB}
    made: list[Logger] = []
    for kind in wanted_trackers(config):
        number = known.get(kind, "").rpartition("/")[2] or None
        try:
            made.append(kinds[kind](config.project, run.path.name, number))
        except Exception as error:  # of what it stores to: HTTP, databases, disks
            raise FaceproofError(
                f"{kind} cannot be used ({reason_of(error)}); {MEND[kind]}"
            ) from error
    return made


def reopen(kind: str, name: str) -> list[Board]:
    """Return the board of a run that a tracker knows by this name; none, with a warning, else."""
    project, _, number = name.rpartition("/")
    try:
        if kind == "mlflow":
            return [MLflow(project, None, number, must_exist=True)]
        check_login()
        board = WandB(project, None, number, must_exist=True)
        board.began = True
        _ = board.experiment
    # Trackers pass on the errors of what they store to: HTTP, databases, disks.
    except Exception as error:
        log.warning(
            "this run was logged to %s as %s, which cannot be opened (%s), so that nothing is "
            "added there", kind, name, reason_of(error),
        )  # fmt: skip
        return []
    return [board]


def check_login() -> None:
    """Refuse to begin where Weights & Biases would ask who one is.

    Raises:
        FaceproofError: nobody is logged in.
    """
    _be_quiet()
    import wandb

    if wandb.setup().settings.mode in (None, "online", "run") and not wandb.login(prompt=False):
        raise FaceproofError(
            "logger=wandb sends the run to Weights & Biases, and nobody is logged in: run wandb "
            "login, or set WANDB_MODE=offline to store it in the folder wandb"
        )


def _be_quiet() -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


class MLflow(Board, MLFlowLogger):
    """A run in an MLflow store: that of MLFLOW_TRACKING_URI, else `mlflow.db` in this folder.

    Args:
        project: the experiment there, which is made if there is none.
        name: what the run is shown as.
        number: of a run that is there and goes on; None for a new one.
        must_exist: raise if the store does not have that run, instead of beginning another.
    """

    kind = "mlflow"

    def __init__(
        self, project: str, name: str | None, number: str | None = None, must_exist: bool = False
    ) -> None:
        _be_quiet()
        import mlflow

        place = mlflow.get_tracking_uri()
        self.continues = number is not None
        if number is not None:
            try:
                mlflow.MlflowClient(place).get_run(number)
            except mlflow.MlflowException as error:
                if must_exist:
                    raise
                log.warning("MLflow begins another run for this one: %s", reason_of(error))
                number, self.continues = None, False
        super().__init__(project, name, tracking_uri=place, run_id=number)

    def begin(self, values: Mapping[str, Any], choices: Mapping[str, str]) -> str:
        """Begin the run in the store with its settings; see `Board.begin`."""
        try:
            number = self.run_id
            if not self.continues:  # what MLflow has of a run's settings cannot be changed
                self.log_hyperparams(dict(hyperparameters(values, choices)))
        except Exception as error:
            raise FaceproofError(
                f"mlflow cannot begin a run ({reason_of(error)}); {MEND[self.kind]}"
            ) from error
        assert number is not None
        return str(number)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log curves; a store that is away ends the logging, not the training."""
        self.attempt(super().log_metrics, metrics, step)

    def finalize(self, status: str = "success") -> None:
        """Say in the store how the run ended."""
        self.attempt(super().finalize, status)

    @rank_zero_only
    def add_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Store a figure as the artifact `NAME/STEP.png`."""
        file = f"{_plain(name)}/{step:04}.png"
        self.attempt(lambda: self.experiment.log_figure(self.run_id, figure, file))

    @rank_zero_only
    def log_settings(
        self, values: Mapping[str, Any], choices: Mapping[str, str], best: Mapping[str, Any]
    ) -> None:
        """Log the best epoch's metrics; the settings are there since it began."""
        self.log_metrics({f"best/{name}": one for name, one in best.items() if one is not None})

    @rank_zero_only
    def log_report(self, name: str, metrics: Mapping[str, float | None], page: Path) -> None:
        """Log a report's metrics as `evaluations/NAME/METRIC`, and its page as an artifact."""
        place = f"evaluations/{_plain(name)}"
        self.log_metrics({f"{place}/{one}": x for one, x in metrics.items() if x is not None})
        self.attempt(lambda: self.experiment.log_artifact(self.run_id, str(page), place))

    @rank_zero_only
    def close(self, failed: bool = False) -> None:
        """Say of a run that failed after its last epoch that it did; it was called finished."""
        if failed and self._initialized:
            self.attempt(self.experiment.set_terminated, self._run_id, "FAILED")


class WandB(Board, WandbLogger):
    """A run of Weights & Biases, by the user's own login, or offline by WANDB_MODE.

    Its files lie in `wandb/` of the working folder, or in WANDB_DIR. For the arguments see
    `MLflow`.
    """

    kind = "wandb"
    began = False  # a run of this process that is to be ended

    def __init__(
        self, project: str, name: str | None, number: str | None = None, must_exist: bool = False
    ) -> None:
        _be_quiet()
        import wandb

        if wandb.run is not None:
            raise FaceproofError(
                f"the run {wandb.run.id} of Weights & Biases is open in this process, and this one "
                "would go into it: call wandb.finish() first"
            )
        super().__init__(
            name, os.environ.get("WANDB_DIR", "."), id=number, project=project,
            resume="must" if must_exist else "allow",
            settings=wandb.Settings(console="off", quiet=True),
        )  # fmt: skip
        self.project_name = project

    @property
    def _run(self) -> Any:
        return self.experiment

    def begin(self, values: Mapping[str, Any], choices: Mapping[str, str]) -> str:
        """Begin the run with its settings; see `Board.begin`."""
        self.began = True
        try:
            self.log_hyperparams(dict(hyperparameters(values, choices)))
        except Exception as error:
            raise FaceproofError(
                f"wandb cannot begin a run ({reason_of(error)}); {MEND[self.kind]}"
            ) from error
        return f"{self.project_name}/{self._run.id}"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log curves; what fails ends the logging, not the training."""
        self.attempt(super().log_metrics, metrics, step)

    @rank_zero_only
    def add_figure(self, name: str, figure: "Figure", step: int) -> None:
        """Log a figure among the media."""
        import wandb

        self.attempt(lambda: self._run.log({name: wandb.Image(figure), "epoch": step}))

    @rank_zero_only
    def log_settings(
        self, values: Mapping[str, Any], choices: Mapping[str, str], best: Mapping[str, Any]
    ) -> None:
        """Put the best epoch's metrics into the summary; the settings are there already."""
        summary = {f"best/{name}": one for name, one in best.items() if one is not None}
        self.attempt(lambda: self._run.summary.update(summary))

    @rank_zero_only
    def log_report(self, name: str, metrics: Mapping[str, float | None], page: Path) -> None:
        """Put a report's metrics into the summary, and its page among the media."""
        import wandb

        place = f"evaluations/{name}"
        summary = {f"{place}/{one}": value for one, value in metrics.items() if value is not None}
        self.attempt(lambda: self._run.summary.update(summary))
        shown = wandb.Html(page.read_text("utf-8"), inject=False)
        self.attempt(lambda: self._run.log({f"{place}/page": shown}))

    @rank_zero_only
    def close(self, failed: bool = False) -> None:
        """End the run in this process, also one that could not be logged to: another may begin."""
        import wandb

        if self.began and wandb.run is not None:
            self.failed = False
            self.attempt(wandb.finish, exit_code=int(failed))


def _plain(name: str) -> str:
    """Return a name in the letters that MLflow has for metrics and artifacts."""
    return re.sub(r"(?a)[^\w./-]", "_", name)
