"""Explain images by maps of what speaks for an answer, and measure how far to trust the maps.

Three measures of each method: deletion and insertion curves (`explain.faithfulness`), shuffled
weights (`explain.randomisation`), and forgeries whose place is known (`explain.known_forgeries`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceproof.data.model_input import fit_of
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import is_positive
from faceproof.explain.attribution import Maps, attribute, check_maps, removed, toward_called
from faceproof.explain.config import MapConfig
from faceproof.explain.explanation_results import (
    CurveMetrics,
    Explained,
    MethodTrust,
    Trust,
    hardly_changes,
)
from faceproof.explain.faithfulness import (
    Flags,
    Images,
    Values,
    judge_curves,
    map_orders,
    random_orders,
    removal_curves,
    reversed_as_insertion,
)
from faceproof.explain.known_forgeries import local_mask, planted_metrics
from faceproof.explain.loaded_detector import Subject, read_images
from faceproof.explain.randomisation import randomisation_test
from faceproof.explain.sampling import sample_rows
from faceproof.models.detector import Detector

MASK_SIDE = 64  # pixels, enough to tell whether a forgery has a place


def explain_rows(
    subject: Subject, rows: pa.Table, config: MapConfig, section: str = "images"
) -> list[Explained]:
    """Explain the images of a table that has `path`, and `label` and `generator` if they are known.

    Raises:
        FaceproofError: an image cannot be read.
    """
    paths = rows["path"].to_pylist()
    images = read_images(paths, subject.net.input)
    logits = subject.logits(images)
    probabilities = subject.point.calibration.apply(logits)
    called = is_positive(probabilities, subject.point.threshold)
    maps = {method: _maps(subject, images, method, config) for method in config.methods}
    labels, generators = (
        rows[name].to_pylist() if name in rows.column_names else [None] * len(paths)
        for name in ("label", "generator")
    )
    return [
        Explained(
            path=path,
            image=images[row],
            logit=float(logits[row]),
            probability=float(probabilities[row]),
            called=subject.task.classes[int(called[row])],
            maps={method: found[row] for method, found in maps.items()},
            label=labels[row],
            generator=generators[row],
            section=section,
        )
        for row, path in enumerate(paths)
    ]


def _attribute(method: str, config: MapConfig, net: Detector, images: Tensor) -> Maps:
    return attribute(net, images, method, config.layer, config.removal, config.effort.grain)


def _maps(subject: Subject, images: Images, method: str, config: MapConfig) -> Maps:
    """Return the maps (B, S, S) of images (B, 3, S, S), toward the positive class."""
    return check_maps(_attribute(method, config, subject.net, torch.from_numpy(images)))


def planted_rows(rows: pa.Table, number: int, seed: int) -> pa.Table:
    """Draw independent images whose forgery has a known place; none where no place is known."""
    places = [local_mask(path, MASK_SIDE) is not None for path in rows["path"].to_pylist()]
    known = rows.filter(pa.array(places, pa.bool_()))
    return sample_rows(known, number, seed) if known.num_rows else known


def measure_trust(
    subject: Subject, rows: pa.Table, planted: pa.Table, words: str, config: MapConfig
) -> Trust:
    """Measure how far maps can be trusted.

    `rows` are the images of the curves and of the randomisation test, and `words` say which these
    are; among `planted` are forgeries with a known place.

    Raises:
        FaceproofError: there are no images, or one cannot be read.
    """
    if not rows.num_rows:
        raise FaceproofError(f"there are no images to measure maps by: {words}")
    images = read_images(rows["path"].to_pylist(), subject.net.input)
    sample = _prepare(subject, images, config)
    hidden, masks, num_planted = _planted_images(subject, planted)
    forged = _prepare(subject, hidden, config) if len(masks) else None
    chance = sample.random.mean((0, 1))
    return Trust(
        images=words,
        num_images=len(images),
        num_randomised=len(_spread(len(images), config.effort.num_randomised)),
        num_planted=num_planted,
        num_found=len(masks),
        random_deletion=chance.tolist(),
        random_insertion=chance[::-1].tolist(),
        mask_deletion=forged.deletion(masks.astype(float)) if forged else None,
        methods={
            method: _measure_method(subject, sample, forged, masks, method, config)
            for method in config.methods
        },
    )


@dataclass(frozen=True)
class _Sample:
    """Images, the classes they are called, and what gives their curves; `random` are by chance."""

    images: Images
    called: Flags
    curves: Callable[..., Values]
    random: Values

    def deletion(self, maps: NDArray[np.floating]) -> CurveMetrics:
        """Judge maps (B, S, S), signed toward the called class, by removing what they name."""
        return judge_curves(self.curves(map_orders(maps)[None])[0], self.random, insert=False)


def _prepare(subject: Subject, images: Images, config: MapConfig) -> _Sample:
    effort = config.effort
    empty = removed(torch.from_numpy(images), config.removal).numpy()
    ends = np.stack([subject.probabilities(images), subject.probabilities(empty)])
    called = is_positive(ends[0], subject.point.threshold)
    curves = partial(
        removal_curves, subject.probabilities, images, empty, called,
        num_steps=effort.num_steps, ends=ends,
    )  # fmt: skip
    orders = random_orders(len(images), images.shape[-1], config.seed, effort.num_orders)
    return _Sample(images, called, curves, curves(orders))


def _measure_method(
    subject: Subject,
    sample: _Sample,
    forged: _Sample | None,
    masks: Flags,
    method: str,
    config: MapConfig,
) -> MethodTrust:
    """Measure one method; `masks` are the places of the forgeries in `forged`."""
    maps = _maps(subject, sample.images, method, config)
    orders = map_orders(toward_called(maps, sample.called))[None]
    deletion = sample.curves(orders)[0]
    insertion = sample.curves(orders, insert=True)[0]
    few = _spread(len(maps), config.effort.num_randomised)
    images, explain = torch.from_numpy(sample.images[few]), partial(_attribute, method, config)
    num_stages = config.effort.num_stages
    stages = randomisation_test(subject.net, images, maps[few], explain, config.seed, num_stages)
    planted = None
    if forged is not None:
        found = _maps(subject, forged.images, method, config)
        planted = planted_metrics(found, masks, forged.deletion(found))
    return MethodTrust(
        deletion=judge_curves(deletion, sample.random, insert=False),
        insertion=judge_curves(insertion, reversed_as_insertion(sample.random), insert=True),
        deletion_curve=deletion.mean(0).tolist(),
        insertion_curve=insertion.mean(0).tolist(),
        stages=stages,
        hardly_changes=hardly_changes(stages),
        planted=planted,
    )


def _spread(num: int, most: int) -> NDArray[np.int64]:
    """Return the places of at most `most` of `num` images, spread over their classes."""
    return np.linspace(0, num - 1, min(num, most)).round().astype(np.int64)


def _planted_images(subject: Subject, rows: pa.Table) -> tuple[Images, Flags, int]:
    """Return the forgeries of known place that are called positive, their masks, and how many.

    The number counts those that are missed too: their maps speak for the other class and can find
    nothing.
    """
    size, _, crop = fit_of(subject.net.input, tiles=False)
    masks = {path: local_mask(path, size, crop) for path in rows["path"].to_pylist()}
    known = {path: mask for path, mask in masks.items() if mask is not None}
    images = read_images(list(known), subject.net.input)
    found = is_positive(subject.probabilities(images), subject.point.threshold)
    places = np.array(list(known.values()), bool).reshape(-1, size, size)
    return images[found], places[found], len(known)
