"""faceproof: train, compare, judge and serve detectors for face pictures."""

__version__ = "0.1.0"
