"""Turn decoded images into the tensors that networks take: resize, and scale to [0, 1].

Training, evaluation and everything that serves go through these functions, so that a network sees
the same numbers everywhere.
"""

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from faceproof.data.image_io import Pixels


def fit_image(image: Pixels | Tensor, size: int, interpolation: str) -> Tensor:
    """Resize (3, H, W) uint8 to (3, size, size), whatever its aspect, with antialiasing.

    An image of that size is returned as it is. Tensors may have a batch dimension in front.
    """
    tensor = image if isinstance(image, Tensor) else torch.from_numpy(image)
    if tensor.shape[-2:] == (size, size):
        return tensor
    mode = InterpolationMode(interpolation)
    fitted: Tensor = F.resize(tensor, [size, size], mode, antialias=True)
    return fitted


def to_unit(images: Tensor) -> Tensor:
    """Convert (B, 3, H, W) uint8 to float32 in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)
