"""Measure whether a map shows what the detector uses: remove the places that the map names.

Deletion and insertion (Petsiuk, Das and Saenko 2018). Pixels are removed in square cells, those the
map ranks first before the others: scattered pixels would be a pattern of their own, and a fine map,
a coarse map and chance should remove things of the same kind.

    deletion    cells are removed from the image; with a good map the probability falls soon, and
                the area under its curve is small
    insertion   cells are inserted into the removed image; it rises soon, and the area is large
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faceproof.errors import FaceproofError
from faceproof.evaluation.statistics import LEVEL, Interval
from faceproof.explain.explanation_results import CurveMetrics

Images = NDArray[np.float32]
Orders = NDArray[np.int64]
Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Probability = Callable[[Images], Values]

GRID = 14  # cells a side
NUM_STEPS = 10  # from the whole image to the whole removed one
NUM_ORDERS = 5  # random ones


def cells_of(side: int) -> NDArray[np.int64]:
    """Return the number of each pixel's cell, (side, side); cells differ by one pixel at most."""
    line = np.arange(side) * min(GRID, side) // side
    return np.asarray(line[:, None] * min(GRID, side) + line[None, :])


def map_orders(maps: NDArray[np.floating]) -> Orders:
    """Return the cells of each map in falling order of their mean, (B, C)."""
    cells = cells_of(maps.shape[-1]).ravel()
    sizes = np.bincount(cells)
    means = [np.bincount(cells, one.ravel().astype(np.float64)) / sizes for one in maps]
    return np.argsort(-np.array(means).reshape(-1, len(sizes)), axis=1, kind="stable")


def random_orders(num_images: int, side: int, seed: int, num_orders: int = NUM_ORDERS) -> Orders:
    """Return random orders of the cells, (num_orders, num_images, C)."""
    num_cells = min(GRID, side) ** 2
    places = np.random.default_rng(seed).random((num_orders, num_images, num_cells))
    return np.argsort(places, axis=2)


def removal_curves(
    probability: Probability,
    images: Images,
    removed: Images,
    called_positive: Flags,
    orders: Orders,
    insert: bool = False,
    num_steps: int = NUM_STEPS,
    ends: Values | None = None,
) -> Values:
    """Return the probability of the called class while cells are removed, or inserted.

    Args:
        probability: images (N, 3, S, S) to probabilities of the positive class (N,).
        images: (B, 3, S, S).
        removed: the same images with everything removed.
        called_positive: the class called of each, (B,).
        orders: which cells first, (M, B, C).
        insert: start from the removed image and insert, instead of removing.
        num_steps: of each curve.
        ends: the probabilities of `images` and of `removed`, (2, B), if they are known already.

    Returns:
        (M, B, num_steps + 1), at equal shares of the cells from none to all.
    """
    cells = cells_of(images.shape[-1])
    num_cells = int(cells.max()) + 1
    if orders.shape[1:] != (len(images), num_cells):
        raise ValueError(f"orders {orders.shape} for {len(images)} images, {num_cells} cells")
    taken = np.round(np.linspace(0, num_cells, num_steps + 1))
    ranks = np.argsort(orders, axis=2)
    curves = np.empty((*orders.shape[:2], num_steps + 1))
    if ends is None:
        ends = np.stack([probability(images), probability(removed)])
    # The ends do not depend on the order.
    curves[:, :, 0], curves[:, :, -1] = ends[::-1] if insert else ends
    for row, (image, empty) in enumerate(zip(images, removed, strict=True)):
        before, after = (empty, image) if insert else (image, empty)
        gone = ranks[:, row][:, cells][:, None] < taken[1:-1, None, None]  # (M, steps, S, S)
        changed = np.where(gone[:, :, None], after, before)
        found = probability(changed.reshape(-1, *image.shape))
        curves[:, row, 1:-1] = found.reshape(len(orders), -1)
    return np.where(called_positive[None, :, None], curves, 1 - curves)


def area(curves: Values) -> Values:
    """Return the area under curves over shares from 0 to 1, by the trapezoidal rule."""
    return np.asarray(np.trapezoid(curves, dx=1 / (curves.shape[-1] - 1), axis=-1))


def judge_curves(curves: Values, random: Values, insert: bool) -> CurveMetrics:
    """Compare a map's curves (B, K) with those of random orders of the same images (R, B, K).

    Of insertion curves (`insert`) the larger area is better.

    Raises:
        FaceproofError: there are no images.
    """
    if not len(curves):
        raise FaceproofError("there are no images to judge a map by")
    own, chance = area(curves), area(random)
    gains = (own - chance.mean(0)) * (1 if insert else -1)
    interval = mean_interval(gains)
    return CurveMetrics(
        area=float(own.mean()),
        random_area=float(chance.mean()),
        random_spread=float(chance.mean(1).std(ddof=1)) if len(chance) > 1 else 0.0,
        gain=float(gains.mean()),
        interval=interval,
        beats_random=None if interval is None else interval[0] > 0,
    )


def reversed_as_insertion(random_deletion: Values) -> Values:
    """Return the insertion curves of the reversed orders: the same images from the other end.

    The reverse of a random order is a random order too, so chance is scored only once.
    """
    return random_deletion[..., ::-1]


def mean_interval(values: Values | Sequence[float]) -> Interval | None:
    """Return Student's interval of a mean of independent values; None for fewer than two.

    The values are differences of two shares, so that the interval lies within -1 and 1.
    """
    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return None
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(found) - 1) * stats.sem(found))
    mean = float(found.mean())
    return max(-1.0, mean - half), min(1.0, mean + half)
