"""Says which image files are decoded at all, and what one may cost, before it is decoded.

An image may come from a stranger. A file of a few hundred kilobytes can state billions of pixels,
ask for a thousand passes over them, or hold a million empty parts; so what a file will cost is read
off its header and its structure first.
"""

import io
import os
import re
import struct
from dataclasses import dataclass, fields
from functools import cache

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from faceproof.data.kinds import FORMATS, extra_of
from faceproof.errors import FaceproofError

MAX_BYTES = 2**29  # of a file: more than any within Pillow's limit on pixels takes
PREFIX = "FACEPROOF_"  # of the environment variables that hold the limits

JPEG, PNG, GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
PPM = tuple(b"P%d" % number for number in range(1, 7))
TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
# Markers of JPEG, ITU-T T.81, table B.1: those that begin a frame, and those that have no length.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# A scan's header, ITU-T T.81, B.2.3: its length is 6 bytes and two for each of 1 to 4 components.
SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)", re.DOTALL)
NUM_USUAL_SCANS = 20  # of a progressive JPEG of the most pixels; encoders write 6 to 18
# Parts of a file (chunks, segments, blocks, strips) are looked at one by one, in Python.
MAX_PARTS = 10_000
BYTES_PER_PART = 512  # a file may have a part more for each so many bytes
MAX_COMPRESSED = 64  # chunks of compressed metadata in a PNG; each may become a megabyte
COMPRESSED = (b"iCCP", b"zTXt", b"iTXt")
MAX_STRIPS = 50_000  # of a TIFF
STRIPS, TILE_SIZE = (273, 324), (322, 323)  # tags: where strips and tiles lie; how large tiles are
# Not JPEG and WebP, whose bytes are whole files with scans and sizes of their own.
TIFF_COMPRESSIONS = frozenset(
    {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd"}
    | {"tiff_ccitt", "group3", "group4"}
)
MAX_PPM_HEADER, NUM_PPM_NUMBERS = 4096, 3  # bytes; width, height and the largest value
# What Pillow decodes in Python, at about a second per million pixels: run-length BMP, PPM as text,
# and PPM of odd depths.
SLOW = frozenset({"bmp_rle", "ppm_plain", "ppm"})
MAX_SLOW_PIXELS = 1_000_000
# In memory at the same time at most, measured over all formats: a decoder's own buffers (WebP and
# AVIF have the most), Pillow's pixels and ours.
BYTES_PER_PIXEL = 20


class TooCostlyError(FaceproofError):
    """Decoding a file would take more time or memory than the limits allow; it says which."""


@dataclass(frozen=True)
class ImageLimits:
    """What one image may cost; environment variables set it, such as FACEPROOF_MAX_PIXELS.

    Attributes:
        max_pixels: of an image, its width times its height; the default is the number from which on
            Pillow warns.
        max_scans: passes over the pixels that a JPEG file asks for.
    """

    max_pixels: int = 89_478_485
    max_scans: int = 100

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value < 1:
                raise FaceproofError(f"{variable(one.name)} = {value} must be 1 or more")


def variable(name: str) -> str:
    """Return the environment variable that holds a limit."""
    return f"{PREFIX}{name.upper()}"


@cache
def image_limits() -> ImageLimits:
    """Return the limits of this process, as the environment had them when first asked.

    Raises:
        FaceproofError: a variable holds no whole number above 0.
    """
    found = {}
    for one in fields(ImageLimits):
        if text := os.environ.get(variable(one.name)):
            try:
                found[one.name] = int(float(text))
            except (ValueError, OverflowError) as error:
                raise FaceproofError(
                    f"{variable(one.name)} = {text!r} must be a number, such as "
                    f"{getattr(ImageLimits, one.name)}"
                ) from error
    limits = ImageLimits(**found)
    if Image.MAX_IMAGE_PIXELS is not None and limits.max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limits.max_pixels  # Pillow refuses by its own number too
    return limits


def open_image(data: bytes) -> Image.Image:
    """Open the bytes of an image file by Pillow, undecoded, if it may be decoded.

    Raises:
        TooCostlyError: decoding it would cost more than the limits allow.
        PIL.UnidentifiedImageError: it has none of the formats that are read.
        OSError: its header is damaged; and what else Pillow raises then.
    """
    check_structure(data)
    try:
        image = Image.open(io.BytesIO(data), formats=_formats(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_many_pixels("far too many") from error
    check_size(*image.size)
    if data.startswith(JPEG):
        check_scans(data, len(JPEG), *image.size)
    if isinstance(image, TiffImageFile):
        _check_tiff(image)
    slow = not SLOW.isdisjoint(tile[0] for tile in image.tile)
    if slow and image.width * image.height > MAX_SLOW_PIXELS:
        raise TooCostlyError(
            f"it is a {image.format} of {image.width} x {image.height} pixels in a rare coding, of "
            f"which at most {MAX_SLOW_PIXELS:,} are decoded; save it as PNG"
        )
    return image


def _formats(data: bytes) -> tuple[str, ...]:
    """Return Pillow's names of the formats that a file may have."""
    if (extra := extra_of(data)) is None or not extra.is_installed():
        return tuple(FORMATS)
    extra.register()
    return (extra.format,)


def check_size(width: int, height: int) -> None:
    """Refuse an image of too many pixels.

    Raises:
        TooCostlyError: it has more than the limit.
    """
    if width * height > image_limits().max_pixels:
        raise too_many_pixels(f"{width} x {height}")


def too_many_pixels(found: str) -> TooCostlyError:
    """Return the error for an image of so many pixels."""
    return TooCostlyError(
        f"it has {found} pixels; at most {image_limits().max_pixels:,} are decoded "
        f"({variable('max_pixels')} changes that)"
    )


def check_structure(data: bytes) -> None:
    """Refuse a file that is put together so that even its header would take long to read.

    Raises:
        TooCostlyError: it has more parts than an honest file.
    """
    if data.startswith(JPEG):
        _count_segments(data)
    elif data.startswith(PPM):
        _check_ppm(data)
    elif data.startswith(PNG):
        _count_chunks(data)
    elif data.startswith(GIF):
        _count_blocks(data)
    elif (order := TIFF.get(data[:4])) is not None:
        _count_strips(data, order)


def check_scans(data: bytes, start: int, width: int, height: int) -> None:
    """Refuse a JPEG file that asks for more passes over its pixels than the limits allow.

    `start` is the place of its frame header, or less. Whatever looks like a scan's header counts,
    wherever it stands: entropy-coded data cannot hold one.

    Raises:
        TooCostlyError: there are too many.
    """
    limits = image_limits()
    usual = NUM_USUAL_SCANS * limits.max_pixels // max(1, width * height)
    most = min(limits.max_scans, usual)
    if data.count(b"\xff\xda\x00", start) <= most:
        return
    if (found := sum(1 for _ in SCAN.finditer(data, start))) > most:
        name = "max_scans" if most == limits.max_scans else "max_pixels"
        raise TooCostlyError(
            f"it is a JPEG of {found:,} scans; of {width} x {height} pixels at most {most} are "
            f"decoded ({variable(name)} changes that)"
        )


def _refuse_parts(num: int, what: str, most: int) -> None:
    if num > most:
        raise TooCostlyError(
            f"it has more than {most:,} {what}, which no honest file of its size has; save it anew "
            "as PNG or JPEG"
        )


def _most_parts(data: bytes) -> int:
    return MAX_PARTS + len(data) // BYTES_PER_PART


def _count_segments(data: bytes) -> None:
    """Bound a JPEG's segments before its frame."""
    place, num = 2, 0
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in FRAMES:
            return
        num += 1
        _refuse_parts(num, "segments", MAX_PARTS)
        if marker == 0xFF:  # a byte that fills
            place += 1
        elif marker in ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def _count_chunks(data: bytes) -> None:
    """Bound a PNG's chunks, and those of compressed metadata, all of which Pillow looks at."""
    if len(data) >= 24:
        check_size(*struct.unpack_from(">II", data, 16))
    place, num, compressed = len(PNG), 0, 0
    most = _most_parts(data)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        num += 1
        compressed += kind in COMPRESSED
        _refuse_parts(num, "chunks", most)
        _refuse_parts(compressed, "chunks of compressed metadata", MAX_COMPRESSED)
        place += 12 + length


def _count_blocks(data: bytes) -> None:
    """Bound a GIF's blocks before its first image."""
    if len(data) < 13:
        return
    place = 13 + (3 << (1 + (data[10] & 7)) if data[10] & 0x80 else 0)
    num = 0
    while place + 2 < len(data) and data[place] != 0x2C:  # an image begins
        num += 1
        _refuse_parts(num, "blocks", MAX_PARTS)
        if data[place] != 0x21:  # no extension: Pillow looks for one byte by byte
            place += 1
            continue
        place += 2
        while place < len(data) and (length := data[place]):
            num += 1
            _refuse_parts(num, "blocks", MAX_PARTS)
            place += 1 + length
        place += 1


def _count_strips(data: bytes, order: str) -> None:
    """Bound the strips or tiles of a TIFF's first image, each of which Pillow decodes by itself."""
    big = data[2:3] == b"+" or data[3:4] == b"+"
    where, number, entry, size = (8, "Q", "HHQ", 20) if big else (4, "I", "HHI", 12)
    counter = "Q" if big else "H"
    try:
        (start,) = struct.unpack_from(order + number, data, where)
        (num,) = struct.unpack_from(order + counter, data, start)
        start += struct.calcsize(counter)
        _refuse_parts(num, "entries in its directory", MAX_PARTS)
        for place in range(start, start + size * num, size):
            tag, _, count = struct.unpack_from(order + entry, data, place)
            if tag in STRIPS:
                _refuse_parts(count, "strips or tiles", MAX_STRIPS)
    except (struct.error, OverflowError):
        return  # cut short, which Pillow refuses itself


def _check_ppm(data: bytes) -> None:
    """Bound the header of a PPM, which Pillow reads byte by byte."""
    start = re.sub(rb"#[^\r\n]*", b"", data[:MAX_PPM_HEADER])
    if len(data) > MAX_PPM_HEADER and len(start.split()) <= NUM_PPM_NUMBERS:
        raise TooCostlyError(f"its header has more than {MAX_PPM_HEADER:,} bytes; save it as PNG")


def _check_tiff(image: TiffImageFile) -> None:
    """Refuse a TIFF whose tiles are larger than an image may be, or hold files of their own."""
    if (kind := image.info.get("compression", "raw")) not in TIFF_COMPRESSIONS:
        known = ", ".join(sorted(TIFF_COMPRESSIONS))
        raise TooCostlyError(
            f"it is a TIFF with the compression {kind}; these are decoded: {known}; save it as PNG"
        )
    width, height = (image.tag_v2.get(tag, 1) for tag in TILE_SIZE)
    if isinstance(width, int) and isinstance(height, int):
        check_size(width, height)
