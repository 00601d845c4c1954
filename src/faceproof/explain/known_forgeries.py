"""Measure whether a map finds a forgery whose place is known.

The mask's share of the image alone is not what chance reaches: forgeries are mostly in the middle,
where a map that knows nothing of the image may point too. So each map is also compared with the
masks of the *other* images; only what it has beyond those shows that it found this forgery.

The data set `demo` has the mask of each forgery; see `faceproof.data.demo.make`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceproof.data.image_limits import open_image
from faceproof.data.model_input import Crop, fit_image
from faceproof.evaluation.statistics import Interval, wilson
from faceproof.explain.explanation_results import CurveMetrics, PlantedMetrics
from faceproof.explain.faithfulness import Flags, Values, mean_interval

MAX_SHARE = 0.8  # a mask that covers more of the image names no place in it
ROUNDING = 1e-6  # of a map's range; values that differ by less are equally strong


def mask_path(image: str | Path) -> Path | None:
    """Return the mask file of an image of the demo set; None if it has none."""
    path = Path(image)
    if len(path.parts) < 4 or path.parts[-4] != "pictures":
        return None
    mask = path.parents[3] / "masks" / path.parent.name / f"{path.stem}.png"
    return mask if mask.is_file() else None


def read_mask(path: Path, size: int, crop: Crop | None = None) -> Flags:
    """Return a mask as (size, size) bool, resized or cropped as its image is."""
    with open_image(path.read_bytes()) as opened:
        mask = opened.convert("L")
    if crop is not None:
        return fit_image(np.array(mask)[None], size, "bilinear", crop)[0].numpy() >= 128
    return np.asarray(mask.resize((size, size), Image.Resampling.BOX)) >= 128


def local_mask(image: str | Path, size: int, crop: Crop | None = None) -> Flags | None:
    """Return the mask of a forgery that has a place in its image; None for all other images.

    A mask that covers nothing or nearly all of the image, or of its crop, names no place.
    """
    path = mask_path(image)
    if path is None:
        return None
    mask = read_mask(path, size, crop)
    return mask if 0 < float(mask.mean()) <= MAX_SHARE else None


def pointing_hits(maps: NDArray[np.floating], masks: Flags) -> Values:
    """Return the share of each map's strongest places inside the mask, (B,); usually one place.

    Maps and masks are (B, S, S). Pointing game: Zhang et al., "Top-down neural attention by
    excitation backprop" (2018). A constant map points nowhere and counts as a miss.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    reach = np.ptp(flat, axis=1, keepdims=True)
    strongest = flat >= flat.max(1, keepdims=True) - ROUNDING * reach
    inside = (strongest & masks.reshape(len(masks), -1)).sum(1) / strongest.sum(1)
    return np.asarray(np.where(reach[:, 0] > 0, inside, 0.0))


def mass_inside(maps: NDArray[np.floating], masks: Flags) -> Values:
    """Return the share of each map's positive values inside the mask, (B,); 0 if it has none."""
    positive = np.maximum(maps, 0).astype(np.float64).reshape(len(maps), -1)
    total = positive.sum(1)
    inside = (positive * masks.reshape(len(masks), -1)).sum(1)
    shares: Values = np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)
    return shares


def planted_metrics(
    maps: NDArray[np.floating], masks: Flags, deletion: CurveMetrics
) -> PlantedMetrics:
    """Return how well maps (B, S, S), signed toward the forgery, find the masks (B, S, S).

    `deletion` is what removing cells in the maps' order does to these images.
    """
    hits, inside = pointing_hits(maps, masks), mass_inside(maps, masks)
    hits_elsewhere, hits_gain, span = _against_others(hits, maps, masks, pointing_hits)
    inside_elsewhere, gain, interval = _against_others(inside, maps, masks, mass_inside)
    return PlantedMetrics(
        num_images=len(maps),
        hits=float(hits.mean()),
        hits_interval=wilson(float(hits.mean()), len(maps)),
        hits_elsewhere=hits_elsewhere,
        hits_gain=hits_gain,
        hits_gain_interval=span if span and span[0] < span[1] else None,
        inside=float(inside.mean()),
        inside_elsewhere=inside_elsewhere,
        area=float(masks.mean()),
        gain=gain,
        gain_interval=interval,
        deletion=deletion,
    )


def _against_others(
    own: Values,
    maps: NDArray[np.floating],
    masks: Flags,
    measure: Callable[[NDArray[np.floating], Flags], Values],
) -> tuple[float | None, float | None, Interval | None]:
    """Return a measure with the masks of other images, what `own` exceeds it by, and the interval.

    All three are None for a single image.
    """
    if len(maps) < 2:
        return None, None, None
    # Each map meets the mask of every other image.
    turned = [np.roll(masks, shift, axis=0) for shift in range(1, len(maps))]
    others = np.mean([measure(maps, other) for other in turned], axis=0)
    return float(others.mean()), float((own - others).mean()), mean_interval(own - others)
