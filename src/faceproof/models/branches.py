"""Input branches: fixed filters that show a backbone what the content of an image hides.

Each turns images into as many channels of residuals or frequencies, so that every backbone takes
them, with its trained weights. None has parameters, so that nothing of them is in a file of
weights: their names and numbers stand in the settings.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceproof.models.detector import ImageInput
from faceproof.settings import AMOUNT, COUNT, SettingError, optional

NO_BRANCH = "none"
MODES = ("replace", "beside")
LEVELS = 255  # the largest value of a pixel
MIDDLE = 128  # which JPEG subtracts before its transform

# Second order, the square 5x5 and the line of the rich model, over their quantisation steps.
SRM = (
    (4, ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0))),
    (12, ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2),
          (-1, 2, -2, 2, -1))),
    (2, ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))),
)  # fmt: skip


class InputBranch(nn.Module):
    """A filter of images, and, where it stands beside the image, the backbone for its output.

    Args:
        filter: (B, 3, S, S) in [0, 1] -> (B, 3, S, S) of about unit size.
        backbone: for the filtered images, beside the one for the images themselves; None where the
            filtered images take their place.
        settings: what it was built from.
    """

    def __init__(
        self, filter: nn.Module, backbone: nn.Module | None, settings: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.filter, self.backbone = filter, backbone
        self.description = json.dumps(dict(settings), sort_keys=True, default=str)

    def forward(self, images: Tensor) -> Tensor:
        """Return the filtered images, (B, 3, S, S) float32, of (B, 3, S, S) in [0, 1].

        In full precision: in half of it the residuals are lost in the rounding of the image.
        """
        kind = images.device.type
        if not torch.is_autocast_enabled(kind):
            return self.filter(images)  # type: ignore[no-any-return]
        with torch.autocast(kind, enabled=False):
            return self.filter(images.float())  # type: ignore[no-any-return]

    @property
    def keeps_places(self) -> bool:
        """Whether a place of the filtered image is the same place of the image."""
        return bool(getattr(self.filter, "keeps_places", True))

    def extra_repr(self) -> str:
        """Return the settings, by which two filters without weights are told apart."""
        return self.description


class HighPass(nn.Module):
    """Three high-pass filters of the spatial rich model (SRM), each over all three colours.

    Fridrich and Kodovsky, "Rich Models for Steganalysis of Digital Images" (2012); these three as
    in Zhou et al., "Learning Rich Features for Image Manipulation Detection" (CVPR 2018). The
    residuals are those of pixels from 0 to 255.

    Args:
        input: of the network.
        truncate: residuals beyond it, on both sides, are set to it; the rich model's own bound is
            2. None for no bound.
    """

    kernels: Tensor
    steps: Tensor

    def __init__(self, input: ImageInput, truncate: float | None = 2.0) -> None:
        super().__init__()
        _check("truncate", truncate, optional(AMOUNT))
        self.truncate = truncate
        kernels = torch.tensor([kernel for _, kernel in SRM], dtype=torch.float32)
        steps = torch.tensor([step for step, _ in SRM], dtype=torch.float32)
        expanded = kernels[:, None].expand(3, 3, 5, 5).contiguous()
        self.register_buffer("kernels", expanded, persistent=False)
        self.register_buffer("steps", steps.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return residuals, (B, 3, S, S), one channel for each filter, of (B, 3, S, S) in [0, 1].

        At the border the image's last pixels are repeated, where zeros would look like an edge.
        """
        padded = F.pad(images * LEVELS, (2, 2, 2, 2), mode="replicate")
        residuals = F.conv2d(padded, self.kernels) / self.steps
        if self.truncate is None:
            return residuals
        return residuals.clamp(-self.truncate, self.truncate)


class NeighbouringPixels(nn.Module):
    """What differs among the four pixels of each 2x2 square: neighbouring pixel relationships.

    Tan et al., "Rethinking the Up-Sampling Operations in CNN-based Generative Network for
    Generalizable Deepfake Detection" (CVPR 2024): the normalised image less itself at half its
    size, nearest pixels repeated, times 2/3.

    Args:
        input: of the network, whose normalisation it takes.
    """

    FACTOR = 2 / 3  # of the authors' code
    gain: Tensor

    def __init__(self, input: ImageInput) -> None:
        super().__init__()
        gain = self.FACTOR / torch.tensor(input.std, dtype=torch.float32)
        self.register_buffer("gain", gain.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 3, S, S) of (B, 3, S, S) in [0, 1]; of each square's first pixel it is 0."""
        height, width = images.shape[-2:]
        doubled = F.interpolate(images[..., ::2, ::2], scale_factor=2.0, mode="nearest")
        return (images - doubled[..., :height, :width]) * self.gain


class CosineSpectrum(nn.Module):
    """The logarithm of the discrete cosine transform (DCT-II) of each colour, by matrix products.

    Frank et al., "Leveraging Frequency Analysis for Deep Fake Image Recognition" (ICML 2020), of
    the whole image or, as JPEG has it, of blocks, each transformed in its place. Pixels are from
    -128 to 127, the transform is orthonormal, and each value is log(1 + |coefficient|). The authors
    scale every coefficient by its mean and deviation over the training set; here nothing is fitted.

    Args:
        input: of the network; blocks divide its size.
        block: the side of a block in pixels; None for the whole image.

    Raises:
        SettingError: the blocks do not divide the size.
    """

    basis: Tensor

    def __init__(self, input: ImageInput, block: int | None = None) -> None:
        super().__init__()
        _check("block", block, optional(COUNT))
        side = block or input.size
        if input.size % side:
            raise SettingError(
                "block", f"= {block} must divide the input's size, which is {input.size}"
            )
        self.keeps_places = block is not None
        basis = torch.kron(torch.eye(input.size // side), cosine_basis(side))
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 3, S, S), low frequencies first in both directions, of (B, 3, S, S)."""
        pixels = images * LEVELS - MIDDLE
        return (self.basis @ pixels @ self.basis.T).abs().log1p()


def cosine_basis(side: int) -> Tensor:
    """Return the orthonormal DCT-II as a matrix (side, side) that is multiplied from the left."""
    places = (torch.arange(side, dtype=torch.float64) + 0.5) * math.pi / side
    waves = torch.arange(side, dtype=torch.float64)[:, None] * places
    basis = waves.cos() * math.sqrt(2 / side)
    basis[0] /= math.sqrt(2)
    return basis.float()


def _check(name: str, value: Any, rule: Any) -> None:
    if not rule.fits(value):
        raise SettingError(name, f"= {value!r} must be {rule.meaning}")


BRANCHES: Mapping[str, Callable[..., nn.Module]] = {
    "srm": HighPass,
    "npr": NeighbouringPixels,
    "dct": CosineSpectrum,
}
