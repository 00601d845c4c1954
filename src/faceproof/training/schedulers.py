"""Learning-rate schedules: torch's schedulers, made of their settings.

A schedule over a planned number of epochs consists of cycles, [first epoch, end), which are stored
with the run: a resumed run follows the plan it began with, whatever its number of epochs is now.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from faceproof.errors import FaceproofError
from faceproof.evaluation.metrics import better
from faceproof.training.config import ConstantConfig, CosineConfig, PlateauConfig

Cycles = tuple[tuple[int, int], ...]  # in epochs


def make_scheduler(
    config: Any,
    optimizer: Optimizer,
    num_steps: int,
    cycles: Sequence[tuple[float, float]] = ((0, 1),),
) -> LRScheduler | ReduceLROnPlateau:
    """Return the scheduler of an optimizer, for a training of so many optimizer steps.

    `config` is one of `training.config.SCHEDULERS`, or of the user's own: called with optimizer and
    steps, it returns a scheduler that is stepped with every optimizer step; in a run that is
    resumed with more epochs these are the steps of the longer training (see `describe_steps`).
    `cycles` says in shares of the training where a cosine begins and ends.
    """
    match config:
        case PlateauConfig():  # `DetectorModule` steps it at the end of every epoch
            return ReduceLROnPlateau(
                optimizer, mode=better(config.monitor), factor=config.factor,
                patience=config.patience, min_lr=config.min_lr,
            )  # fmt: skip
        case CosineConfig():
            steps = [(round(first * num_steps), round(end * num_steps)) for first, end in cycles]
            return LambdaLR(optimizer, cosine(config, steps))
        case ConstantConfig():
            return LambdaLR(optimizer, lambda step: 1.0)
    return config(optimizer, num_steps)  # type: ignore[no-any-return]


def cosine(config: CosineConfig, cycles: Sequence[tuple[int, int]]) -> Any:
    """Return the factor on the learning rate as a function of the step.

    Each of the cycles, [first step, end), has its own rise and fall; after its end the last rate
    stays until the next begins.
    """

    def factor(step: int) -> float:
        first, end = max((one for one in cycles if one[0] <= step), default=cycles[0])
        here, length = step - first, end - first
        num_warmup = max(round(config.warmup * length), 1)
        if here < num_warmup and here < length:
            return (here + 1) / num_warmup
        share = (here - num_warmup) / max(length - num_warmup, 1)
        return config.floor + (1 - config.floor) * (1 + math.cos(math.pi * min(share, 1.0))) / 2

    return factor


def plan_cycles(earlier: Cycles, max_epochs: int, next_epoch: int, more_epochs: str) -> Cycles:
    """Return the cycles of a run that is resumed to train up to `max_epochs`.

    Args:
        earlier: those it was trained by so far.
        max_epochs: its number of epochs now.
        next_epoch: the first one that has not begun.
        more_epochs: `keep` leaves the cycles alone; `restart` adds one over the epochs that are
            added; `stretch` has the last one end with the training.
    """
    (*before, (first, end)) = earlier
    if max_epochs == end or more_epochs == "keep":
        return earlier
    if more_epochs == "stretch" and max_epochs > first:
        return (*before, (first, max_epochs))
    begin = max(end, next_epoch)
    return (*earlier, (begin, max_epochs)) if begin < max_epochs else earlier


def read_cycles(found: Any, place: str) -> Cycles:
    """Return the cycles that a record holds, a list of pairs of epochs, each after the one before.

    Raises:
        FaceproofError: it holds something else; `place` says where it was found.
    """
    cycles: list[tuple[int, int]] = []
    pairs = found if isinstance(found, list) else []
    for pair in pairs:
        fits = isinstance(pair, list) and len(pair) == 2 and all(type(one) is int for one in pair)
        if fits and (cycles[-1][1] if cycles else 0) <= pair[0] < pair[1]:
            cycles.append((pair[0], pair[1]))
    if not cycles or len(cycles) < len(pairs):
        raise FaceproofError(
            f"{place} holds the schedule {str(found)[:100]}; it is a list of [first epoch, end], "
            "each after the one before: restore the file"
        )
    return tuple(cycles)


def describe_steps(config: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say what other steps than before do to the schedule of a run that is resumed, if anything.

    Args:
        config: of the schedule.
        before: by their names, the settings on which the number of steps depends.
        now: the same in the resumed run.
    """
    named = ("trainer.max_epochs",) if isinstance(config, CosineConfig) else ()  # see plan_cycles
    changed = [name for name in now if name not in named and before.get(name) != now[name]]
    if not changed or isinstance(config, PlateauConfig | ConstantConfig):
        return None
    words = ", ".join(f"{name} is {now[name]} and was {before.get(name)}" for name in changed)
    if isinstance(config, CosineConfig):
        return (
            f"{words}: the cosine schedule counts optimizer steps, of which an epoch now has "
            "others, so that it goes on from another place, at which the learning rate jumps; "
            "resume with the earlier values to keep it"
        )
    return (
        f"{words}: the schedule of your own is made anew, for the number of steps of the whole "
        "training as it is now, and goes on from the step it had reached; resume with the earlier "
        "values to keep it"
    )


def describe_change(config: CosineConfig, cycles: Cycles, max_epochs: int) -> str:
    """Say what a cosine does in a run that is resumed with other epochs than it was planned for."""
    end = cycles[-1][1]
    words = f"the cosine schedule was planned for {end} epochs and training now has {max_epochs}"
    if end > max_epochs:
        return f"{words}: it ends before the learning rate has fallen to its last value"
    if config.floor:
        rate = f"its last learning rate, {config.floor:g} times the highest"
    else:
        rate = "its last learning rate, which is 0 and so changes no weight"
    return (
        f"{words}: after epoch {end} it trains at {rate}. scheduler.more_epochs=restart begins "
        "the schedule anew for the epochs that are added; scheduler.more_epochs=stretch plans it "
        "as if the epochs had been so many from the start, at which the learning rate jumps"
    )
