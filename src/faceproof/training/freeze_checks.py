"""What a freeze schedule makes of a network within a training, checked before it begins."""

import logging
import math

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RANDOM_WEIGHTS
from faceproof.models.adapters import free_parameters, norm_parameters
from faceproof.models.detector import Detector, parameter_blocks
from faceproof.training.config import TrainConfig
from faceproof.training.freezing import FreezeSchedule, Parts
from faceproof.words import after_epochs

log = logging.getLogger(__name__)


def parts_of(net: Detector) -> Parts:
    """Return the parameters of a network that a freeze schedule is about.

    Where the backbone has adapters, they stand for it: its own parameters stay as they are.
    """
    names = free_parameters(net)
    free = frozenset(names)
    blocks = [[name for name in block if name in free] for block in parameter_blocks(net)]
    return Parts(names, blocks, norm_parameters(net) & free)


def last_epoch(max_epochs: int | None) -> float:
    """Return the epoch, counted from 0, before which a training ends; infinity for no end."""
    return math.inf if max_epochs is None or max_epochs < 0 else max_epochs


def never_trains_backbone(net: Detector, freeze: FreezeSchedule, max_epochs: int | None) -> bool:
    """Say whether a schedule trains none of the backbone's parameters within so many epochs."""
    parts = parts_of(net)
    first = freeze.first_epoch(parts)
    end = last_epoch(max_epochs)
    epochs = (first[name] for block in parts.blocks for name in block)
    return all(epoch is None or epoch >= end for epoch in epochs)


def check_adapters(net: Detector, config: TrainConfig) -> None:
    """Refuse adapters that a schedule never trains.

    Raises:
        FaceproofError: there are adapters, and none of them trains within the training.
    """
    never = never_trains_backbone(net, config.freeze, config.trainer.get("max_epochs"))
    if config.adapter is not None and never:
        raise FaceproofError(
            "freeze never trains the adapters, which beside them leave the backbone as it is: with "
            "freeze=none all of them train; or leave them out (adapter=none)"
        )


def check_random_backbone(
    net: Detector, config: TrainConfig, weights: str, wants_random: bool = True
) -> None:
    """Refuse a backbone that has random weights and never trains, unless they were asked for.

    `weights` says what the initial weights are, as `load_initial_weights` returns it;
    `wants_random` says whether `model.weights=none` is the user's wish, or the model's default.

    Raises:
        FaceproofError: nobody has asked for random weights; it says how to get others.
    """
    max_epochs = config.trainer.get("max_epochs")
    has_weights = any(parameter_blocks(net))
    never = config.adapter is not None or never_trains_backbone(net, config.freeze, max_epochs)
    frozen = has_weights and never
    if not frozen or not weights.startswith(RANDOM_WEIGHTS):
        return
    if config.model.weights == "none" and wants_random:
        log.warning(
            "RANDOM BACKBONE: with model.weights=none the backbone has random weights, which are "
            "never trained: the head learns from random features"
        )
        return
    reason = weights.removeprefix(RANDOM_WEIGHTS).strip(" ()")
    found = f"model.weights={config.model.weights} found no trained ones ({reason})"
    if config.model.weights == "none":
        found = "this model comes without trained ones (model.weights=none is its default)"
    raise FaceproofError(
        f"the backbone of {config.model.name} would have random weights and never train: "
        f"{found}, and freeze trains "
        "no part of it, or adapters alone. Give it trained weights (model.weights=FILE, or a file "
        "in FACEPROOF_WEIGHTS), or train it too (freeze=none adapter=none). If random features are "
        "what you want, or its own code has loaded weights, say model.weights=none"
    )


def warn_of_unused_rates(net: Detector, config: TrainConfig) -> None:
    """Warn of learning rates that are the backbone's alone, where it never trains."""
    if not never_trains_backbone(net, config.freeze, config.trainer.get("max_epochs")):
        return
    for name in ("backbone_lr", "layer_decay"):
        if (value := getattr(config.optimizer, name)) is not None:
            log.warning(
                "optimizer.%s = %g changes nothing: freeze trains no part of the backbone; leave "
                "it out, or let the backbone train, as with freeze=none", name, value,
            )  # fmt: skip


def warn_of_late_stages(freeze: FreezeSchedule, max_epochs: int | None) -> None:
    """Warn of stages that begin after the last epoch, and so never."""
    end = last_epoch(max_epochs)
    late = [stage for stage in freeze.stages if stage.from_epoch >= end]
    if late:
        named = ", ".join(f"{after_epochs(one.from_epoch)}: {', '.join(one.train)}" for one in late)
        log.warning(
            "freeze: %d of its %d stages never begin, because training ends after %d epochs "
            "(trainer.max_epochs): %s. Set trainer.max_epochs=%d or more, or choose a schedule "
            "whose stages begin earlier",
            len(late), len(freeze.stages), end, named, late[-1].from_epoch + 1,
        )  # fmt: skip
