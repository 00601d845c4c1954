"""One LightningModule around any network that turns images into logits."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from faceproof.augment.mixing import Mixed
from faceproof.data.datasets import Batch, FeatureBatch
from faceproof.training.finite import LossWatch, NonFiniteError
from faceproof.training.live_metrics import EpochMetrics, MeanLoss
from faceproof.training.losses import FeatureLoss, Loss, weighted_bce
from faceproof.training.methods import Methods

STEP_LOSS = "train/loss_step"


class DetectorModule(LightningModule):
    """Trains a network by a loss of its logit.

    Args:
        net: (B, 3, S, S) in [0, 1] -> (B,) logits.
        optimizer: makes the optimizer of a network.
        scheduler: makes the scheduler of an optimizer and a number of steps.
        class_weights: of the negative and the positive class in the training loss.
        seed: of what is drawn inside a step, such as dropout.
        compiled: compile the network's forward pass; its weights keep their names.
        plateau_monitor: the metric that a ReduceLROnPlateau goes by.
        loss: the training loss; validation's is binary cross-entropy whatever this one is. A
            `FeatureLoss` wants a network with `features` and `classify`, as `Detector` has them.

    Examples:
        >>> import faceproof as fp
        >>> import torch
        >>> net = fp.build_model("face_cnn", weights="none")
        >>> module = fp.DetectorModule(
        ...     net,
        ...     optimizer=lambda net: torch.optim.SGD(net.parameters(), lr=0.1),
        ...     scheduler=torch.optim.lr_scheduler.CosineAnnealingLR,
        ... )
        >>> module(torch.rand(2, 3, net.input.size, net.input.size)).shape
        torch.Size([2])
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer, int], LRScheduler | ReduceLROnPlateau],
        class_weights: tuple[float, float] = (1.0, 1.0),
        seed: int = 0,
        compiled: bool = False,
        plateau_monitor: str = "val/loss",
        loss: Loss | FeatureLoss = weighted_bce,
    ) -> None:
        super().__init__()
        self.net = net
        # The method, not the module: a compiled module renames every weight.
        self.compute_logits = torch.compile(net.forward) if compiled else net.forward
        self.compiled = compiled
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.plateau_monitor = plateau_monitor
        self.loss = loss
        self.register_buffer("class_weights", torch.tensor(class_weights), persistent=False)
        self.seed = seed
        self.rates: dict[str, float] = {}  # of this epoch's first step
        self.kept_weights: Mapping[str, Tensor] | None = None  # the net's own where it is None
        self.methods = Methods()  # of none; a training has others put in its place
        self.losses = LossWatch()
        self.train_loss = MeanLoss()
        self.train_metrics = EpochMetrics()
        self.val_metrics = EpochMetrics()

    def is_finite(self) -> bool:
        """Say whether the weights are finite, and no buffer is NaN.

        An infinite variance, as a file of half precision may hold, only silences its channel.
        """
        weights = all(value.isfinite().all() for value in self.net.parameters())
        return weights and not any(value.isnan().any() for value in self.net.buffers())

    def forward(self, images: Tensor) -> Tensor:
        """Return (B,) logits of (B, 3, S, S) images in [0, 1]."""
        return self.compute_logits(images)  # type: ignore[no-any-return]

    def score(self, batch: Batch | FeatureBatch) -> Tensor:
        """Return (B,) float32 logits of a batch, from its images or from cached features."""
        if isinstance(batch, FeatureBatch):
            return self.net.classify(batch.features).float()  # type: ignore[operator, no-any-return]
        return self(batch.image).float()  # type: ignore[no-any-return]

    def score_and_loss(
        self,
        batch: Batch | FeatureBatch,
        mixed: Mixed | None = None,
        taught: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the (B,) float32 logits of a batch and its mean loss.

        `mixed` says with which others the images of the batch were mixed, and `taught` are a
        teacher's logits of them.
        """
        features: Tensor | None = None
        if not isinstance(self.loss, FeatureLoss):
            logits = self.score(batch)
        else:
            cached = isinstance(batch, FeatureBatch)
            features = batch.features if cached else self.compute_features(batch.image)  # type: ignore[union-attr]
            logits = self.net.classify(features).float()  # type: ignore[operator]
        loss = self._loss(logits, batch.label, features)
        if mixed is not None:
            other = self._loss(logits, batch.label[mixed.partner], features)
            loss = mixed.share * loss + (1 - mixed.share) * other
        if taught is not None and self.methods.distillation is not None:
            loss = self.methods.distillation.add_to(loss, logits, taught)
        return logits, loss

    def _loss(self, logits: Tensor, labels: Tensor, features: Tensor | None) -> Tensor:
        weights: Tensor = self.class_weights  # type: ignore[assignment]
        if isinstance(self.loss, FeatureLoss):
            assert features is not None
            return self.loss(logits, labels, weights, features)
        return self.loss(logits, labels, weights)

    @functools.cached_property
    def compute_features(self) -> Callable[[Tensor], Tensor]:
        """Return what turns (B, 3, S, S) in [0, 1] into features."""
        features: Callable[[Tensor], Tensor] = self.net.features  # type: ignore[assignment]
        return torch.compile(features) if self.compiled else features

    def training_step(self, batch: Batch | FeatureBatch, batch_idx: int) -> Tensor:
        """Return the mean loss of a batch, or with sharpness that of weights nearby."""
        methods, mixed, taught = self.methods, None, None
        if isinstance(batch, Batch):
            batch, mixed = self.mix(batch)
            if methods.distillation is not None:
                taught = methods.distillation.teach(batch.image)
        if methods.sharpness is not None:
            self.seed_step(batch_idx)
        logits, loss = self.score_and_loss(batch, mixed, taught)
        self.losses.add(loss, f"epoch {self.current_epoch + 1}, step {batch_idx + 1}", batch.row)
        value, size = loss.detach(), len(logits)
        if self._is_logged_step():
            # Not by Lightning's bar, which would wait for the GPU in every step; see ProgressBar.
            self.log(STEP_LOSS, value, batch_size=size)
        self.train_loss.update(value, size)
        self.train_metrics.update(logits, batch.label)
        if methods.sharpness is not None:
            methods.sharpness.ascend(loss)
            self.seed_step(batch_idx)  # the same dropout as before
            _, loss = self.score_and_loss(batch, mixed, taught)
        return loss

    def mix(self, batch: Batch) -> tuple[Batch, Mixed | None]:
        """Return a batch as the network sees it, and how its images were mixed, if they were.

        The draws are those that follow `seed_step`.
        """
        if self.methods.mix is None:
            return batch, None
        mixed = self.methods.mix(batch.image)
        return batch._replace(image=mixed.images), mixed

    def on_after_backward(self) -> None:
        """Bring the weights back, where a step took its gradient nearby."""
        if self.methods.sharpness is not None:
            self.methods.sharpness.descend()

    def _is_logged_step(self) -> bool:
        """Say whether the loggers take this step's values; logging more often takes time."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and (self.trainer.global_step + 1) % every == 0

    def validation_step(self, batch: Batch | FeatureBatch, batch_idx: int) -> None:
        """Collect the logits of a batch."""
        self.val_metrics.update(self.score(batch), batch.label)

    def on_train_batch_start(self, batch: Batch | FeatureBatch, batch_idx: int) -> None:
        """Make every draw inside a step a function of (seed, epoch, step, process)."""
        self.seed_step(batch_idx)

    def seed_step(self, batch_idx: int) -> None:
        """Seed what is drawn inside a step."""
        parts = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
        # Not torch.manual_seed, which keeps a list of its calls until a GPU is first used.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def on_train_start(self) -> None:
        """Take the learning rate of this step, which a checkpoint's plan may not have foreseen."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, LambdaLR):
            planned = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
            rates = [base * factor(scheduler.last_epoch) for base, factor in planned]
            for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def on_train_epoch_start(self) -> None:
        """Reset the epoch's metrics, and note the learning rate of every group."""
        self.train_loss.reset()
        self.train_metrics.reset()
        self.rates = {one["name"]: one["lr"] for one in self.trainer.optimizers[0].param_groups}

    def on_validation_epoch_start(self) -> None:
        """Reset the epoch's metrics."""
        self.losses.check()
        self.val_metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Log validation's metrics, its loss unweighted."""
        logits, labels = self.val_metrics.scores()
        loss = F.binary_cross_entropy_with_logits(logits, labels.float())
        if not torch.isfinite(loss):
            where = f"the validation of epoch {self.current_epoch + 1}"
            raise NonFiniteError(f"the loss is not finite in {where}")
        self._log("val", {"loss": loss, **self.val_metrics.compute()})

    def _log(self, kind: str, values: Mapping[str, Any]) -> None:
        self.log_dict({f"{kind}/{name}": value for name, value in values.items()})

    def on_train_epoch_end(self) -> None:
        """Log training's metrics, and step a plateau scheduler.

        Lightning would step it after the last checkpoint is written, so that a resumed run would
        miss the step.
        """
        self._log("train", {"loss": self.train_loss.compute(), **self.train_metrics.compute()})
        self._log("lr", self.rates)
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(self.trainer.callback_metrics[self.plateau_monitor].item())

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients; in bfloat16 here, where Lightning refuses every fused optimizer.

        What a fused optimizer cannot have clipped are gradients that are still scaled, and those
        of bfloat16 never are.
        """
        if gradient_clip_val is None or self.trainer.precision != "bf16-mixed":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
        else:
            nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def epoch_state(self) -> dict[str, Tensor]:
        """Return what the metrics of the current epoch are computed from, for a checkpoint.

        All processes must call it, and each gets the values of all.
        """
        gathered = [self._gathered(scores).flatten() for scores in self.train_metrics.scores()]
        for value in (self.train_loss.total, self.train_loss.number):
            gathered.append(self._gathered(value).sum())
        rates = {
            f"lr/{name}": torch.tensor(rate, dtype=torch.float64)
            for name, rate in self.rates.items()
        }
        return dict(zip(("logits", "labels", "loss", "weight"), gathered, strict=True)) | rates

    def _gathered(self, values: Tensor) -> Tensor:
        """Return the values of all processes, or a copy where there is one."""
        if self.trainer.world_size == 1:
            return values.clone()
        return self.all_gather(values)  # type: ignore[return-value]

    def restore_epoch_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `epoch_state` returned; the first process holds all of it."""
        self.train_metrics.reset()
        self.train_loss.reset()
        if self.global_rank == 0:
            place = {name: value.to(self.device) for name, value in state.items()}
            self.train_metrics.update(place["logits"], place["labels"])
            self.train_loss.total += place["loss"]
            self.train_loss.number += place["weight"]
        rates = {name: value for name, value in state.items() if name.startswith("lr/")}
        self.rates = {name.removeprefix("lr/"): value.item() for name, value in rates.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the weights that are kept, in a checkpoint from which nothing is resumed."""
        merge = self.methods.merge
        if "optimizer_states" in checkpoint or (self.kept_weights is None and merge is None):
            return
        kept = self.net.state_dict() if self.kept_weights is None else self.kept_weights
        kept = kept if merge is None else merge(kept)
        checkpoint["state_dict"] = {f"net.{name}": value for name, value in kept.items()}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Leave plateau schedulers to `on_train_epoch_end`."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def configure_optimizers(self) -> Any:
        """Return the optimizer over all parameters, and its schedule."""
        optimizer = self.make_optimizer(self.net)
        num_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = self.make_scheduler(optimizer, num_steps)
        plan: dict[str, Any] = {"scheduler": scheduler, "interval": "step"}
        if isinstance(scheduler, ReduceLROnPlateau):
            plan |= {"interval": "epoch", "monitor": self.plateau_monitor, "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": plan}
