"""Reads what a client has sent as an image or a video, within the limits of the server."""

from typing import BinaryIO

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from faceproof.data.image_io import UnreadableImageError, decode_image
from faceproof.inference.verdicts import Fit
from faceproof.inference.video import (
    Bounds,
    Clip,
    TooManyPixelsError,
    UnknownVideoError,
    UnreadableVideoError,
    read_clip,
)
from faceproof.server.judging_queue import RefusedError, too_late
from faceproof.server.limits import Limits

HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
NO_HEIF = "HEIC images, as iPhones take them, cannot be read; send it as JPEG"
# Those that Pillow decodes itself. EPS would start Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def read_upload(
    file: BinaryIO, fits: tuple[Fit, ...], limits: Limits, num_frames: int, deadline: float
) -> Tensor | Clip:
    """Read a file as an image, (3, H, W) uint8, or else as a video; its name is not looked at.

    Args:
        file: can be sought in.
        fits: how the networks want their images.
        limits: how large it may be.
        num_frames: of a video.
        deadline: of a video, on the clock of `time.monotonic`.

    Raises:
        RefusedError: it is too large (413), neither (415), damaged (422), or takes too long (504).
    """
    image = read_uploaded_image(file, limits)
    if image is not None:
        return image
    try:
        return read_clip(file, fits, num_frames, Bounds(int(limits.max_pixels), deadline))
    except UnknownVideoError as error:
        reason = f"the file is no image that can be read, and as a video: {error}"
        raise RefusedError(415, reason) from error
    except UnreadableVideoError as error:
        raise RefusedError(422, f"the video cannot be read: {error}") from error
    except TooManyPixelsError as error:
        raise RefusedError(413, str(error)) from error
    except TimeoutError as error:
        raise too_late(limits) from error


def read_uploaded_image(file: BinaryIO, limits: Limits) -> Tensor | None:
    """Read a file as an image, (3, H, W) uint8; None if it is none.

    Raises:
        RefusedError: it is too large (413), of a kind that is not read (415), or damaged (422).
    """
    size = _image_size(file)
    file.seek(0)
    if size is None:
        start = file.read(12)
        # ffmpeg would judge a tile of it as a video.
        if start[4:8] == b"ftyp" and start[8:] in HEIF:
            raise RefusedError(415, NO_HEIF)
        return None
    if size[0] * size[1] > limits.max_pixels:
        found, most = f"{size[0]} x {size[1]} pixels", f"{limits.max_pixels:,.0f}"
        raise RefusedError(413, f"the image has {found}; at most {most} are taken")
    try:
        return torch.from_numpy(decode_image(file.read()))
    except UnreadableImageError as error:
        raise RefusedError(422, f"the image cannot be read: {error}") from error


def _image_size(file: BinaryIO) -> tuple[int, int] | None:
    """Return width and height by the header of an image, undecoded; None if it is none."""
    file.seek(0)
    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.size
    except UnidentifiedImageError:
        return None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RefusedError(413, "the image has far too many pixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise RefusedError(422, f"the image cannot be read: {error}") from error
