"""The settings of the training loss, `loss` in the configuration. Nothing here imports torch."""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faceproof.data.loader_config import BALANCED, PAIRED
from faceproof.lookup import find
from faceproof.settings import ABOVE_ZERO, AMOUNT, RATE, Rule, SettingError, check, is_number, make

# The loss is multiplied by the weights: far outside of these bounds it vanishes or overflows.
LIGHTEST, HEAVIEST = 1e-6, 1e6
BELOW_ONE = Rule(lambda value: is_number(value) and 0 <= value < 1, "a share, below 1")


@dataclass(frozen=True)
class BceConfig:
    """Binary cross-entropy."""


@dataclass(frozen=True)
class LabelSmoothingConfig:
    """Binary cross-entropy with targets that are less sure; see `losses.label_smoothing`.

    Attributes:
        smoothing: the share of each target that is divided evenly among both classes.
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        check(self, smoothing=BELOW_ONE)


@dataclass(frozen=True)
class FocalConfig:
    """Binary cross-entropy that looks away from images that are right; see `losses.focal`.

    Attributes:
        gamma: how far it looks away from them; 0 is binary cross-entropy.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        check(self, gamma=AMOUNT)


@dataclass(frozen=True)
class ClassBalancedConfig:
    """Classes weighted by their effective numbers of images; see `losses.effective_weights`.

    Attributes:
        beta: how much another image of a class overlaps with those it has: 0 weights both classes
            alike, and close to 1 the weight falls as the number of images rises.
        gamma: that of the focal loss under the weights; 0 is binary cross-entropy.
    """

    beta: float = 0.999
    gamma: float = 0.0

    def __post_init__(self) -> None:
        check(self, beta=BELOW_ONE, gamma=AMOUNT)


@dataclass(frozen=True)
class SupervisedContrastiveConfig:
    """Binary cross-entropy, and a term that draws features of one class together.

    See `losses.supervised_contrastive`.

    Attributes:
        weight: of the term.
        temperature: of the similarities; a low one looks at the nearest images alone.
    """

    weight: float = 0.1
    temperature: float = 0.1

    def __post_init__(self) -> None:
        check(self, weight=ABOVE_ZERO, temperature=ABOVE_ZERO)


@dataclass(frozen=True)
class AlignmentUniformityConfig:
    """Binary cross-entropy, and terms for features that are close within a class and spread out.

    See `losses.alignment` and `losses.uniformity`.

    Attributes:
        weight: of both terms together.
        balance: the share of alignment in them; the rest is uniformity.
        t: of the Gaussian by which uniformity measures distances.
    """

    weight: float = 0.1
    balance: float = 0.5
    t: float = 2.0

    def __post_init__(self) -> None:
        check(self, weight=ABOVE_ZERO, balance=RATE, t=ABOVE_ZERO)


LOSSES: dict[str, Any] = {
    "bce": BceConfig,
    "label_smoothing": LabelSmoothingConfig,
    "focal": FocalConfig,
    "class_balanced": ClassBalancedConfig,
    "supervised_contrastive": SupervisedContrastiveConfig,
    "alignment_uniformity": AlignmentUniformityConfig,
}
OF_FEATURES = (SupervisedContrastiveConfig, AlignmentUniformityConfig)


def make_loss_config(values: Any) -> Any:
    """Return the settings of a loss, one of `LOSSES`, or a function of one's own.

    One's own takes logits, labels and class weights, and further settings by name.
    """
    if not isinstance(values, Mapping) or "name" not in values:
        raise SettingError("name", f"is missing; choose one of {', '.join(LOSSES)}")
    settings = {key: value for key, value in values.items() if key != "name"}
    name = values["name"]
    found = find(name, LOSSES, "loss.name")
    if isinstance(name, str) and name in LOSSES:
        return make(found, settings)
    try:
        inspect.signature(found).bind(0, 0, 0, **settings)
    except (TypeError, ValueError) as error:
        raise SettingError(
            "name", f"= {name!r} must take logits, labels and class weights, and the other "
            f"settings of loss by name: {error}"
        ) from error  # fmt: skip
    return functools.partial(found, **settings)


def check_class_weights(weights: Any) -> None:
    """Refuse what are no weights of two classes."""
    two = isinstance(weights, tuple) and len(weights) == 2
    if weights not in ("none", "balanced") and not (
        two and all(is_number(weight) and LIGHTEST <= weight <= HEAVIEST for weight in weights)
    ):
        raise SettingError(
            "class_weights",
            f"= {weights!r} must be none, balanced, or two positive numbers: [negative, positive], "
            f"each from {LIGHTEST:g} to {HEAVIEST:g}",
        )


def check_class_weights_fit(loss: Any, class_weights: Any, sampler: str) -> None:
    """Refuse weights of classes, and a sampler that balances them, beside a loss with its own."""
    if not isinstance(loss, ClassBalancedConfig):
        return
    if sampler == BALANCED:
        raise SettingError(
            "loader.sampler",
            "= 'balanced' has both classes equally often, and loss=class_balanced would weight "
            "them by their numbers in the table; take one of the two",
        )
    if class_weights != "none":
        raise SettingError(
            "class_weights",
            f"= {class_weights!r} would weight the classes a second time: loss=class_balanced "
            "weights them by their numbers of images; leave it out (none), or take loss=focal or "
            "loss=bce",
        )


def check_synthesis_fits(share: float, sampler: str, loss: Any) -> None:
    """Refuse what is of given fakes in a training of real images and pseudo-fakes alone."""
    if share != 1:
        return
    if sampler == PAIRED:
        raise SettingError(
            "synthesis.share",
            "= 1 leaves out the pairs of loader.sampler=paired; take a share below 1, or leave "
            "loader.sampler out",
        )
    if isinstance(loss, ClassBalancedConfig):
        raise SettingError(
            "synthesis.share",
            "= 1 has both classes equally often, and loss=class_balanced would weight them by the "
            "given images; take a share below 1, or another loss",
        )
