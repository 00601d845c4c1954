"""Face detectors for tests: one whose process dies, and one without landmarks."""

import os

from faceproof.prepare.boxes import Box
from faceproof.prepare.face import Face


class Dying:
    """It cannot be caught."""

    name, version = "dying", "1"

    def __call__(self, images):
        os._exit(9)


class Middle:
    """It takes the middle of each image for a face, without landmarks."""

    name, version = "middle", "1"

    def __call__(self, images):
        return [[Face(Box(32, 32, 96, 96), 1.0)] for _ in images]
