"""Whether a map depends on the network at all: the same map of a network with shuffled weights.

Adebayo et al., "Sanity checks for saliency maps" (2018). The weights are destroyed from the head
towards the input, each tensor's values shuffled among themselves, so that their distribution stays.
A map that stays as it was shows the picture (its edges, say) and not what the network learned.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from faceproof.explain.faithfulness import Values
from faceproof.models.detector import Detector, parameter_blocks

# A map that keeps more than this rank correlation, on average, when no weight is in its place any
# more hardly depends on the network. Maps of unrelated networks lie near 0 to 0.3.
MAX_SIMILARITY = 0.5
NUM_PARTS = 2  # of the trunk, shuffled one after another

Explain = Callable[[Detector, Tensor], NDArray[np.floating]]


@dataclass(frozen=True)
class Stage:
    """How alike maps are before and after some of the weights were shuffled.

    Attributes:
        shuffled: what was shuffled, in words.
        share: share of the parameters.
        spearman: mean over pictures of the absolute rank correlation of the maps; None where a map
            is constant, and so has no ranks.
        magnitude: the same of the maps' absolute values, which stay alike where only signs change.
    """

    shuffled: str
    share: float
    spearman: float | None
    magnitude: float | None


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
        net: the network; it stays as it is.
        images: (B, 3, S, S) in [0, 1].
        before: their maps by this network, (B, S, S).
        explain: network and images to maps (B, S, S), signed toward one class.
        seed: of the shuffling.
        num_stages: explain again after the last so many only; None for all.
    """
    changed = deepcopy(net)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    stages, done = [], 0
    cascade = _cascade(net)
    first = 0 if num_stages is None else max(0, len(cascade) - num_stages)
    for place, (words, names) in enumerate(cascade):
        shuffle_weights(changed, names, seed + place)
        done += sum(sizes[name] for name in names)
        if place < first:
            continue
        after = explain(changed, images)
        stages.append(
            Stage(
                words,
                done / sum(sizes.values()),
                _mean(similarity(before, after)),
                _mean(similarity(np.abs(before), np.abs(after))),
            )
        )
    return stages


def hardly_changes(stages: Sequence[Stage]) -> bool:
    """Say whether a map is to be distrusted: constant, or alike when all weights are shuffled."""
    last = stages[-1].spearman
    return last is None or last > MAX_SIMILARITY


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
    """Return the absolute Spearman correlation of maps (B, S, S), (B,); NaN where one is constant.

    Absolute, because a map that is merely turned over shows the same places.
    """
    found = np.full(len(first), np.nan)
    for row, (one, other) in enumerate(zip(first, second, strict=True)):
        if np.isfinite(one).all() and np.isfinite(other).all() and np.ptp(one) and np.ptp(other):
            ranks = stats.rankdata([one.ravel(), other.ravel()], axis=1)
            found[row] = abs(np.corrcoef(ranks)[0, 1])
    return found


def _mean(values: Values) -> float | None:
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None


def _cascade(net: Detector) -> list[tuple[str, list[str]]]:
    """Return what is shuffled in turn, every parameter once: the head, then the trunk backwards."""
    head = [name for name, _ in net.named_parameters() if not name.startswith("trunk.")]
    blocks = parameter_blocks(net)[::-1]
    bounds = np.linspace(0, len(blocks), min(NUM_PARTS, len(blocks)) + 1).round().astype(int)
    parts = [("head", head)]
    for start, end in pairwise(bounds.tolist()):
        names = [name for block in blocks[start:end] for name in block]
        words = "all weights" if end == len(blocks) else f"head and last {end} of {len(blocks)}"
        parts.append((words if end == len(blocks) else f"{words} blocks", names))
    return parts
