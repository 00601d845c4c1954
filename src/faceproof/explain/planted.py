"""Whether a map finds a forgery whose place is known.

Chance is not the mask's share of the picture alone: forgeries mostly lie in the middle, where a map
that knew nothing of this picture might look as well. So each map is also held against the masks of
the *other* pictures, and only what it has over these shows that it found this forgery.

The data set `demo` keeps the mask of each forgery; see `faceproof.data.demo`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceproof.explain.faithfulness import Flags, Values, mean_interval
from faceproof.statistics import Interval, share_interval

MAX_SHARE = 0.8  # a mask of more of the picture is no place in it


@dataclass(frozen=True)
class PlantedFigures:
    """How well maps find planted forgeries, over pictures.

    Attributes:
        num_pictures: how many were looked at.
        hits: share of maps whose largest value lies inside the mask (the pointing game).
        hits_interval: of it.
        hits_elsewhere: the same with the masks of the other pictures; None for a single picture.
        inside: mean share of the map's positive values that lies inside the mask.
        inside_elsewhere: the same with the masks of the others; None for a single picture.
        area: mean share of the picture that the mask covers: what chance attains in both.
        gain: `inside` less `inside_elsewhere`, mean over pictures.
        gain_interval: of it; None for fewer than two pictures.
    """

    num_pictures: int
    hits: float
    hits_interval: Interval | None
    hits_elsewhere: float | None
    inside: float
    inside_elsewhere: float | None
    area: float
    gain: float | None
    gain_interval: Interval | None


def mask_path(picture: str | Path) -> Path | None:
    """Return where the demo set keeps the mask of a picture; None for what has none."""
    path = Path(picture)
    if len(path.parts) < 4 or path.parts[-4] != "pictures":
        return None
    mask = path.parents[3] / "masks" / path.parent.name / f"{path.stem}.png"
    return mask if mask.is_file() else None


def read_mask(path: Path, size: int) -> Flags:
    """Return a mask as (size, size) bool."""
    with Image.open(path) as mask:
        fitted = mask.convert("L").resize((size, size), Image.Resampling.BOX)
    return np.asarray(fitted) >= 128


def local_mask(picture: str | Path, size: int) -> Flags | None:
    """Return the mask of a forgery that has a place in its picture; None for all other pictures.

    A mask of nothing, or of nearly all of the picture, is no place.
    """
    path = mask_path(picture)
    if path is None:
        return None
    mask = read_mask(path, size)
    return mask if 0 < float(mask.mean()) <= MAX_SHARE else None


def pointing_hits(maps: NDArray[np.floating], masks: Flags) -> Flags:
    """Say of each map (B, S, S) whether its largest value lies inside the mask (B, S, S).

    Pointing game: Zhang et al., "Top-down neural attention by excitation backprop" (2018). A
    constant map points nowhere, and so misses.
    """
    flat = maps.reshape(len(maps), -1)
    places = flat.argmax(1)
    inside = masks.reshape(len(masks), -1)[np.arange(len(maps)), places]
    return np.asarray(inside & (np.ptp(flat, axis=1) > 0))


def mass_inside(maps: NDArray[np.floating], masks: Flags) -> Values:
    """Return the share of each map's positive values inside the mask, (B,); 0 if it has none."""
    positive = np.maximum(maps, 0).astype(np.float64).reshape(len(maps), -1)
    total = positive.sum(1)
    inside = (positive * masks.reshape(len(masks), -1)).sum(1)
    shares: Values = np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)
    return shares


def planted_figures(maps: NDArray[np.floating], masks: Flags) -> PlantedFigures:
    """Return how well maps (B, S, S), signed toward the forgery, find the masks (B, S, S)."""
    number = len(maps)
    hits, inside = pointing_hits(maps, masks), mass_inside(maps, masks)
    hits_elsewhere = inside_elsewhere = gain = interval = None
    if number > 1:
        # Every map with every other picture's mask.
        turned = [np.roll(masks, shift, axis=0) for shift in range(1, number)]
        others = np.mean([mass_inside(maps, other) for other in turned], axis=0)
        hits_elsewhere = float(np.mean([pointing_hits(maps, other) for other in turned]))
        inside_elsewhere = float(others.mean())
        gain, interval = float((inside - others).mean()), mean_interval(inside - others)
    return PlantedFigures(
        num_pictures=number,
        hits=float(hits.mean()),
        hits_interval=share_interval(hits, np.arange(number, dtype=np.int64)),
        hits_elsewhere=hits_elsewhere,
        inside=float(inside.mean()),
        inside_elsewhere=inside_elsewhere,
        area=float(masks.mean()),
        gain=gain,
        gain_interval=interval,
    )
