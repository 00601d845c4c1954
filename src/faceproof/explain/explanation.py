"""What a detector goes by: maps of images, and how far the maps can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import is_positive
from faceproof.explain.attribution import (
    METHODS,
    REMOVALS,
    Maps,
    Removal,
    attribute,
    removed,
    toward_called,
)
from faceproof.explain.effort import THOROUGH, Effort
from faceproof.explain.faithfulness import (
    CurveMetrics,
    Flags,
    Images,
    Values,
    judge_curves,
    map_orders,
    random_orders,
    removal_curves,
    reversed_as_insertion,
)
from faceproof.explain.gallery import Explained
from faceproof.explain.planted import (
    PlantedMetrics,
    local_mask,
    planted_metrics,
)
from faceproof.explain.randomisation import Stage, hardly_changes, randomisation_test
from faceproof.explain.sampling import draw_sample
from faceproof.explain.subject import Subject, read_images
from faceproof.models.detector import Detector

MASK_SIDE = 64  # pixels, enough to tell whether a forgery has a place


@dataclass(frozen=True)
class ExplainConfig:
    """How to explain.

    Attributes:
        methods: of `attribution.METHODS`, in the order of the page.
        layer: the feature map of `cam`; None for the last one.
        removal: what a removed pixel becomes, in every method and measure.
        toward: `called`: maps speak for the class that was called; `positive`: for the positive.
        seed: of samples, random orders and shuffled weights.
        effort: how much is computed.
    """

    methods: Sequence[str] = METHODS
    layer: str | None = None
    removal: Removal = "blur"
    toward: str = "called"
    seed: int = 0
    effort: Effort = THOROUGH

    def __post_init__(self) -> None:
        for given, allowed in (
            (self.methods, METHODS), ((self.removal,), REMOVALS),
            ((self.toward,), ("called", "positive")),
        ):  # fmt: skip
            if strangers := [word for word in given if word not in allowed]:
                raise FaceproofError(f"{strangers[0]!r} must be one of {', '.join(allowed)}")
        if not self.methods:
            raise FaceproofError(f"name a method at least, of {', '.join(METHODS)}")


@dataclass(frozen=True)
class MethodTrust:
    """How far the maps of one method can be trusted.

    Attributes:
        deletion: removing what the map names first, against random orders.
        insertion: inserting it.
        deletion_curve: mean probability of the called class at equal shares removed.
        insertion_curve: the same at shares inserted.
        stages: how alike the maps are when weights are shuffled.
        hardly_changes: whether they do not depend on the weights enough.
        planted: how well they find forgeries whose place is known; None where there are none.
    """

    deletion: CurveMetrics
    insertion: CurveMetrics
    deletion_curve: list[float]
    insertion_curve: list[float]
    stages: list[Stage]
    hardly_changes: bool
    planted: PlantedMetrics | None


@dataclass(frozen=True)
class Trust:
    """What the measures say of each method.

    Attributes:
        images: which images these are, in words.
        num_images: how many.
        num_randomised: how many of them went through the randomisation test.
        num_planted: forgeries whose place is known.
        num_found: how many of these were called positive, and so had a map that could find them.
        random_deletion: the mean curve of random orders.
        random_insertion: the same, inserted.
        mask_deletion: removing from those found what their masks cover first; None without any.
        methods: by method.
    """

    images: str
    num_images: int
    num_randomised: int
    num_planted: int
    num_found: int
    random_deletion: list[float]
    random_insertion: list[float]
    mask_deletion: CurveMetrics | None
    methods: dict[str, MethodTrust] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def explain_rows(
    subject: Subject, rows: pa.Table, config: ExplainConfig, section: str = "images"
) -> list[Explained]:
    """Explain the images of a table, which has `path`, and may have `label` and `generator`."""
    paths = rows["path"].to_pylist()
    images = read_images(paths, subject.net.input)
    logits = subject.logits(images)
    probabilities = subject.point.calibration.apply(logits)
    called = is_positive(probabilities, subject.point.threshold)
    maps = {
        method: _maps(
            subject, images, method, config, called if config.toward == "called" else None
        )
        for method in config.methods
    }
    classes = subject.task.classes
    known = {
        name: rows[name].to_pylist() for name in ("label", "generator") if name in rows.column_names
    }
    nothing = [None] * len(paths)
    return [
        Explained(
            path=path,
            image=images[row],
            logit=float(logits[row]),
            probability=float(probabilities[row]),
            called=classes[int(called[row])],
            toward=classes[int(called[row]) if config.toward == "called" else 1],
            maps={method: found[row] for method, found in maps.items()},
            label=known.get("label", nothing)[row],
            generator=known.get("generator", nothing)[row],
            section=section,
        )
        for row, path in enumerate(paths)
    ]


def _maps(
    subject: Subject, images: Images, method: str, config: ExplainConfig, called: Flags | None
) -> Maps:
    """Return maps toward the called class, or without one toward the positive class."""
    batch = torch.from_numpy(images)
    maps = attribute(subject.net, batch, method, config.layer, config.removal, config.effort.grain)
    return maps if called is None else toward_called(maps, called)


def planted_rows(rows: pa.Table, number: int, seed: int) -> pa.Table:
    """Draw images among those whose forgery has a known place; none where no place is known."""
    places = [local_mask(path, MASK_SIDE) is not None for path in rows["path"].to_pylist()]
    known = rows.filter(pa.array(places, pa.bool_()))
    return draw_sample(known, number, seed) if known.num_rows else known


def measure_trust(
    subject: Subject, rows: pa.Table, planted: pa.Table, words: str, config: ExplainConfig
) -> Trust:
    """Measure how far maps of these images can be trusted.

    Args:
        subject: the detector.
        rows: the images of the curves and of the randomisation test.
        planted: images among which are forgeries with a known place.
        words: which images these are.
        config: how to explain.

    Raises:
        FaceproofError: there are no images, or one cannot be read.
    """
    if not rows.num_rows:
        raise FaceproofError(f"there are no images to measure maps by: {words}")
    sample = _ground(subject, read_images(rows["path"].to_pylist(), subject.net.input), config)
    hidden, masks, num_planted = _planted_images(subject, planted)
    forged = _Forged(_ground(subject, hidden, config), masks) if len(masks) else None
    mean = sample.random.mean((0, 1))
    return Trust(
        images=words,
        num_images=len(sample.images),
        num_randomised=len(_some(len(sample.images), config.effort.num_randomised)),
        num_planted=num_planted,
        num_found=len(masks),
        random_deletion=mean.tolist(),
        random_insertion=mean[::-1].tolist(),
        mask_deletion=_deletion(forged.ground, masks.astype(float)) if forged else None,
        methods={
            method: _measure_method(subject, sample, forged, method, config)
            for method in config.methods
        },
    )


@dataclass(frozen=True)
class _Ground:
    """What all methods are measured on: images, what they are called, their curves, chance."""

    images: Images
    called: Flags
    curves: Callable[..., Values]
    random: Values


@dataclass(frozen=True)
class _Forged:
    """Images with a planted forgery that are called positive, and where it is, (B, S, S)."""

    ground: _Ground
    masks: Flags


def _ground(subject: Subject, images: Images, config: ExplainConfig) -> _Ground:
    effort = config.effort
    empty = removed(torch.from_numpy(images), config.removal).numpy()
    ends = np.stack([subject.probabilities(images), subject.probabilities(empty)])
    called = is_positive(ends[0], subject.point.threshold)
    curves = partial(
        removal_curves, subject.probabilities, images, empty, called,
        num_steps=effort.num_steps, ends=ends,
    )  # fmt: skip
    side = images.shape[-1]
    random = curves(random_orders(len(images), side, config.seed, effort.num_orders))
    return _Ground(images, called, curves, random)


def _deletion(ground: _Ground, maps: NDArray[np.floating]) -> CurveMetrics:
    """Judge maps (B, S, S), signed toward the called class, by what their removal does."""
    return judge_curves(ground.curves(map_orders(maps)[None])[0], ground.random, insert=False)


def _measure_method(
    subject: Subject, sample: _Ground, forged: _Forged | None, method: str, config: ExplainConfig
) -> MethodTrust:
    maps = _maps(subject, sample.images, method, config, None)
    orders = map_orders(toward_called(maps, sample.called))[None]
    deletion = sample.curves(orders)[0]
    insertion = sample.curves(orders, insert=True)[0]
    few = _some(len(maps), config.effort.num_randomised)
    stages = randomisation_test(
        subject.net, torch.from_numpy(sample.images[few]), maps[few],
        _explainer(method, config), config.seed, config.effort.num_stages,
    )  # fmt: skip
    planted = None
    if forged is not None:
        places = _maps(subject, forged.ground.images, method, config, None)
        planted = planted_metrics(places, forged.masks, _deletion(forged.ground, places))
    return MethodTrust(
        deletion=judge_curves(deletion, sample.random, insert=False),
        insertion=judge_curves(insertion, reversed_as_insertion(sample.random), insert=True),
        deletion_curve=deletion.mean(0).tolist(),
        insertion_curve=insertion.mean(0).tolist(),
        stages=stages,
        hardly_changes=hardly_changes(stages),
        planted=planted,
    )


def _some(num: int, most: int) -> NDArray[np.int64]:
    """Return the places of at most so many of `num` images, spread over their classes."""
    return np.linspace(0, num - 1, min(num, most)).round().astype(np.int64)


def _explainer(method: str, config: ExplainConfig) -> Any:
    def explain(net: Detector, images: Tensor) -> Maps:
        return attribute(net, images, method, config.layer, config.removal, config.effort.grain)

    return explain


def _planted_images(subject: Subject, rows: pa.Table) -> tuple[Images, Flags, int]:
    """Return the forgeries with a known place that are called positive, their masks, and how many.

    A map of a forgery that was missed speaks for the other class and can find nothing.
    """
    size = subject.net.input.size
    known: list[tuple[str, Flags]] = []
    for path in rows["path"].to_pylist():
        if (mask := local_mask(path, size)) is not None:
            known.append((path, mask))
    images = read_images([path for path, _ in known], subject.net.input)
    found = is_positive(subject.probabilities(images), subject.point.threshold)
    masks = np.array([mask for _, mask in known], bool).reshape(-1, size, size)
    return images[found], masks[found], len(known)
