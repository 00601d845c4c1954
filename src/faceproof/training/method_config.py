"""The settings of what else changes a training, each off by default. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faceproof.settings import ABOVE_ZERO, TEXT, SettingError, check, count_up_to, make

OFF = "none"
MAX_RANK = 1024


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


ADAPTERS: dict[str, Any] = {"lora": LoraConfig}


def make_method(values: Any, known: Mapping[str, Any]) -> Any:
    """Return the settings of the method that `name` chooses, or None for `none`.

    Raises:
        SettingError: there is no such method, or it has no such settings.
    """
    name = values.get("name") if isinstance(values, Mapping) else None
    if name != OFF and name not in known:
        raise SettingError("name", f"= {name!r} must be one of {', '.join([OFF, *known])}")
    settings = {key: value for key, value in values.items() if key != "name"}
    return make(known.get(name, _nothing), settings)


def _nothing() -> None:
    """Take no settings."""
