"""The settings of what else changes a training, each off by default. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faceproof.settings import (
    ABOVE_ZERO,
    PLACE,
    SHARE,
    TEXT,
    Rule,
    SettingError,
    check,
    count_up_to,
    is_number,
    make,
)

OFF = "none"
MAX_RANK = 1024
ALPHAS = (0.01, 100)  # beyond, shares are all 1, or all a half
OF_BETA = Rule(
    lambda value: is_number(value) and ALPHAS[0] <= value <= ALPHAS[1],
    f"a number from {ALPHAS[0]} to {ALPHAS[1]}",
)


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters, trained in the place of the backbone; see `models.adapters`.

    Attributes:
        rank: of what is added to a weight: the width between its two factors.
        alpha: what is added is multiplied by alpha / rank.
        layers: a regular expression; linear layers in whose names it is found get an adapter.
    """

    rank: int = 8
    alpha: float = 16.0
    layers: str = "attn"

    def __post_init__(self) -> None:
        check(self, rank=count_up_to(1, MAX_RANK), alpha=ABOVE_ZERO, layers=TEXT)


@dataclass(frozen=True)
class MixConfig:
    """Training images made of two of a batch; see `augment.mixing`.

    Attributes:
        alpha: of the Beta distribution of an image's share; 1 draws all shares alike, a small one
            shares near 1.
    """

    alpha: float

    def __post_init__(self) -> None:
        check(self, alpha=OF_BETA)


@dataclass(frozen=True)
class MixupConfig(MixConfig):
    """Two images added up; see `augment.mixing.mixup`."""

    alpha: float = 0.2


@dataclass(frozen=True)
class CutMixConfig(MixConfig):
    """A rectangle of one image in another; see `augment.mixing.cutmix`."""

    alpha: float = 1.0


@dataclass(frozen=True)
class DistillConfig:
    """A teacher whose answers are learned too; see `methods.Distillation`.

    Attributes:
        teacher: the folder of a run, of an ensemble's run, or of a detector artifact.
        temperature: both logits are divided by it; a higher one looks at how sure the teacher is.
        weight: of the teacher's term; that of the loss of the labels is 1 less this.
    """

    teacher: str
    temperature: float = 2.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        check(self, teacher=PLACE, temperature=ABOVE_ZERO, weight=SHARE)


ADAPTERS: dict[str, Any] = {"lora": LoraConfig}
MIXES: dict[str, Any] = {"mixup": MixupConfig, "cutmix": CutMixConfig}
TEACHING: dict[str, Any] = {"soft_targets": DistillConfig}
METHODS = {"adapter": ADAPTERS, "mix": MIXES, "distill": TEACHING}


def make_method(values: Any, known: Mapping[str, Any]) -> Any:
    """Return the settings of the method that `name` chooses, or None for `none`.

    Raises:
        SettingError: there is no such method, or it has no such settings.
    """
    name = values.get("name") if isinstance(values, Mapping) else None
    if not isinstance(name, str) or name not in (OFF, *known):
        raise SettingError("name", f"= {name!r} must be one of {', '.join([OFF, *known])}")
    settings = {key: value for key, value in values.items() if key != "name"}
    return make(known.get(name, _nothing), settings)


def _nothing() -> None:
    """Take no settings."""
