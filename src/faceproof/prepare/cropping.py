"""Cuts faces out of images, by the same code and settings before training and in use.

The settings travel with what was made by them: the prepared folder, the run that was trained on it,
and the artifact that serves it. So a detector sees the framing that it has learned.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from faceproof import settings
from faceproof.data.image_io import Pixels, decode_image
from faceproof.data.image_statistics import resized, sharpness
from faceproof.data.model_input import fit_image
from faceproof.io.parse import parse
from faceproof.prepare.alignment import aligned, template_side
from faceproof.prepare.boxes import crop
from faceproof.prepare.face import NUM_LANDMARKS, Face
from faceproof.settings import (
    AMOUNT,
    SHARE,
    SWITCH,
    TEXT,
    SettingError,
    count_up_to,
    optional,
)

DETECTOR = "retinaface"
MARGIN = 0.17  # of a face's side, added on each side of it: that of known sets of portraits
MAX_MARGIN = 2
MAX_SIDE = 4096  # pixels
MIN_FIT, MAX_FIT = 0.4, 2.5  # the square by the landmarks of a face, as a share of its box's side
BLUR_SIDE = 112  # pixels, to which a face is resized before its sharpness is measured
INTERPOLATION = "bicubic"  # of the resize to `size`
PNG_LEVEL = 3  # of 9; more takes far longer and saves a few percent


@dataclass(frozen=True)
class CropConfig:
    """How faces are found and cut out.

    Attributes:
        detector: the face detector: one of `detectors.DETECTORS`, or a class of one's own.
        margin: added on each side of a face, as a share of its side.
        align: turn faces upright by their landmarks, and frame them by a template.
        size: side of the crops in pixels; None for the size that they have in the image.
        quality: of JPEG, from 1 to 100; None to lose nothing (PNG).
        min_score: of the detector; what it is less sure of is no face.
        min_size: longer side of a face's box in pixels; smaller ones are left out.
    """

    detector: str = DETECTOR
    margin: float = MARGIN
    align: bool = False
    size: int | None = None
    quality: int | None = None
    min_score: float = 0.8
    min_size: int = 24

    def __post_init__(self) -> None:
        settings.check(
            self, detector=TEXT, margin=AMOUNT, align=SWITCH,
            size=optional(count_up_to(1, MAX_SIDE)), quality=optional(count_up_to(1, 100)),
            min_score=SHARE, min_size=count_up_to(1, MAX_SIDE),
        )  # fmt: skip
        if self.margin > MAX_MARGIN:
            problem = f"= {self.margin} must be at most {MAX_MARGIN} times the face's side"
            raise SettingError("margin", problem)

    @property
    def suffix(self) -> str:
        """The ending of the files of crops."""
        return ".png" if self.quality is None else ".jpg"

    def takes(self, face: Face) -> bool:
        """Say whether a face is good enough to be cut out."""
        if face.score < self.min_score or face.size < self.min_size:
            return False
        return not self.align or not face.has_landmarks or is_alignable(face)


def is_alignable(face: Face) -> bool:
    """Say whether a face has landmarks that fit its box, as those of a mere texture do not."""
    if not face.has_landmarks:
        return False
    return MIN_FIT <= template_side(face.landmarks) / max(face.size, 1) <= MAX_FIT


@dataclass(frozen=True)
class StoredCrop:
    """How the faces of a data set, a run or an artifact were cut out.

    Attributes:
        config: the settings.
        detector: the face detector with its version, in words.
    """

    config: CropConfig
    detector: str


def read_crop(value: Any) -> StoredCrop | None:
    """Return how faces were cut out, from the plain values of `DataSet.crop` or of a run's record.

    Raises:
        FaceproofError: they are something else.
    """
    stored: StoredCrop | None = parse(StoredCrop | None, value, "crop")
    return stored


def cut(image: Pixels, face: Face, config: CropConfig) -> Pixels:
    """Cut a face out of an image, (3, H, W) uint8, as (3, S, S) uint8.

    Raises:
        SettingError: it shall be aligned, and the detector finds no landmarks.
    """
    if config.align and not face.has_landmarks:
        raise SettingError(
            "align", f"= true takes {NUM_LANDMARKS} landmarks, and {config.detector} finds none"
        )
    if config.align:
        pixels = aligned(image, face.landmarks, config.margin)
    else:
        pixels = crop(image, face.box, config.margin)
    if config.size is not None:
        pixels = fit_image(pixels, config.size, INTERPOLATION).numpy()
    return np.ascontiguousarray(pixels)


def encode(pixels: Pixels, config: CropConfig) -> bytes:
    """Return a crop, (3, S, S) uint8, as the bytes of its file."""
    rows = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if config.quality is not None:
        return bytes(simplejpeg.encode_jpeg(rows, config.quality, colorsubsampling="420"))
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()


def cut_as_stored(image: Pixels, face: Face, config: CropConfig) -> Pixels:
    """Cut a face out as `cut` does, and as it is after its file is written and read again."""
    pixels = cut(image, face, config)
    return pixels if config.quality is None else decode_image(encode(pixels, config))


def sharpness_of(image: Pixels, face: Face) -> float:
    """Return the log variance of the Laplacian of a face's box, at a side of 112 pixels.

    What is small in the image, out of focus or blurred by movement has a low one.
    """
    grey = crop(image, face.box, 0.0).astype(np.float32).mean(0)
    return sharpness(resized(grey, BLUR_SIDE))
