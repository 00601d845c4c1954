"""Read and decode image files of every format to 8-bit RGB arrays, for all of faceproof.

No PyTorch here: tables, audits and reports decode images too. `data.model_input` takes an array on
to a model's input.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from faceproof.data.image_limits import MAX_BYTES, MAX_PARTS, check_scans, check_size, open_image
from faceproof.data.kinds import why_unknown
from faceproof.data.quiet_decoders import quieten_decoders
from faceproof.data.shards.paths import find_member
from faceproof.data.shards.reading import read_member
from faceproof.data.shards.store import ShardError
from faceproof.errors import FaceproofError

quieten_decoders()

Pixels = npt.NDArray[np.uint8]

JPEG = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
# ITU-T T.81, table B.1: markers that begin a frame, and segments that may precede one.
FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
SEGMENT_MARKERS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
METADATA_MARKER = 0xE1  # EXIF or XMP, either of which may turn the image
SCAN_MARKER = 0xDA
PROGRESSIVE = 0xC2  # of the frame markers
ORIENTATION = 0x0112  # the EXIF tag
# Colours under transparent pixels are arbitrary; viewers show white.
BACKGROUND = 255
STRIP_PIXELS = 500_000  # converted at a time
NOT_THERE = "the file is not there"
# A pipe without a writer must not block; Windows must not translate line ends.
OPEN_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# What the decoders raise for damaged files; any other exception is a defect of ours.
UNREADABLE = (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError)
# What Pillow raises for damaged metadata, beside these.
DAMAGED_METADATA = (*UNREADABLE, LookupError, TypeError, ArithmeticError, struct.error)


class UnreadableImageError(FaceproofError):
    """A file cannot be decoded as an image; the message is the reason alone."""


def read_image(path: str | Path) -> Pixels:
    """Decode an image file to RGB, (3, H, W) uint8, upright by its EXIF orientation.

    Grey, palette, CMYK and 16-bit images are converted, transparency is laid on white, and an
    animation gives its first frame.

    Raises:
        UnreadableImageError: the file is missing, empty, truncated, or not an image.
    """
    return decode_image(read_file(path))


def read_file(path: str | Path) -> bytes:
    """Return the bytes of an image file, or of an image inside a shard.

    Raises:
        UnreadableImageError: the file is missing, empty, too large or cannot be opened, or its
            shard is missing or damaged.
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
    """Return the bytes of a file in few system calls: each lets go of Python's lock, and waits."""
    if "\0" in str(path):  # each version of Python words this error in another way
        raise UnreadableImageError("its path holds a null byte")
    file = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        size = os.fstat(file).st_size
        if size > MAX_BYTES:  # a sparse file fits any disk, but not the memory
            raise UnreadableImageError(f"it has {size:,} bytes; at most {MAX_BYTES:,} are read")
        data = os.read(file, size)
        while len(data) < size and (more := os.read(file, size - len(data))):  # network disks
            data += more
        return data
    finally:
        os.close(file)


def decode_image(data: bytes) -> Pixels:
    """Decode the bytes of an image file to RGB, (3, H, W) uint8; see `read_image`.

    The rows of memory are pixels, as the decoders write them: the array is a view of (H, W, 3).

    Raises:
        UnreadableImageError: the bytes are truncated, or not an image.
    """
    try:
        header = _read_jpeg_header(data)
        rgb = _decode_by_pillow(data) if header is None else _decode_jpeg(data, header)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(why_unknown(data)) from error
    except UNREADABLE as error:
        raise UnreadableImageError(reason_of(error)) from error
    return rgb.transpose(2, 0, 1)


@dataclass(frozen=True)
class _JpegHeader:
    """What decoding needs to know of a JPEG file."""

    num_channels: int
    may_be_turned: bool  # whether there is metadata that may say so
    end: int  # the place in the file from which on there are pixels


def _read_jpeg_header(data: bytes) -> _JpegHeader | None:
    """Return the header of a JPEG file that declares an acceptable size; None for other formats.

    Pillow, which reads the headers of every other format and odd ones of JPEG, needs up to a
    quarter of the time of the whole decoding for it, and holds Python's lock meanwhile.
    """
    if not data.startswith(JPEG):
        return None
    place, width, height, num_channels, may_be_turned = 2, 0, 0, 0, False
    one_scan = False
    for _ in range(MAX_PARTS):
        if place + 10 > len(data) or data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == SCAN_MARKER and num_channels:
            if not one_scan or data[place + 4] != num_channels:
                check_scans(data, place, width, height)
            return _JpegHeader(num_channels, may_be_turned, place)
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in FRAME_MARKERS and not num_channels:
            height, width, num_channels = struct.unpack_from(">HHB", data, place + 5)
            if not height * width:
                break
            check_size(width, height)
            one_scan = marker != PROGRESSIVE  # if that scan is of all channels
        elif marker not in SEGMENT_MARKERS or length < 2:
            break
        may_be_turned |= marker == METADATA_MARKER
        place += 2 + length
    with open_image(data) as image:
        return _JpegHeader(len(image.getbands()), True, place)


def _decode_jpeg(data: bytes, header: _JpegHeader) -> Pixels:
    """Decode a JPEG file to (H, W, 3) uint8 by libjpeg-turbo's exact methods."""
    if data.find(JPEG_END, header.end) < 0:
        raise UnreadableImageError("the image is incomplete or truncated")
    channels = "CMYK" if header.num_channels == 4 else "RGB"
    try:
        pixels = simplejpeg.decode_jpeg(data, channels, fastdct=False, fastupsample=False)
    except ValueError as error:
        pixels = _decode_damaged_jpeg(data, channels, error)
    if channels == "CMYK":
        pixels = _cmyk_to_rgb(pixels)
    return _upright(pixels, _jpeg_orientation(data)) if header.may_be_turned else pixels


def _jpeg_orientation(data: bytes) -> int:
    try:
        with open_image(data) as image:
            return _orientation(image)
    except UNREADABLE:  # Pillow may refuse the header of a file that decodes
        return 1


def _decode_damaged_jpeg(data: bytes, channels: str, error: ValueError) -> Pixels:
    """Decode a JPEG file about which simplejpeg complains, by Pillow, to (H, W, channels).

    Pillow accepts wrong data inside a whole image, as viewers do. simplejpeg can be told to do so
    too, but then returns images of which the second half was never written. If Pillow refuses it
    too, simplejpeg's `error` is raised.
    """
    try:
        with open_image(data) as image:
            pixels: Pixels = np.array(image.convert(channels))
    except UNREADABLE:
        raise error from None
    return 255 - pixels if channels == "CMYK" else pixels  # Pillow turns Adobe's around


def _cmyk_to_rgb(cmyk: Pixels) -> Pixels:
    """Convert (H, W, 4), stored inverted as Adobe does, to (H, W, 3) by multiplying with black."""
    rgb = np.empty((*cmyk.shape[:2], 3), np.uint8)
    for rows in _strips(*cmyk.shape[:2]):
        product = cmyk[rows, :, :3].astype(np.uint32) * cmyk[rows, :, 3:] + 128
        rgb[rows] = (product + (product >> 8)) >> 8  # product / 255, rounded
    return rgb


def _orientation(image: Image.Image) -> int:
    """Return the orientation by EXIF, or else by XMP, as Pillow finds it; 1 if it finds none.

    Read by Pillow for every format, so that they agree: metadata may be in several segments, in any
    order, and the tag of several types. Damaged metadata turns nothing.
    """
    try:
        found = image.getexif().get(ORIENTATION, 1)
        return int(found) if found in range(1, 9) else 1
    except DAMAGED_METADATA:
        return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror (H, W, 3) as an EXIF orientation says; unknown ones change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decode_by_pillow(data: bytes) -> Pixels:
    """Decode a file of any format but JPEG to (H, W, 3) uint8."""
    with open_image(data) as image:
        return _convert(image)


def from_pillow(image: Image.Image) -> Pixels:
    """Return the pixels of a Pillow image, (3, H, W) uint8, as `read_image` does of its file.

    Raises:
        UnreadableImageError: it was opened from a file that is damaged, or its pixels have no known
            range.
    """
    try:
        return _convert(image).transpose(2, 0, 1)
    except UnreadableImageError:
        raise
    except UNREADABLE as error:
        raise UnreadableImageError(reason_of(error)) from error


def _convert(image: Image.Image) -> Pixels:
    """Convert a Pillow image of any mode to (H, W, 3) uint8, upright."""
    image.load()  # where some formats read their orientation, and TIFF applies it
    return _upright(_in_strips(image), _orientation(image))


def _in_strips(image: Image.Image) -> Pixels:
    """Convert a Pillow image to (H, W, 3) uint8.

    What stands between the two would take several times the memory of both.
    """
    if image.width * image.height <= STRIP_PIXELS:
        return _to_rgb(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows in _strips(image.height, image.width):
        pixels[rows] = _to_rgb(image.crop((0, rows.start, image.width, rows.stop)))
    return pixels


def _strips(height: int, width: int) -> Iterator[slice]:
    """Yield slices of rows that cover an image, of about `STRIP_PIXELS` each."""
    step = max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode == "F":
        raise UnreadableImageError("its pixels are floating-point numbers of no known range")
    if image.mode.startswith("I"):
        return _grey16_to_rgb8(image)
    if image.mode == "LAB":
        raise UnreadableImageError("its colours are CIELAB; save it as RGB")
    if image.mode == "CMYK":
        return _cmyk_to_rgb(255 - np.array(image))
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image
        return _on_background(np.array(straight.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _grey16_to_rgb8(image: Image.Image) -> Pixels:
    """Convert 16-bit grey to (H, W, 3) uint8; 65535 becomes 255."""
    grey = np.array(image.convert("I"))
    if grey.min() < 0 or grey.max() > 65535:
        raise UnreadableImageError("its pixels have more than 16 bits, of no known range")
    narrow = ((grey + 128) // 257).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        narrow[grey == clear] = BACKGROUND
    return np.repeat(narrow[..., None], 3, axis=2)


def _on_background(rgba: Pixels) -> Pixels:
    """Lay (H, W, 4) uint8 with alpha on the background; (H, W, 3) uint8."""
    alpha = rgba[..., 3:].astype(np.int32)
    over = rgba[..., :3].astype(np.int32) * alpha + BACKGROUND * (255 - alpha)
    return ((over + 127) // 255).astype(np.uint8)


def reason_of(error: Exception) -> str:
    """Say in one line why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return NOT_THERE
    if isinstance(error, UnidentifiedImageError):
        return "no image format that can be read"
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def thumbnail(pixels: Pixels, side: int) -> Image.Image:
    """Return an image, (3, H, W) uint8 RGB, whose longer side is at most `side` pixels."""
    small = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    small.thumbnail((side, side))
    return small
