"""Freeze schedules: which parameters train from which epoch, as data.

What trains is a pure function of the epoch; a schedule knows nothing but parameter names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faceproof.errors import FaceproofError

LAST = re.compile(r"last_(\d+)")
OTHERS = "all, head, norms, last_N"  # the terms that are no pattern


@dataclass(frozen=True)
class Parts:
    """The names of a network's parameters that a schedule is about.

    Attributes:
        names: all of them.
        blocks: those of the backbone, block by block, from the input on; all else is the head.
        norms: those of normalisation.
    """

    names: Sequence[str]
    blocks: Sequence[Sequence[str]]
    norms: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FreezeStage:
    """From `from_epoch` on, what `train` names is trained and the rest is frozen.

    Attributes:
        from_epoch: the first epoch of the stage, from 0 on.
        train: one term or a list of terms: `all`, `head`, `norms` (the normalisation layers),
            `last_N` (the backbone's last N blocks), or a regular expression that is searched for in
            parameter names.
    """

    from_epoch: int
    train: tuple[str, ...]


class FreezeSchedule:
    """An ordered list of stages, each with `from_epoch` and `train`, the first from epoch 0.

    Raises:
        FaceproofError: the stages do not start at epoch 0 or their epochs do not rise.
    """

    def __init__(self, stages: Sequence[Mapping[str, object]]) -> None:
        if not isinstance(stages, list | tuple):
            raise FaceproofError(f"freeze.stages = {stages!r} must be a list of stages")
        self.stages = tuple(_parse_stage(stage) for stage in stages)
        epochs = [stage.from_epoch for stage in self.stages]
        if not epochs or epochs[0] != 0 or epochs != sorted(set(epochs)):
            raise FaceproofError(
                f"freeze.stages have from_epoch = {epochs}; the first must be 0 and each larger "
                "than the one before (from_epoch=2 begins after 2 epochs)"
            )

    def stage(self, epoch: int) -> FreezeStage:
        """Return the stage in force in an epoch."""
        return [stage for stage in self.stages if stage.from_epoch <= epoch][-1]

    def trainable(self, parts: Parts, epoch: int) -> frozenset[str]:
        """Return the names of the parameters that train in an epoch."""
        terms = self.stage(epoch).train
        return frozenset().union(*(_matching(term, parts) for term in terms))

    def check(self, parts: Parts) -> None:
        """Refuse, before anything is trained, a term that matches nothing at any stage."""
        for stage in self.stages:
            self.trainable(parts, stage.from_epoch)

    def first_epoch(self, parts: Parts) -> dict[str, int | None]:
        """Return for every parameter the first epoch in which it trains, None for never."""
        first: dict[str, int | None] = dict.fromkeys(parts.names)
        for stage in reversed(self.stages):
            for name in self.trainable(parts, stage.from_epoch):
                first[name] = stage.from_epoch
        return first


def _parse_stage(stage: Mapping[str, object]) -> FreezeStage:
    if not isinstance(stage, Mapping):
        raise FaceproofError(
            f"freeze.stages holds {stage!r}; a stage is {{from_epoch: NUMBER, train: TERMS}}"
        )
    train = stage.get("train")
    terms = (train,) if isinstance(train, str) else train
    epoch = stage.get("from_epoch")
    if (
        set(stage) != {"from_epoch", "train"}
        or not isinstance(epoch, int)
        or not isinstance(terms, Sequence)
        or not terms
    ):
        raise FaceproofError(
            f"a freeze stage needs from_epoch (a number) and train (a term or a list of terms); "
            f"found {dict(stage)}"
        )
    return FreezeStage(epoch, tuple(str(term) for term in terms))


def _matching(term: str, parts: Parts) -> set[str]:
    names, blocks = parts.names, parts.blocks
    backbone = {name for block in blocks for name in block}
    if term == "all":
        return set(names)
    if term == "head":
        return set(names) - backbone
    if last := LAST.fullmatch(term):
        num = int(last[1])
        if not 1 <= num <= len(blocks):
            raise FaceproofError(f"freeze term {term!r}: this backbone has {len(blocks)} blocks")
        if not (found := {name for block in blocks[-num:] for name in block}):
            raise FaceproofError(f"freeze term {term!r}: there is no adapter in these blocks")
        return found
    if term == "norms":
        if not parts.norms:
            raise FaceproofError("freeze term 'norms': no layer of normalisation can be trained")
        return set(parts.norms)
    try:
        found = {name for name in names if re.search(term, name)}
    except re.error as error:
        raise FaceproofError(
            f"freeze term {term!r} is no pattern: {error}; the other terms are {OTHERS}"
        ) from error
    if not found:
        raise FaceproofError(
            f"freeze term {term!r} matches no parameter; their names run from {names[0]} to "
            f"{names[-1]}, and the other terms are {OTHERS}"
        )
    return found
