"""Settings of loading and caching images, `loader` and `cache` in the configuration; torch-free."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faceproof import settings
from faceproof.settings import COUNT, Rule, count_up_to, one_of, optional

log = logging.getLogger(__name__)

MAX_BATCH = 2**16  # images; of 224 pixels a side they are 39 GB of numbers
MAX_WORKERS = 256  # each worker process holds all of torch
MAX_GB = 20.0  # of a cache, where nothing else is set

PAIRED, BALANCED = "paired", "balanced"
# The optimizer needs some dozens of steps an epoch, which few images give in small batches only.
BATCH, SMALL_BATCH, FEW_IMAGES = 32, 16, 1000

_BATCH = count_up_to(1, MAX_BATCH)
BATCH_SIZE = Rule(
    lambda value: value == "auto" or _BATCH.fits(value), f"'auto' or {_BATCH.meaning}"
)
_WORKERS = count_up_to(0, MAX_WORKERS)
WORKERS = Rule(
    lambda value: value == "auto" or _WORKERS.fits(value), f"'auto' or {_WORKERS.meaning}"
)

SOURCE_WEIGHTS = Rule(
    lambda value: (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and all(settings.ABOVE_ZERO.fits(weight) for weight in value.values())
    ),
    "sources and their weights above 0, by name",
)


def recorded_workers(number: Any) -> Any:
    """Return a recorded number of worker processes, or `auto` where this machine has few cores.

    The run may be from a larger machine, or from a stranger.
    """
    most = 2 * (os.cpu_count() or 1)
    if type(number) is int and number > most:
        log.warning(
            "the run was started with loader.num_workers=%d; this machine has %d cores, so it is "
            "resumed with loader.num_workers=auto", number, most // 2,
        )  # fmt: skip
        return "auto"
    return number


@dataclass(frozen=True)
class LoaderConfig:
    """How images are loaded.

    Attributes:
        batch_size: images in a batch, or `auto`; see `choose_batch_size`.
        num_workers: worker processes that decode images, or `auto`; see `loaders.choose_workers`.
        sampler: in which order training images come: `shuffled`, or `paired`, which has a fake and
            an image of its original (same `pair` in the image table) in one batch, or `balanced`,
            which draws evenly over classes, sources and generators; see `data.balance`.
        source_weights: with `balanced`, how often a source is drawn beside the others of its class:
            weights by name, 1 for the others; None for 1 each.
    """

    batch_size: int | str = "auto"
    num_workers: int | str = "auto"
    sampler: str = "shuffled"
    source_weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        settings.check(self, batch_size=BATCH_SIZE, num_workers=WORKERS)
        settings.check(self, sampler=one_of("shuffled", PAIRED, BALANCED))
        settings.check(self, source_weights=optional(SOURCE_WEIGHTS))
        if self.source_weights and self.sampler != BALANCED:
            raise settings.SettingError(
                "source_weights",
                f"= {dict(self.source_weights)} changes nothing with sampler={self.sampler}; take "
                "sampler=balanced, or leave it out",
            )
        refuse_single(self.batch_size, "sampler=paired" if self.sampler == PAIRED else None)


def refuse_single(batch_size: int | str, in_twos: str | None) -> None:
    """Refuse a batch of one image where images come two by two.

    Args:
        batch_size: a number of images, or `auto`.
        in_twos: the setting by which they do; None if none does.
    """
    if in_twos and batch_size == 1:
        raise settings.SettingError(
            "batch_size", f"= 1 has no room for a pair ({in_twos}); give 2 or more"
        )


def choose_batch_size(batch_size: int | str, num_images: int, in_twos: str | None = None) -> int:
    """Return the number of images in a training batch; `auto` is 32, or 16 of under 1,000 images.

    Args:
        batch_size: a number of images, or `auto`.
        num_images: in the training set.
        in_twos: the setting by which images come two by two, if one does: an odd number is then
            lowered by one, so that no pair is parted.

    Raises:
        SettingError: it is 1, and images come two by two.
    """
    if isinstance(batch_size, int):
        try:
            refuse_single(batch_size, in_twos)
        except settings.SettingError as error:
            raise error.within("loader") from error
        if in_twos and batch_size % 2:
            log.warning(
                "loader.batch_size=%d is lowered to %d: with %s a batch holds images two by two",
                batch_size, batch_size - 1, in_twos,
            )  # fmt: skip
            return batch_size - 1
        return batch_size
    return SMALL_BATCH if num_images < FEW_IMAGES else BATCH


@dataclass(frozen=True)
class CacheConfig:
    """What is computed once and cached.

    Attributes:
        images: where decoded and resized images are cached: `none`, `memory` for this run, `disk`.
        features: whether a frozen backbone's features are cached where nothing random precedes it:
            `auto` or `none`.
        views: with random augmentation, train on this many cached views of each image instead of a
            fresh one in every epoch; None for fresh ones, which are not cached.
        max_gb: the most that either kind may take, in memory or on disk.
    """

    images: str = "none"
    features: str = "auto"
    views: int | None = None
    max_gb: float = MAX_GB

    def __post_init__(self) -> None:
        settings.check(
            self, images=one_of("none", "memory", "disk"), features=one_of("auto", "none"),
            views=optional(COUNT), max_gb=settings.ABOVE_ZERO,
        )  # fmt: skip
        nothing = self.images == self.features == "none"
        if nothing and self.max_gb != MAX_GB:
            raise settings.SettingError(
                "max_gb",
                f"= {self.max_gb} changes nothing: cache.images and cache.features are none; leave "
                f"it out (or {MAX_GB:g})",
            )

    @property
    def max_bytes(self) -> int:
        """Return the limit in bytes."""
        return int(self.max_gb * 1e9)
