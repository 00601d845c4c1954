"""An exponential moving average of a network's weights, which is what a run keeps.

It is our own because Lightning's `EMAWeightAveraging` puts the weights back before the best epoch
is stored, and takes no part in a checkpoint of weights alone, so that best.ckpt would not hold the
average that validation judged.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from faceproof.errors import FaceproofError
from faceproof.training.module import DetectorModule


class WeightAverage(Callback):
    """Averages the weights over the steps; validation and best.ckpt have the average.

    After step t an average becomes d * average + (1 - d) * weights with d = min(decay, (1 + t) /
    (10 + t)), which follows the weights closely at first, as timm's and TensorFlow's averages do;
    Polyak and Juditsky 1992 is the origin. Running statistics are averaged likewise, and counts
    are copied. last.ckpt holds both the weights and the average, so that resuming is exact.

    Args:
        decay: how much of the average stays in a step, at most.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.num_steps = 0
        self.average: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the weights as they are, or from a checkpoint's average."""
        assert isinstance(pl_module, DetectorModule)
        held = pl_module.net.state_dict()
        self.average = on_device(held if self._loaded is None else self._loaded, held)
        self._loaded = None
        pl_module.kept_weights = self.average

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average towards the weights, after a batch that ended a step."""
        if trainer.global_step <= self.num_steps:
            return
        self.num_steps = trainer.global_step
        share = 1 - min(self.decay, (1 + self.num_steps) / (10 + self.num_steps))
        assert isinstance(pl_module, DetectorModule)
        for name, value in pl_module.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, share)
            else:
                self.average[name].copy_(value)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the network."""
        swap_weights(pl_module, self.average)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back."""
        swap_weights(pl_module, self.average)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it; one within an epoch too."""
        return {"num_steps": self.num_steps, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average of a checkpoint, for when the fit starts.

        Raises:
            FaceproofError: the checkpoint holds something else.
        """
        self.num_steps, self._loaded = checked_state(state_dict, "num_steps")


def on_device(weights: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of weights where those of a network are, with their types.

    Raises:
        FaceproofError: they are another network's.
    """
    if {name: one.shape for name, one in weights.items()} != {
        name: one.shape for name, one in held.items()
    }:
        raise FaceproofError("the checkpoint's average of weights is of another network")
    return {name: weights[name].detach().clone().to(held[name]) for name in held}


@torch.no_grad()
def swap_weights(module: LightningModule, other: Mapping[str, Tensor]) -> None:
    """Let a network's weights and others change places."""
    assert isinstance(module, DetectorModule)
    for name, value in module.net.state_dict().items():  # the tensors themselves
        before = value.clone()
        value.copy_(other[name])
        other[name].copy_(before)


def checked_state(state: Mapping[str, Any], count: str) -> tuple[int, dict[str, Tensor]]:
    """Return the count and the average that a checkpoint holds.

    Raises:
        FaceproofError: the checkpoint holds something else.
    """
    number, average = state.get(count), state.get("average")
    tensors = isinstance(average, dict) and all(
        isinstance(value, Tensor) for value in average.values()
    )
    if not isinstance(number, int) or not tensors:
        raise FaceproofError("the checkpoint holds no average of weights to resume from")
    return number, dict(average or {})
