"""Stochastic weight averaging: the mean of a network's weights at the ends of its last epochs.

Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization"
(arXiv:1803.05407), algorithm 1, with a cycle of one epoch. It is our own because Lightning's
`StochasticWeightAveraging` puts a learning rate of its own in the place of the schedule, and judges
the average once only, after the last epoch, so that no epoch could be chosen by it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.swa_utils import get_swa_avg_fn

from faceproof.training.averaging import checked_state, on_device, swap_weights
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.module import DetectorModule

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ALMOST = 1e-9  # 0.7 of 10 epochs are 7, and not 6.999


class EpochAverage(Callback):
    """Averages the weights at the ends of epochs; validation and best.ckpt have the average.

    An average of weights has running statistics of no network that was trained, so those of batch
    normalisation are computed anew for it at the end of each such epoch, by a pass over the
    training images of that epoch, as the paper does: each the mean over the batches. What is frozen
    keeps its own. last.ckpt holds both the weights and the average, so that resuming is exact.

    Args:
        share: of the epochs, those before the first whose end is averaged.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.num_averaged = 0
        self.average: dict[str, Tensor] = {}
        self.update: Any = get_swa_avg_fn()  # type: ignore[no-untyped-call]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on from a checkpoint's average, if it holds one."""
        assert isinstance(pl_module, DetectorModule)
        if self.num_averaged:
            self.average = on_device(self.average, pl_module.net.state_dict())
            pl_module.kept_weights = self.average

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights to the average, after the last step of an epoch."""
        first = math.floor(self.share * (trainer.max_epochs or 0) + ALMOST)
        ended = batch_idx + 1 >= trainer.num_training_batches
        # What has begun goes on, also where a resumed run is given more epochs.
        if not ended or not (self.num_averaged or trainer.current_epoch >= first):
            return
        assert isinstance(pl_module, DetectorModule)
        self._add(pl_module.net)
        swap_weights(pl_module, self.average)
        measure_batch_norms(trainer, pl_module)
        swap_weights(pl_module, self.average)
        pl_module.kept_weights = self.average

    @torch.no_grad()
    def _add(self, net: nn.Module) -> None:
        """Move the average to the mean of one more; buffers are those of the network."""
        held = net.state_dict()
        if not self.num_averaged:
            self.average = on_device(held, held)
        weights = dict(net.named_parameters())
        for name, value in held.items():
            own = self.average[name]
            mean = self.update(own, value, self.num_averaged) if name in weights else value
            own.copy_(mean)
        self.num_averaged += 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the network, once there is one."""
        if self.num_averaged:
            swap_weights(pl_module, self.average)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back."""
        if self.num_averaged:
            swap_weights(pl_module, self.average)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it; one within an epoch too."""
        return {"num_averaged": self.num_averaged, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average of a checkpoint, for when the fit starts.

        Raises:
            FaceproofError: the checkpoint holds something else.
        """
        self.num_averaged, self.average = checked_state(state_dict, "num_averaged")


@torch.no_grad()
def measure_batch_norms(trainer: Trainer, module: DetectorModule) -> None:
    """Compute the running statistics of batch normalisation anew, for the weights as they are.

    They are the mean over the batches of the current epoch, and over processes. Without layers of
    it that train, nothing is done. All else is in eval mode meanwhile, so that dropout draws
    nothing.
    """
    norms = [
        one for one in module.net.modules()
        if isinstance(one, BATCH_NORMS) and one.training and one.track_running_stats
    ]  # fmt: skip
    if not norms:
        return
    images = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(images, ImageDataModule)
    with _only_training(module.net, norms):
        for batch in images.batches_again():
            with trainer.precision_plugin.forward_context():
                module.score(batch)
    if trainer.world_size > 1:
        for one in norms:
            for value in (one.running_mean, one.running_var):
                assert value is not None
                value.copy_(trainer.strategy.reduce(value, reduce_op="mean"))


@contextmanager
def _only_training(net: nn.Module, norms: list[Any]) -> Iterator[None]:
    """Let batch normalisation alone be in train mode, and count from nothing."""
    modes = {one: one.training for one in net.modules()}
    momenta = {one: one.momentum for one in norms}
    net.eval()
    for one in norms:
        one.train()
        one.reset_running_stats()
        one.momentum = None  # torch's mean of all batches
    try:
        yield
    finally:
        for one, momentum in momenta.items():
            one.momentum = momentum
        for module, training in modes.items():
            module.training = training
