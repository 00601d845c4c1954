"""Test whether a map depends on the network at all, by computing it again with shuffled weights.

Adebayo et al., "Sanity checks for saliency maps" (2018). The weights are shuffled from the head
towards the input, each tensor among its own values, so that their distribution stays. A map that
stays the same shows the image (its edges, say) and not what the network learned.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from faceproof.explain.explanation_results import Stage
from faceproof.explain.faithfulness import Values
from faceproof.models.detector import Detector, parameter_blocks

NUM_PARTS = 2  # of the backbone, shuffled one after another

Explain = Callable[[Detector, Tensor], NDArray[np.floating]]


def randomisation_test(
    net: Detector,
    images: Tensor,
    before: NDArray[np.floating],
    explain: Explain,
    seed: int = 0,
    num_stages: int | None = None,
) -> list[Stage]:
    """Return the stages of a cascade from the head to the input; the last has all weights shuffled.

    Args:
        net: stays as it is.
        images: (B, 3, S, S) in [0, 1].
        before: their maps by this network, (B, S, S).
        explain: network and images to maps (B, S, S), signed toward one class.
        seed: of the shuffling.
        num_stages: explain again after so many stages only, the last; None for all.
    """
    changed, cascade = deepcopy(net), _cascade(net)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    stages, done = [], 0
    first = 0 if num_stages is None else max(0, len(cascade) - num_stages)
    for place, (words, names) in enumerate(cascade):
        shuffle_weights(changed, names, seed + place)
        done += sum(sizes[name] for name in names)
        if place < first:
            continue
        after = explain(changed, images)
        spearman = _mean(similarity(before, after))
        magnitude = _mean(similarity(np.abs(before), np.abs(after)))
        constant = int((~_has_ranks(before)).sum())
        stages.append(Stage(words, done / sum(sizes.values()), spearman, magnitude, constant))
    return stages


def shuffle_weights(net: Detector, names: Sequence[str], seed: int) -> None:
    """Shuffle the values of each of these parameters among themselves, in place."""
    random = torch.Generator().manual_seed(seed)
    parameters = dict(net.named_parameters())
    with torch.no_grad():
        for name in names:
            values = parameters[name]
            order = torch.randperm(values.numel(), generator=random).to(values.device)
            values.copy_(values.flatten()[order].view_as(values))


def similarity(first: NDArray[np.floating], second: NDArray[np.floating]) -> Values:
    """Return the absolute Spearman correlation of maps (B, S, S), (B,).

    Absolute, because a map of the opposite sign shows the same places. NaN where the first map has
    no ranks, because it is constant or not finite; 0 where only the second has none, because then
    nothing of the first is left.
    """
    ranked = _has_ranks(first)
    found = np.where(ranked, 0.0, np.nan)
    for row in np.flatnonzero(ranked & _has_ranks(second)):
        ranks = stats.rankdata([first[row].ravel(), second[row].ravel()], axis=1)
        found[row] = abs(np.corrcoef(ranks)[0, 1])
    return found


def _has_ranks(maps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say of each map (B, S, S) whether it is finite and not constant."""
    flat = maps.reshape(len(maps), -1)
    return np.asarray(np.isfinite(flat).all(1) & (flat != flat[:, :1]).any(1))


def _mean(values: Values) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _cascade(net: Detector) -> list[tuple[str, list[str]]]:
    """Return the names to shuffle in turn: those of the head, then the backbone from its end."""
    head = [name for name, _ in net.named_parameters() if not name.startswith("backbone.")]
    blocks = parameter_blocks(net)[::-1]
    bounds = np.linspace(0, len(blocks), min(NUM_PARTS, len(blocks)) + 1).round().astype(int)
    parts = [("head", head)]
    for start, end in pairwise(bounds.tolist()):
        names = [name for block in blocks[start:end] for name in block]
        last = f"head and last {end} of {len(blocks)} blocks"
        parts.append(("all weights" if end == len(blocks) else last, names))
    return parts
