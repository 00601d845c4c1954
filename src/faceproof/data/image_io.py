"""From a file to a tensor: decoding, conversion to 8-bit RGB, and the resize to a model's input."""

import io
import math
import os
import struct
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode
from torchvision.io import decode_image as decode_by_torchvision
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from faceproof.data.shards.reading import find_member, read_member
from faceproof.data.shards.store import ShardError
from faceproof.errors import FaceproofError

JPEG = b"\xff\xd8\xff"
# ITU-T T.81, table B.1: what begins a frame that libjpeg decodes, and what may stand before it.
FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
SEGMENT_MARKERS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
# What lies under transparent pixels is arbitrary; white is what viewers put there.
BACKGROUND = 255
MAX_BYTES = 2**29  # of a file: more than any image has that may be decoded
# Of a pipe that nobody writes to; and bytes as they are, where a system knows others.
NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# What decoders raise for files that are not what they seem; anything else is a defect.
UNREADABLE = (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError)


class UnreadableImageError(FaceproofError):
    """A file that cannot be decoded as an image; the message is the reason alone."""


def read_image(path: str | Path) -> Tensor:
    """Decode an image file to RGB, (3, H, W) uint8, upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit images are converted; transparency is laid on white; of an
    animation the first frame is taken.

    Raises:
        UnreadableImageError: the file is missing, empty, truncated, or no image.
    """
    return decode_image(read_file(path))


def read_file(path: str | Path) -> bytes:
    """Read the bytes of an image file, or of one that lies in a shard.

    Raises:
        UnreadableImageError: the file is missing, empty, huge, or cannot be opened, or its shard
            is missing or damaged.
    """
    try:
        if isinstance(path, str) and (member := find_member(path)) is not None:
            return read_member(member)
        data = _read_whole(path)
    except ShardError as error:
        raise UnreadableImageError(str(error)) from error
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error
    if not data:
        raise UnreadableImageError("the file is empty")
    return data


def _read_whole(path: str | Path) -> bytes:
    """Return the bytes of a file, by as few calls as may be.

    Each lets go of Python's lock, for which the threads that read other images then wait.
    """
    if "\0" in str(path):  # which every version of Python refuses in other words
        raise UnreadableImageError("its path holds a null byte")
    file = os.open(path, os.O_RDONLY | NOT_WAITING)
    try:
        size = os.fstat(file).st_size
        if size > MAX_BYTES:  # of a file that is a hole no disk is full, but the memory would be
            raise UnreadableImageError(f"it has {size:,} bytes; at most {MAX_BYTES:,} are read")
        data = os.read(file, size)
        while len(data) < size and (more := os.read(file, size - len(data))):  # as networks may
            data += more
        return data
    finally:
        os.close(file)


def decode_image(data: bytes) -> Tensor:
    """Decode the bytes of an image file to RGB, (3, H, W) uint8; see `read_image`.

    Raises:
        UnreadableImageError: they are truncated, or no image.
    """
    try:
        return _decode(data)
    except UnreadableImageError:
        raise
    except UNREADABLE as error:
        raise UnreadableImageError(reason_of(error)) from error


def _decode(data: bytes) -> Tensor:
    """Decode and convert.

    torchvision decodes JPEG, Pillow the rest: torchvision 0.29 takes the indices of a palette PNG
    for grey, ignores colours marked as transparent, and ends the process on a damaged PNG.
    """
    if _is_plain_jpeg(data):
        return _decode_jpeg(data)
    with Image.open(io.BytesIO(data)) as image:  # reads the header, and refuses absurd sizes
        if data.startswith(JPEG):
            return _decode_jpeg(data)
        upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise UnreadableImageError("its pixels are floating-point numbers of no known range")
    if upright.mode.startswith("I"):
        return _grey16_to_rgb8(upright)
    if upright.has_transparency_data:
        return _on_background(F.pil_to_tensor(upright.convert("RGBA")))
    opaque: Tensor = F.pil_to_tensor(upright.convert("RGB"))
    return opaque


def _is_plain_jpeg(data: bytes) -> bool:
    """Say whether bytes are a JPEG whose header is in order and declares no absurd size.

    Pillow, which all else is left to, takes up to a quarter as long for its header as torchvision
    for the whole image, and lets no other thread run meanwhile.
    """
    if not data.startswith(JPEG):
        return False
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return bool(0 < height * width <= (Image.MAX_IMAGE_PIXELS or math.inf))
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker not in SEGMENT_MARKERS or length < 2:
            return False
        place += 2 + length
    return False


def _decode_jpeg(data: bytes) -> Tensor:
    buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy: writable
    rgb: Tensor = decode_by_torchvision(buffer, ImageReadMode.RGB, apply_exif_orientation=True)
    return rgb


def _grey16_to_rgb8(image: Image.Image) -> Tensor:
    """Convert 16-bit grey to (3, H, W) uint8; 65535 becomes 255."""
    grey = F.pil_to_tensor(image.convert("I"))
    if grey.min() < 0 or grey.max() > 65535:
        raise UnreadableImageError("its pixels have more than 16 bits, of no known range")
    rgb: Tensor = ((grey + 128) // 257).to(torch.uint8).expand(3, -1, -1).contiguous()
    return rgb


def _on_background(rgba: Tensor) -> Tensor:
    """Lay (4, H, W) uint8 with alpha on the background; (3, H, W) uint8."""
    alpha = rgba[3:].to(torch.int32)
    over = rgba[:3].to(torch.int32) * alpha + BACKGROUND * (255 - alpha)
    return ((over + 127) // 255).to(torch.uint8)


def reason_of(error: Exception) -> str:
    """Say in one line why a file could not be read; torchvision puts its source path in front."""
    if isinstance(error, FileNotFoundError):
        return "the file is not there"
    if isinstance(error, UnidentifiedImageError):
        return "no image format that can be read"
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return first.rsplit(".cpp:", 1)[-1].partition(", ")[2] or first if ".cpp:" in first else first


def fit_image(image: Tensor, size: int, interpolation: str) -> Tensor:
    """Resize (3, H, W) uint8 to (3, size, size), whatever its aspect, with antialiasing.

    Training, evaluation and everything that serves go through this one function.
    """
    if image.shape[-2:] == (size, size):
        return image
    fitted: Tensor = F.resize(image, [size, size], InterpolationMode(interpolation), antialias=True)
    return fitted
