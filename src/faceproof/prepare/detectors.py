"""The face detectors by their names; one of the user's own is named by its class."""

from functools import lru_cache

from faceproof.errors import FaceproofError
from faceproof.lookup import find
from faceproof.prepare.face import FaceDetector
from faceproof.prepare.retinaface import RetinaFace

DETECTORS = {"retinaface": RetinaFace}


@lru_cache(maxsize=4)
def load_detector(name: str) -> FaceDetector:
    """Return a face detector; each process loads it once.

    Raises:
        FaceproofError: it is not known, not allowed, not installed, or is no face detector.
    """
    detector = find(name, DETECTORS, "detector")()
    for attribute in ("name", "version", "__call__"):
        if not hasattr(detector, attribute):
            raise FaceproofError(
                f"detector = {name!r} is no face detector: it has no {attribute}; see "
                "faceproof.prepare.face.FaceDetector"
            )
    made: FaceDetector = detector
    return made


def describe_detector(name: str) -> str:
    """Return a face detector with its version, in words."""
    detector = load_detector(name)
    return f"{detector.name} {detector.version}"
