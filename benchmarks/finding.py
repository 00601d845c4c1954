"""How well and how fast face detectors find faces, and how a data set frames them."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from benchmarks.measuring import read_images
from faceproof import lookup
from faceproof.data.image_io import Pixels, UnreadableImageError, read_image
from faceproof.prepare.cropping import CropConfig
from faceproof.prepare.detectors import load_detector
from faceproof.prepare.face import Face

TURN = 20  # degrees


def measure_finding(
    data: str, detectors: Sequence[str], num_images: int, min_score: float | None
) -> list[dict[str, Any]]:
    """Return a row a detector and label: how many images have a face, or several; and the time.

    `framing` is the margin around the largest face that would give the whole image, the median. The
    roll is that of the line between the eyes, in images turned by 20 degrees.
    """
    lookup.allow(["benchmarks.other_detectors"])
    images = read_images(data).data.table
    rows = []
    for label in pc.unique(images["label"]).to_pylist():
        paths = images.filter(pc.equal(images["label"], label))["path"].to_pylist()
        chosen = np.unique(np.linspace(0, len(paths) - 1, num_images).astype(int))
        for name in detectors:
            config = CropConfig(min_score=CropConfig.min_score if min_score is None else min_score)
            rows.append({"data": data, "label": label, "detector": name.rpartition(".")[2],
                         **_measure(name, [paths[n] for n in chosen], config)})  # fmt: skip
    return rows


def _turned(image: Pixels) -> Pixels:
    """Return an image turned by `TURN` degrees against the clock, grey where nothing is."""
    upright = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    turned = upright.rotate(TURN, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
    return np.ascontiguousarray(np.asarray(turned).transpose(2, 0, 1))


def _roll(face: Face) -> float:
    """Return by how many degrees the line between the eyes falls to the right."""
    (left, above), (right, below), *_ = face.landmarks
    return float(np.degrees(np.arctan2(below - above, right - left)))


def _measure(name: str, paths: Sequence[str], config: CropConfig) -> dict[str, Any]:
    detector = load_detector(name)
    found, framing, errors = [], [], []
    seconds = 0.0
    for path in paths:
        try:
            image = read_image(path)
        except UnreadableImageError:
            continue
        began = time.process_time()
        faces: list[Face] = [one for one in detector([image])[0] if config.takes(one)]
        seconds += time.process_time() - began
        found.append(len(faces))
        if faces:
            size = max(one.size for one in faces)
            framing.append((min(image.shape[1:]) / size - 1) / 2)
            turned = [one for one in detector([_turned(image)])[0] if config.takes(one)]
            if len(faces) == len(turned) == 1:
                errors.append(abs(_roll(faces[0]) - _roll(turned[0]) - TURN))
    numbers = np.array(found)
    return {
        "images": len(found),
        "with a face, %": 100 * float((numbers > 0).mean()),
        "several, %": 100 * float((numbers > 1).mean()),
        "framing": float(np.median(framing)) if framing else None,
        f"roll, degrees wrong at {TURN}": float(np.median(errors)) if errors else None,
        "ms of a core": 1000 * seconds / len(found),
    }
