"""The page of a prepared folder: what was found, what was left out and why, and doubtful crops."""

from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.data.image_io import UnreadableImageError, read_image, thumbnail
from faceproof.data.prepared import About
from faceproof.data.table import counts
from faceproof.reports.html import image_url, render

MAX_DOUBTFUL, MAX_SAMPLE, MAX_LEFT_OUT = 48, 24, 100
THUMBNAIL = 128  # pixels, the longer side
BORDER = 0.98  # share of a face's box inside the image, below which it is cut by the border
LEAST_SURE, LEAST_SHARP = 0.02, 0.02  # shares of the crops that are shown as doubtful


@dataclass(frozen=True)
class Shown:
    """A crop as the page shows it; `url` holds the image, None if it cannot be read."""

    url: str | None
    title: str
    doubt: str


def prepared_page(folder: Path, about: About, images: pa.Table, media: pa.Table) -> str:
    """Return the page of a prepared folder.

    Args:
        folder: where the crops lie.
        about: what the folder says of itself.
        images: its image table, with relative paths.
        media: its table of photographs and videos.
    """
    doubtful = _doubtful(images)
    sample = np.unique(np.linspace(0, images.num_rows - 1, MAX_SAMPLE).astype(int))
    left_out = media.filter(pc.equal(media["crops"], 0)).to_pylist()
    has_crops = pc.greater(media["crops"], 0)
    partly = media.filter(pc.and_(has_crops, pc.is_valid(media["reason"]))).to_pylist()
    return render(
        "prepared.html.j2",
        about=about,
        settings=_settings(about),
        num_media=media.num_rows,
        statuses=sorted(set(media["status"].cast(pa.string()).to_pylist())),
        balance=_balance(media),
        crops=counts(images, "split", "label"),
        quantiles=_quantiles(images),
        several=int(pc.sum(pc.greater(media["most_faces"], 1)).as_py() or 0),
        doubtful=[_shown(folder, images, row, doubt) for row, doubt in doubtful],
        sample=[_shown(folder, images, int(row), "") for row in sample if images.num_rows],
        left_out=left_out[:MAX_LEFT_OUT],
        num_left_out=len(left_out),
        partly=partly[:MAX_LEFT_OUT],
        num_partly=len(partly),
    )


def _settings(about: About) -> list[tuple[str, object]]:
    """Return the settings a row each, those of the crops by their own names."""
    values = dict(about.settings)
    crop = values.pop("crop")
    return [*crop.items(), *values.items()]


def _balance(media: pa.Table) -> dict[tuple[str, str], dict[str, int]]:
    """Return for each split and label how many photographs and videos have each status."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for (split, label, status), count in counts(media, "split", "label", "status").items():
        place = found.setdefault((split or "no split", label or "no label"), {})
        place[str(status)] = count
    return found


def _quantiles(images: pa.Table) -> list[tuple[str, list[float]]]:
    """Return the 5 %, 50 % and 95 % quantiles of what was measured of the crops."""
    if not images.num_rows:
        return []
    rows = [
        ("side of the crop, pixels", "side"), ("score of the face detector", "score"),
        ("sharpness (log variance of the Laplacian)", "sharpness"),
    ]  # fmt: skip
    return [
        (name, [float(one) for one in np.quantile(images[column].to_numpy(), (0.05, 0.5, 0.95))])
        for name, column in rows
    ]


def _doubtful(images: pa.Table) -> list[tuple[int, str]]:
    """Return rows of crops to look at, and why: cut by the border, unsure, blurred, one of many."""
    if not images.num_rows:
        return []
    num = images.num_rows
    inside, score, sharp = (images[name].to_numpy() for name in ("inside", "score", "sharpness"))
    few = max(1, round(LEAST_SURE * num)), max(1, round(LEAST_SHARP * num))
    reasons: dict[int, list[str]] = {}
    for row in np.flatnonzero(inside < BORDER):
        reasons.setdefault(int(row), []).append("cut by the border")
    for row in np.argsort(score, kind="stable")[: few[0]]:
        reasons.setdefault(int(row), []).append(f"detector's score {score[row]:.2f}")
    for row in np.argsort(sharp, kind="stable")[: few[1]]:
        reasons.setdefault(int(row), []).append(f"sharpness {sharp[row]:.1f}")
    for row in np.flatnonzero(images["track"].to_numpy() > 0):
        reasons.setdefault(int(row), []).append("one of several faces")
    most_first = sorted(reasons.items(), key=lambda item: (-len(item[1]), score[item[0]], item[0]))
    return [(row, ", ".join(found)) for row, found in most_first[:MAX_DOUBTFUL]]


def _shown(folder: Path, images: pa.Table, row: int, doubt: str) -> Shown:
    path, label = images["path"][row].as_py(), images["label"][row].as_py()
    name, time = PurePath(images["original"][row].as_py()).name, images["time"][row].as_py()
    title = " · ".join(filter(None, (name, None if time is None else f"{time:.2f} s", label)))
    try:
        url = image_url(thumbnail(read_image(folder / path), THUMBNAIL))
    except UnreadableImageError:
        url = None
    return Shown(url, title, doubt)
