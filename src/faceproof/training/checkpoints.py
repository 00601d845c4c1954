"""Checkpoints: whole or not there, inside epochs too, and written when a run is told to end.

Lightning's own are written at the end of an epoch and straight into their file. A run killed
inside an epoch, or while a file is written, must lose nothing but the steps since its last one.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor, nn
from torch.optim import Optimizer

from faceproof.data.loaders import ResumableLoader
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_file
from faceproof.models.state_dicts import load_plain
from faceproof.models.weights import check_numbers
from faceproof.training.finite import NonFiniteError
from faceproof.training.loggers import EpochTable
from faceproof.training.module import DetectorModule

SO_FAR = "epoch_so_far"  # in a checkpoint inside an epoch: its place, and its figures so far
OF_CHECKPOINT: dict[str, type] = {
    "epoch": int,
    "global_step": int,
    "state_dict": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
OF_PLACE: dict[str, type] = {"place": int, "batches": list}  # all else there are tensors
FIGURES_SO_FAR = ("logits", "labels", "loss", "weight")
PLAIN = {"fused", "foreach", "capturable"}  # what an optimizer does otherwise than in Python
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequestedError(Exception):
    """The run was told to end and has written its checkpoint."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its file and renames it."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the old one stands until the new one is whole.

        Raises:
            CannotWriteError: the disk is full or cannot be written to.
        """
        file = Path(path)
        with atomic_file(file) as partial, partial.open("wb") as written:
            torch.save(checkpoint, written)


@dataclass(frozen=True)
class Saving:
    """When a checkpoint is written inside an epoch; at its end there is always one.

    Args:
        minutes: at the most so long after the one before; None for never.
        steps: after so many optimizer steps; None for never.
    """

    minutes: float | None = 10.0
    steps: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("minutes", self.minutes), ("steps", self.steps)):
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise FaceproofError(f"checkpoint.{name} = {value!r} must be above 0, or null")


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`: from it a run goes on as if it had never stopped.

    Inside an epoch it is written between optimizer steps only, so no gradient is in flight.

    Args:
        path: the file.
        saving: when it is written inside an epoch.
    """

    def __init__(self, path: Path, saving: Saving) -> None:
        self.path, self.saving = path, saving
        self.stop_requested = False
        self._written_at = time.monotonic()
        self._written_step = 0
        self._inside = False
        self._so_far: dict[str, Any] | None = None
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the figures of an epoch that was begun, and listen for the signal to end."""
        assert isinstance(pl_module, DetectorModule)
        self._written_step = trainer.global_step
        if self._so_far is not None:
            cast(ResumableLoader, trainer.train_dataloader).go_on_from(self._so_far.pop("place"))
            self._so_far.pop("batches")
            pl_module.take_up(self._so_far)
            self._so_far = None
        with contextlib.suppress(ValueError):  # not in the main thread, where no signal arrives
            for number in SIGNALS:
                self._handlers[number] = signal.signal(number, self._request)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _request(self, number: int, frame: Any) -> None:
        """Note that the run is to end after this step; a second signal ends it at once."""
        self.stop_requested = True
        print("ends after this step with a checkpoint; once more to end at once", file=sys.stderr)
        signal.signal(number, signal.default_int_handler)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint between two steps, if it is time or the run is to end."""
        stop = self._shall_stop(trainer)
        between = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not between or batch_idx + 1 >= trainer.num_training_batches:
            return  # the end of the epoch writes its own
        if stop or self._is_due(trainer):
            self._inside = True
            self._write(trainer)
            self._inside = False
        if stop:
            raise StopRequestedError

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row and then the checkpoint of a whole epoch, which is not trained again."""
        for logger in trainer.loggers:
            if isinstance(logger, EpochTable) and trainer.is_global_zero:
                figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
                logger.log_metrics({**figures, "epoch": trainer.current_epoch})
        self._write(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a run that was told so while its last epoch was validated."""
        if self._shall_stop(trainer):
            raise StopRequestedError

    def _shall_stop(self, trainer: Trainer) -> bool:
        """Say whether any process was told to end."""
        if trainer.world_size == 1:
            return self.stop_requested
        return bool(trainer.strategy.reduce_boolean_decision(self.stop_requested, all=False))

    def _is_due(self, trainer: Trainer) -> bool:
        saving = self.saving
        steps = saving.steps and trainer.global_step - self._written_step >= saving.steps
        minutes = saving.minutes and time.monotonic() - self._written_at >= saving.minutes * 60
        if trainer.world_size > 1 and saving.minutes:
            minutes = trainer.strategy.broadcast(bool(minutes))  # one clock for all
        return bool(steps or minutes)

    def _write(self, trainer: Trainer) -> None:
        """Write the file, but never weights from which no run could go on."""
        module = cast(DetectorModule, trainer.lightning_module)
        fault = None
        try:
            module.losses.check()  # which step it was says more than what became of the weights
        except NonFiniteError as error:
            fault = error
        # All processes are asked, those too that have a fault to tell.
        if not trainer.strategy.reduce_boolean_decision(fault is None and module.is_finite()):
            raise fault or NonFiniteError(
                f"the weights are not finite after step {trainer.global_step}, in epoch "
                f"{trainer.current_epoch}"
            )
        trainer.save_checkpoint(self.path)
        self._written_at, self._written_step = time.monotonic(), trainer.global_step

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the place in a begun epoch, and what its figures are made of."""
        assert isinstance(pl_module, DetectorModule)
        if self._inside:
            loader = cast(ResumableLoader, trainer.train_dataloader)
            batches = [loader.batch_size, trainer.world_size]
            place = {"place": loader.num_given, "batches": batches}
            checkpoint[SO_FAR] = {**pl_module.so_far(), **place}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what the figures of a begun epoch are made of, until training starts."""
        self._so_far = checkpoint.get(SO_FAR)


def num_whole_epochs(path: Path) -> int:
    """Return how many epochs a checkpoint file has behind it; see `read_place`."""
    epoch, so_far = read_place(path)
    return epoch if so_far else epoch + 1


def check_batches(path: Path, batch_size: int, num_ranks: int) -> None:
    """Refuse to go on inside an epoch with other batches: there is no such place then.

    Raises:
        FaceproofError: the checkpoint is of such a place and was written with other batches.
    """
    _, so_far = read_place(path)
    now = {"loader.batch_size": batch_size, "the number of processes": num_ranks}
    for (name, here), there in zip(now.items(), (so_far or {}).get("batches", []), strict=False):
        if here != there:
            raise FaceproofError(
                f"the checkpoint was written inside an epoch with {name} = {there}, and this is "
                f"{here}: only at an epoch's end can that change; go on with {there} to the end of "
                "the epoch"
            )


def read_place(path: Path) -> tuple[int, dict[str, Any] | None]:
    """Return the epoch of a checkpoint file, and what it has of it if it is not whole.

    Raises:
        FaceproofError: it is damaged, would execute code, or is no checkpoint of training.
    """
    checkpoint = _read(path)
    return checkpoint["epoch"], checkpoint.get(SO_FAR)


def check_fit(path: Path, net: nn.Module, optimizer: Callable[[nn.Module], Optimizer]) -> None:
    """Refuse a checkpoint file that is not of this network; its weights are in it afterwards.

    Args:
        path: the file.
        net: the network.
        optimizer: makes the optimizer of a network.

    Raises:
        FaceproofError: it is not, or holds weights that are no numbers, or its optimizer's state is
            of another optimizer; or see `read_place`.
    """
    checkpoint = _read(path)
    _try_step(path, net, optimizer(net), checkpoint["optimizer_states"])
    try:
        nn.ModuleDict({"net": net}).load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, AttributeError, TypeError) as error:
        raise FaceproofError(f"{path} does not fit the run's own model: {error}") from error
    check_numbers(net, path)


def _try_step(path: Path, net: nn.Module, optimizer: Optimizer, states: list[Any]) -> None:
    """Refuse an optimizer's state from which no step can be made, by making one on zero gradients.

    Each optimizer keeps what it likes of each parameter, so that it alone can tell. The weights
    that are moved are to be loaded afterwards.
    """
    names = [group["name"] for group in optimizer.param_groups]
    try:
        (state,) = states
        optimizer.load_state_dict(state)
        if names != (found := [group["name"] for group in optimizer.param_groups]):
            raise ValueError(f"its groups are {found}, and here they are {names}")
        for group in optimizer.param_groups:  # plain arithmetic, which checks every shape
            group.update(dict.fromkeys(PLAIN & group.keys(), False))
        for parameter in optimizer.state:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        if not all(parameter.isfinite().all() for parameter in net.parameters()):
            raise ValueError("its next step leads to what are no numbers")
    except MemoryError:
        raise
    except Exception as error:  # an optimizer can stumble in any way over what is not its own
        reason = f"{type(error).__name__}: {error}"
        raise FaceproofError(
            f"{path} does not fit the run's own optimizer, which cannot go on from its "
            f"optimizer_states: {reason}"
        ) from error
    finally:
        net.zero_grad()


def _read(path: Path) -> dict[str, Any]:
    """Return a checkpoint, its tensors on disk, with all that goes on from it of the right kind."""
    checkpoint = load_plain(path, mapped=True)
    if not isinstance(checkpoint, dict) or not OF_CHECKPOINT.keys() <= checkpoint.keys():
        raise FaceproofError(
            f"{path} is no checkpoint to go on from; it lacks what train.py writes"
        )
    _check_kinds(path, checkpoint, OF_CHECKPOINT)
    for schedule in checkpoint["lr_schedulers"] or [None]:
        _check_kinds(path, {"schedule": schedule}, {"schedule": dict})
    if SO_FAR in checkpoint:
        _check_kinds(path, checkpoint, {SO_FAR: dict})
        figures = dict.fromkeys([*FIGURES_SO_FAR, *checkpoint[SO_FAR]], Tensor)
        _check_kinds(path, checkpoint[SO_FAR], figures | OF_PLACE)
    return checkpoint


def _check_kinds(path: Path, found: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise FaceproofError(
                f"{path} is no checkpoint to go on from; its {name} is of the type "
                f"{type(found.get(name)).__name__}, and train.py writes {kind.__name__}"
            )
