"""A tiny latent autoencoder, through which images are reconstructed as a generator's decoder would.

The network is that of TAESD (github.com/madebyollin/taesd), which diffusers has as AutoencoderTiny:
an encoder that makes an image eight times smaller, and a decoder that enlarges it again. Weights
are the user's own, and a file of them is data alone: names, shapes and numbers.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError
from faceproof.io.plain_files import read_with

MAX_BYTES = 2**28  # of a file; TAESD has 2**23
LATENTS = (4, 16)  # channels between the two halves
MAX_WIDTH = 256  # channels inside; TAESD has 64
REDUCTION = 8
ENCODER_BLOCKS, DECODER_BLOCKS = (1, 3, 3, 3), (3, 3, 3, 1)
CLAMP = 3  # latents are squeezed into -3 to 3
SETTING = "synthesis.autoencoder"


class Block(nn.Module):
    """Three convolutions beside their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Return (B, W, H, W') of the same shape."""
        return F.relu(self.conv(values) + values)


class TinyAutoencoder(nn.Module):
    """Encoder and decoder of one latent space.

    Args:
        latents: channels of the latent.
        width: channels of all layers between.
    """

    def __init__(self, latents: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"layers": _encoder(latents, width)})
        self.decoder = nn.ModuleDict({"layers": _decoder(latents, width)})
        self.digest = ""  # of the file that the weights are from

    def forward(self, images: Tensor) -> Tensor:
        """Return the reconstructed images, (B, 3, H, W), of (B, 3, H, W) in [0, 1].

        The sides are multiples of 8. Values may lie a little outside of [0, 1].
        """
        latents: Tensor = self.encoder["layers"](images)
        squeezed = torch.tanh(latents / CLAMP) * CLAMP
        return self.decoder["layers"](squeezed)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def reconstruct(self, image: Pixels) -> Pixels:
        """Return the reconstructed image, (3, H, W) uint8, of one of any size.

        Sides that are no multiple of 8 are continued by their last pixels, and cut afterwards.
        """
        height, width = image.shape[1:]
        tensor = torch.from_numpy(np.ascontiguousarray(image))[None] / 255
        padded = F.pad(tensor, (0, -width % REDUCTION, 0, -height % REDUCTION), "replicate")
        made = self(padded)[0, :, :height, :width]
        return np.asarray((made.clamp(0, 1) * 255).round().byte().numpy())


def _conv(channels: int, out: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, stride, padding=1, bias=bias)


def _encoder(latents: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in ENCODER_BLOCKS:
        smaller = _conv(width, width, stride=2, bias=False)
        layers += [smaller if layers else _conv(3, width), *(Block(width) for _ in range(number))]
    return nn.Sequential(*layers, _conv(width, latents))


def _decoder(latents: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(latents, width), nn.ReLU()]
    for number in DECODER_BLOCKS[:-1]:
        larger = nn.Upsample(scale_factor=2)
        layers += [*(Block(width) for _ in range(number)), larger, _conv(width, width, bias=False)]
    return nn.Sequential(*layers, *(Block(width) for _ in range(DECODER_BLOCKS[-1])),
                         _conv(width, 3))  # fmt: skip


def read_autoencoder(path: Path) -> TinyAutoencoder:
    """Return the autoencoder of a safetensors file, as TAESD's or diffusers' names have it.

    Raises:
        FaceproofError: the file is not there, is too large, is no safetensors file, or holds other
            weights.
    """
    data = read_with(path, lambda file: file.read(), MAX_BYTES, follow=True)
    try:
        state = _as_diffusers_names(safetensors.torch.load(data))
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise FaceproofError(f"{SETTING} = {path} is no safetensors file: {error}") from error
    net = _empty(path, state)
    expected = net.state_dict()
    if odd := sorted(expected.keys() ^ state.keys()):
        raise _other(path, f"{odd[0]} is {'missing' if odd[0] in expected else 'none of its own'}")
    for name, own in expected.items():
        found = state[name]
        if found.shape != own.shape or not found.is_floating_point():
            what = f"{name} is {tuple(found.shape)} {found.dtype}"
            raise _other(path, f"{what}, where {tuple(own.shape)} of floats is expected")
        if not found.isfinite().all():
            raise _other(path, f"{name} holds values that are no numbers")
    net.load_state_dict({name: value.float() for name, value in state.items()})
    net.digest = hashlib.sha256(data).hexdigest()
    return net.eval().requires_grad_(False)


def _empty(path: Path, state: Mapping[str, Tensor]) -> TinyAutoencoder:
    """Return a network of the sizes that the first layers of a file have."""
    names = ("encoder.layers.0.weight", "decoder.layers.0.weight")
    shapes = [tuple(state[name].shape) if name in state else () for name in names]
    for name, shape in zip(names, shapes, strict=True):
        if len(shape) != 4:
            raise _other(path, f"{name} is no convolution's" if shape else f"{name} is missing")
    width, latents = shapes[0][0], shapes[1][1]
    if latents not in LATENTS or not 0 < width <= MAX_WIDTH:
        raise _other(
            path,
            f"it has {latents} channels in the latent and {width} inside, where "
            f"{' or '.join(map(str, LATENTS))}, and at most {MAX_WIDTH}, are expected",
        )
    return TinyAutoencoder(latents, width)


def _as_diffusers_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by diffusers' names; TAESD's decoder counts its clamp as the first layer."""

    def rename(name: str) -> str:
        if found := re.fullmatch(r"(encoder|decoder)\.(\d{1,4})\.(.+)", name):
            half, number, rest = found.groups()
            return f"{half}.layers.{int(number) - (half == 'decoder')}.{rest}"
        return name

    return {rename(name): value for name, value in state.items()}


def _other(path: Path, why: str) -> FaceproofError:
    return FaceproofError(
        f"{SETTING} = {path} holds no weights of a tiny autoencoder as TAESD and diffusers' "
        f"AutoencoderTiny have them: {why}; name the file of encoder and decoder together"
    )
