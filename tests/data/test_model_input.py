"""The resize to a model's input against Pillow's, and the scale of what networks take."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from faceproof.data.model_input import fit_image, to_unit


def pixels(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(40, 48), (97, 31), (5, 6), (1, 1), (300, 200)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_fitting_is_pillows_resize(shape: tuple[int, int], interpolation: str) -> None:
    image = Image.fromarray(pixels(*shape))
    fitted = fit_image(F.pil_to_tensor(image), 32, interpolation)
    expected = image.resize((32, 32), Image.Resampling[interpolation.upper()])
    difference = fitted.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
    assert fitted.shape == (3, 32, 32)
    assert fitted.dtype == torch.uint8
    # torchvision rounds to bytes between its two passes, which bicubic overshoot shows
    assert abs(difference).max() <= (1 if interpolation == "bilinear" else 8)
    assert abs(difference).mean() < 0.5
    reference = F.resize(F.pil_to_tensor(image), [32, 32], InterpolationMode(interpolation))
    assert torch.equal(fitted, reference)


def test_an_image_that_fits_is_not_touched() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    assert torch.equal(fit_image(image, 32, "bicubic"), image)


def test_arrays_and_tensors_are_fitted_alike() -> None:
    image = pixels(40, 48).transpose(2, 0, 1)
    tensor = torch.from_numpy(image)
    fitted = fit_image(image, 32, "bilinear")
    assert torch.equal(fit_image(tensor, 32, "bilinear"), fitted)
    assert torch.equal(fit_image(tensor[None], 32, "bilinear")[0], fitted)


def test_to_unit_spans_zero_to_one() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 3, 4, 3)
    unit = to_unit(image)
    assert unit.dtype == torch.float32
    assert torch.equal(unit[1, 2, 3], torch.tensor([0, 0.2, 1]))
    assert unit.is_contiguous(memory_format=torch.channels_last)
