"""Explain images: what the detector says of each, with maps of what in the image speaks for it."""

import pyarrow as pa
import torch

from faceproof.evaluation.predictions import is_positive
from faceproof.explain.attribution import Maps, attribute, toward_called
from faceproof.explain.config import MapConfig
from faceproof.explain.explanation_results import Explained
from faceproof.explain.faithfulness import Images
from faceproof.explain.loaded_detector import Subject, read_images


def explain_rows(
    subject: Subject, rows: pa.Table, config: MapConfig, section: str = "images"
) -> list[Explained]:
    """Explain the images of a table.

    Args:
        subject: the detector.
        rows: a table with `path`, and `label` and `generator` if they are known.
        config: how to compute the maps.
        section: the part of the page they belong to.

    Raises:
        FaceproofError: an image cannot be read.
    """
    paths = rows["path"].to_pylist()
    images = read_images(paths, subject.net.input)
    logits = subject.logits(images)
    probabilities = subject.point.calibration.apply(logits)
    called = is_positive(probabilities, subject.point.threshold)
    maps = {method: maps_of(subject, images, method, config) for method in config.methods}
    toward = called
    if config.toward == "called":
        maps = {method: toward_called(found, called) for method, found in maps.items()}
    else:
        toward = called | True
    known = {
        name: rows[name].to_pylist() if name in rows.column_names else [None] * len(paths)
        for name in ("label", "generator")
    }
    return [
        Explained(
            path=path,
            image=images[row],
            logit=float(logits[row]),
            probability=float(probabilities[row]),
            called=subject.task.classes[int(called[row])],
            toward=subject.task.classes[int(toward[row])],
            maps={method: found[row] for method, found in maps.items()},
            label=known["label"][row],
            generator=known["generator"][row],
            section=section,
        )
        for row, path in enumerate(paths)
    ]


def maps_of(subject: Subject, images: Images, method: str, config: MapConfig) -> Maps:
    """Return the maps (B, S, S) of images (B, 3, S, S), toward the positive class."""
    batch = torch.from_numpy(images)
    return attribute(subject.net, batch, method, config.layer, config.removal, config.effort.grain)
