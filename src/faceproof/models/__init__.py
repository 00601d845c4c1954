"""Networks: backbones, heads, and their initial weights."""

from faceproof.models.detector import Detector, ImageInput, make_detector, parameter_blocks
from faceproof.models.weights import load_initial_weights

__all__ = [
    "Detector",
    "ImageInput",
    "load_initial_weights",
    "make_detector",
    "parameter_blocks",
]
