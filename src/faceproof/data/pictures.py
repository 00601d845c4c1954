"""From a file to a tensor: decoding, conversion to 8-bit RGB, and the resize to a model's input."""

import io
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from faceproof.errors import FaceproofError

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# What lies under transparent pixels is arbitrary; white is what viewers put there.
BACKGROUND = 255
# The failures that decoders report for files that are not what they seem; anything else is a defect.
UNREADABLE = (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError)


class UnreadablePictureError(FaceproofError):
    """A file that cannot be decoded as a picture; the message is the reason alone."""


def read_picture(path: str | Path) -> Tensor:
    """Decode a picture file to RGB, (3, H, W) uint8, upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit pictures are converted; transparency is laid on white; of an
    animation the first frame is taken.

    Raises:
        UnreadablePictureError: the file is missing, empty, truncated, or no picture.
    """
    try:
        data = Path(path).read_bytes()
        if not data:
            raise UnreadablePictureError("the file is empty")
        return decode_picture(data)
    except UnreadablePictureError:
        raise
    except UNREADABLE as error:
        raise UnreadablePictureError(_reason(error)) from error


def decode_picture(data: bytes) -> Tensor:
    """Decode the bytes of a picture file to RGB, (3, H, W) uint8; see `read_picture`."""
    if data.startswith(JPEG):
        return decode_image(_buffer(data), ImageReadMode.RGB, apply_exif_orientation=True)
    if data.startswith(PNG):
        return _to_rgb8(
            decode_image(_buffer(data), ImageReadMode.UNCHANGED, apply_exif_orientation=True)
        )
    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
        deep = upright.mode.startswith("I") or upright.mode == "F"
        if deep:
            return _to_rgb8(F.pil_to_tensor(upright).to(torch.uint16))
        return _to_rgb8(F.pil_to_tensor(upright.convert("RGBA")))


def _buffer(data: bytes) -> Tensor:
    """View the bytes as a tensor; the copy keeps torch from warning of read-only memory."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _to_rgb8(picture: Tensor) -> Tensor:
    """Convert (1 to 4, H, W) of 8 or 16 bits, the even counts with alpha, to (3, H, W) uint8."""
    if picture.dtype == torch.uint16:
        picture = ((picture.to(torch.int32) + 128) // 257).to(torch.uint8)
    num_channels = picture.shape[0]
    if num_channels in (2, 4):
        alpha = picture[-1:].to(torch.int32)
        over = picture[:-1].to(torch.int32) * alpha + BACKGROUND * (255 - alpha)
        picture = ((over + 127) // 255).to(torch.uint8)
    return picture.expand(3, -1, -1).contiguous()


def _reason(error: Exception) -> str:
    """Say in one line why a file could not be read; torchvision puts its source path in front."""
    if isinstance(error, FileNotFoundError):
        return "the file is not there"
    if isinstance(error, Image.UnidentifiedImageError):
        return "no picture format that can be read"
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return first.rsplit(".cpp:", 1)[-1].partition(", ")[2] or first if ".cpp:" in first else first


def fit_picture(picture: Tensor, size: int, interpolation: str) -> Tensor:
    """Resize (3, H, W) uint8 to (3, size, size), whatever its aspect, with antialiasing.

    Training, evaluation and everything that serves go through this one function.
    """
    if picture.shape[-2:] == (size, size):
        return picture
    return F.resize(picture, [size, size], InterpolationMode(interpolation), antialias=True)
