"""Networks: trunks, heads, and their initial weights."""

from faceproof.models.detector import Detector, PictureInput, make_detector, parameter_blocks
from faceproof.models.weights import load_initial_weights

__all__ = [
    "Detector",
    "PictureInput",
    "load_initial_weights",
    "make_detector",
    "parameter_blocks",
]
