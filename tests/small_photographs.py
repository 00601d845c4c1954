"""A photograph of one face, and one of two, as tensors."""

import numpy as np
import pytest
import torch

data = pytest.importorskip("skimage.data")


def tensor(pixels):
    """Return pixels (H, W) or (H, W, 3) as (3, H, W) uint8."""
    colours = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    return torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1)))


def one_face():
    """Return the photograph of an astronaut."""
    return tensor(data.astronaut())


def two_faces():
    """Return the photograph twice, side by side."""
    return tensor(np.hstack([data.astronaut(), data.astronaut()]))
