"""Networks: backbones, heads, the builder that joins them, and their initial weights."""

from faceproof.models.build import ModelConfig, build_network
from faceproof.models.detector import Detector, ImageInput, InputConfig, parameter_blocks
from faceproof.models.weights import load_initial_weights

__all__ = [
    "Detector",
    "ImageInput",
    "InputConfig",
    "ModelConfig",
    "build_network",
    "load_initial_weights",
    "parameter_blocks",
]
