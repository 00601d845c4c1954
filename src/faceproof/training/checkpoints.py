"""Checkpoints that are written atomically, inside epochs too, and when a run is asked to stop.

Lightning writes its own at the end of an epoch and straight into their file. A run that is killed
inside an epoch, or while a file is written, must lose nothing but the steps since its last one.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
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
from faceproof.io.processes import reports_of_deaths_wait
from faceproof.models.state_dicts import load_plain
from faceproof.models.weights import check_numbers
from faceproof.training.config import CheckpointConfig
from faceproof.training.finite import NonFiniteError
from faceproof.training.loggers import EpochTable
from faceproof.training.module import DetectorModule

# In a checkpoint inside an epoch: its place, and the state of its metrics.
BEGUN_EPOCH = "begun_epoch"
OF_CHECKPOINT: dict[str, type] = {
    **dict.fromkeys(("epoch", "global_step"), int),
    **dict.fromkeys(("state_dict", "loops", "callbacks"), dict),
    **dict.fromkeys(("optimizer_states", "lr_schedulers"), list),
}
OF_PLACE: dict[str, type] = {"place": int, "batches": list}  # all else there are tensors
EPOCH_STATE = ("logits", "labels", "loss", "weight")
PLAIN = {"fused", "foreach", "capturable"}  # what an optimizer does otherwise than in Python
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequestedError(Exception):
    """The run was asked to stop and has written its checkpoint."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its file and renames it."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the old one stays until the new one is complete."""
        with (
            reports_of_deaths_wait(),
            atomic_file(Path(path)) as partial,
            partial.open("wb") as written,
        ):
            torch.save(checkpoint, written)


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt`, from which a run is resumed as if it had never stopped.

    Inside an epoch it is written when `config` says, and between optimizer steps only, so that no
    gradient is in flight.
    """

    def __init__(self, path: Path, config: CheckpointConfig) -> None:
        self.path, self.config = path, config
        self.stop_requested = False
        self._written_at = time.monotonic()
        self._written_step = 0
        self._inside = False
        self._begun: dict[str, Any] | None = None
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state of an epoch that was begun, and listen for signals to stop."""
        assert isinstance(pl_module, DetectorModule)
        self._written_step = trainer.global_step
        if self._begun is not None:
            cast(ResumableLoader, trainer.train_dataloader).go_on_from(self._begun.pop("place"))
            self._begun.pop("batches")
            pl_module.restore_epoch_state(self._begun)
            self._begun = None
        with contextlib.suppress(ValueError):  # not in the main thread, where no signal arrives
            for number in SIGNALS:
                self._handlers[number] = signal.signal(number, self._request)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _request(self, number: int, frame: Any) -> None:
        """Stop after this step; a second signal ends the process at once."""
        self.stop_requested = True
        print("ends after this step with a checkpoint; once more to end at once", file=sys.stderr)
        signal.signal(number, signal.default_int_handler)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint between two steps, if it is due or the run is to stop."""
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
        """Write the row and then the checkpoint of a finished epoch, which is not trained again."""
        for logger in trainer.loggers:
            if isinstance(logger, EpochTable) and trainer.is_global_zero:
                metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
                logger.log_metrics({**metrics, "epoch": trainer.current_epoch})
        self._write(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a run that was asked to while its last epoch was validated."""
        if self._shall_stop(trainer):
            raise StopRequestedError

    def _shall_stop(self, trainer: Trainer) -> bool:
        """Say whether any process was asked to stop."""
        if trainer.world_size == 1:
            return self.stop_requested
        return bool(trainer.strategy.reduce_boolean_decision(self.stop_requested, all=False))

    def _is_due(self, trainer: Trainer) -> bool:
        config = self.config
        steps = config.steps and trainer.global_step - self._written_step >= config.steps
        minutes = config.minutes and time.monotonic() - self._written_at >= config.minutes * 60
        if trainer.world_size > 1 and config.minutes:
            minutes = trainer.strategy.broadcast(bool(minutes))  # one clock for all
        return bool(steps or minutes)

    def _write(self, trainer: Trainer) -> None:
        """Write the file, unless its weights are not finite: no run could be resumed from them."""
        module = cast(DetectorModule, trainer.lightning_module)
        fault = None
        try:
            module.losses.check()  # the step is a better message than its effect on the weights
        except NonFiniteError as error:
            fault = error
        # All processes take part, those with a fault too.
        if not trainer.strategy.reduce_boolean_decision(fault is None and module.is_finite()):
            raise fault or NonFiniteError(
                f"the weights are not finite after step {trainer.global_step}, in epoch "
                f"{trainer.current_epoch + 1}"
            )
        trainer.save_checkpoint(self.path)
        self._written_at, self._written_step = time.monotonic(), trainer.global_step

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the place in a begun epoch, and the state of its metrics."""
        assert isinstance(pl_module, DetectorModule)
        if self._inside:
            loader = cast(ResumableLoader, trainer.train_dataloader)
            sampler = loader.batch_sampler.sampler
            batches = [loader.batch_sampler.batch_size, trainer.world_size, sampler.name]
            place = {"place": loader.num_given, "batches": batches}
            checkpoint[BEGUN_EPOCH] = {**pl_module.epoch_state(), **place}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the state of a begun epoch until training starts."""
        self._begun = checkpoint.get(BEGUN_EPOCH)


def num_whole_epochs(path: Path) -> int:
    """Return how many finished epochs a checkpoint file holds; see `read_place`."""
    epoch, begun = read_place(path)
    return epoch if begun else epoch + 1


def check_best(path: Path, epoch: int) -> None:
    """Refuse a file of weights that is not of the best epoch, whose metrics it would be given."""
    checkpoint = load_plain(path, mapped=True)
    found = checkpoint.get("epoch") if isinstance(checkpoint, dict) else None
    if found != epoch:
        of = f"epoch {found + 1}" if isinstance(found, int) else "no known epoch"
        raise FaceproofError(
            f"{path} holds the weights of {of}, and by metrics.csv epoch {epoch + 1} is the best: "
            "the file was replaced, or its epoch was trained again; put the right one back, or "
            "train anew"
        )


def check_batches(path: Path, batch_size: int, num_ranks: int, sampler: str) -> None:
    """Refuse to resume inside an epoch with other batches: its place would be another."""
    _, begun = read_place(path)
    now: dict[str, int | str] = {
        "loader.batch_size": batch_size,
        "the number of processes": num_ranks,
        "loader.sampler": sampler,  # checkpoints of older versions lack it
    }
    for (name, here), there in zip(now.items(), (begun or {}).get("batches", []), strict=False):
        if here != there:
            raise FaceproofError(
                f"the checkpoint was written inside an epoch with {name} = {there}, and this is "
                f"{here}: it can change only at the end of an epoch; resume with {there} first"
            )


def read_place(path: Path) -> tuple[int, dict[str, Any] | None]:
    """Return the epoch of a checkpoint file, and its state where the epoch is not finished."""
    checkpoint = _read(path)
    return checkpoint["epoch"], checkpoint.get(BEGUN_EPOCH)


def check_fit(path: Path, net: nn.Module, optimizer: Callable[[nn.Module], Optimizer]) -> None:
    """Refuse a checkpoint file that is not of this network; afterwards the network has its weights.

    Raises:
        FaceproofError: it is not, is damaged or would execute code, holds weights that are no
            numbers, or an optimizer's state that is of another optimizer.
    """
    checkpoint = _read(path)
    _try_step(path, net, optimizer(net), checkpoint["optimizer_states"])
    try:
        nn.ModuleDict({"net": net}).load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, AttributeError, TypeError) as error:
        raise FaceproofError(f"{path} does not fit the run's own model: {error}") from error
    check_numbers(net, path)


def _try_step(path: Path, net: nn.Module, optimizer: Optimizer, states: list[Any]) -> None:
    """Refuse an optimizer state from which no step can be made, by making one on zero gradients.

    Every optimizer has a state of its own, which it alone can check. The caller loads the weights
    afterwards, which the step moves.
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
            raise ValueError("its next step gives weights that are not finite")
    except MemoryError:
        raise
    except Exception as error:  # an optimizer may raise anything on a foreign state
        raise FaceproofError(
            f"{path} does not fit the run's own optimizer, which cannot be resumed from its "
            f"optimizer_states: {type(error).__name__}: {error}"
        ) from error
    finally:
        net.zero_grad()


def _read(path: Path) -> dict[str, Any]:
    """Return a checkpoint, its tensors mapped from disk, after a check of its types."""
    checkpoint = load_plain(path, mapped=True)
    if not isinstance(checkpoint, dict) or not OF_CHECKPOINT.keys() <= checkpoint.keys():
        raise FaceproofError(
            f"{path} is not a checkpoint to resume from; it lacks what faceproof train writes"
        )
    _check_kinds(path, checkpoint, OF_CHECKPOINT)
    for schedule in checkpoint["lr_schedulers"] or [None]:
        _check_kinds(path, {"schedule": schedule}, {"schedule": dict})
    if BEGUN_EPOCH in checkpoint:
        _check_kinds(path, checkpoint, {BEGUN_EPOCH: dict})
        tensors = dict.fromkeys([*EPOCH_STATE, *checkpoint[BEGUN_EPOCH]], Tensor)
        _check_kinds(path, checkpoint[BEGUN_EPOCH], tensors | OF_PLACE)
    return checkpoint


def _check_kinds(path: Path, found: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise FaceproofError(
                f"{path} is not a checkpoint to resume from; its {name} is a "
                f"{type(found.get(name)).__name__}, and faceproof train writes a {kind.__name__}"
            )
