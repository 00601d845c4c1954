"""Damaged, odd and misnamed image files, and what else a folder may hold."""

import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}
KINDS_OF_FILE = tuple(FORMATS)
CUTS = 20  # a file is cut short at each of so many parts of it

Named = tuple[str, bytes]


def image(draw: random.Random, size: tuple[int, int] = (64, 56)) -> Image.Image:
    """Return an image of smooth colours and noise."""
    rng = np.random.default_rng(draw.randrange(2**32))
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize(size)
    noisy = np.asarray(coarse, np.int16) + rng.integers(-20, 20, (*size[::-1], 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, FORMATS[kind], **options)
    return buffer.getvalue()


def truncated(draw: random.Random, number: int) -> Named:
    """Cut a file short; 120 in turn are every format at every twentieth."""
    kind = KINDS_OF_FILE[number // CUTS % len(KINDS_OF_FILE)]
    data = encoded(image(draw), kind)
    return f"x.{kind}", data[: len(data) * (number % CUTS) // CUTS]


def flipped(draw: random.Random, number: int) -> Named:
    """Flip some bits."""
    kind = KINDS_OF_FILE[number % len(KINDS_OF_FILE)]
    data = bytearray(encoded(image(draw), kind))
    for _ in range(draw.choice([1, 3, 30])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return f"x.{kind}", bytes(data)


def misnamed(draw: random.Random, number: int) -> Named:
    """Give an image another's suffix."""
    kinds = draw.sample(KINDS_OF_FILE, 2)
    return f"x.{kinds[0]}", encoded(image(draw), kinds[1])


def no_image(draw: random.Random, number: int) -> Named:
    """Return what is not an image at all."""
    ways = (
        b"",
        bytes(4096),
        b"no image\n",
        b"<!doctype html><title>404</title><p>Not found",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"%PDF-1.4\n",
        b"PK\x03\x04" + bytes(26),
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        draw.randbytes(2000),
    )
    return f"x.{draw.choice(['jpg', 'png', 'webp', 'gif'])}", ways[number % len(ways)]


def png(side: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of a declared side, of whatever chunks stand in it."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts
    )


def bomb(draw: random.Random, number: int) -> Named:
    """Return a small file that declares much, or unpacks to much."""
    much = zlib.compress(bytes(20_000_000))
    ways: list[Callable[[], Named]] = [
        lambda: ("x.png", png(20_000, (b"IDAT", zlib.compress(bytes(60_000))))),
        lambda: ("x.jpg", _huge_jpeg(draw)),
        lambda: ("x.png", png(8, (b"zTXt", b"Comment\0\0" + much), (b"IDAT", much))),
        lambda: ("x.png", png(8, (b"iCCP", b"profile\0\0" + much), (b"IDAT", much))),
        lambda: ("x.gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(30)),
        lambda: ("x.bmp", _huge_bmp(draw)),
    ]
    return ways[number % len(ways)]()


def _huge_jpeg(draw: random.Random) -> bytes:
    """Return a JPEG whose frame header says 65,500 pixels a side."""
    data = bytearray(encoded(image(draw), "jpg"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def _huge_bmp(draw: random.Random) -> bytes:
    """Return a BMP whose header says 20,000 pixels a side."""
    data = bytearray(encoded(image(draw), "bmp"))
    data[18:26] = struct.pack("<ii", 20_000, 20_000)
    return bytes(data)


def odd(draw: random.Random, number: int) -> Named:
    """Return an image that is whole, of a kind that few expect."""
    drawn = image(draw)
    wide = np.asarray(drawn.convert("L"), np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = number % 10  # upright, the seven others, and two that are none
    more = {"save_all": True, "append_images": [image(draw)]}
    ways: list[Callable[[], Named]] = [
        lambda: ("x.jpg", encoded(drawn.convert("CMYK"), "jpg")),
        lambda: ("x.png", encoded(Image.fromarray(wide), "png")),
        lambda: ("x.png", encoded(drawn.convert("P"), "png", transparency=0)),
        lambda: ("x.png", encoded(drawn.convert("LA"), "png")),
        lambda: ("x.png", encoded(drawn.convert("1"), "png")),
        lambda: ("x.jpg", encoded(drawn, "jpg", exif=exif)),
        lambda: ("x.gif", encoded(drawn, "gif", **more)),
        lambda: ("x.webp", encoded(drawn, "webp", **more)),
        lambda: ("x.png", encoded(drawn.resize((1, 1)), "png")),
        lambda: ("x.jpg", encoded(drawn.resize((1, 3000)), "jpg")),
        lambda: ("x.tif", encoded(drawn.convert("F"), "tif")),
    ]
    return ways[number % len(ways)]()


KINDS = (truncated, flipped, misnamed, no_image, bomb, odd)


def write_hostile(folder: Path, number: int, seed: int | str) -> None:
    """Write so many hostile files, each kind in turn, and what else a folder may hold."""
    draw = random.Random(seed)
    for place in range(number):
        name, data = KINDS[place % len(KINDS)](draw, place // len(KINDS))
        (folder / f"{place:05}-{name}").write_bytes(data)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "a folder.jpg").mkdir()
    os.mkfifo(folder / "a pipe.jpg")  # that nobody writes to
    (folder / "a hole.jpg").touch()
    os.truncate(folder / "a hole.jpg", 2**40)  # takes no room on the disk
    good = encoded(image(draw), "jpg")
    (folder / "with\na line.jpg").write_bytes(good)
    (folder / "other\u2028line\u2029ends\u0085.jpg").write_bytes(good)
    (folder / "'quotes\" & <tags>.jpg").write_bytes(good)
    for name in ("bad\none", "bad\u2028one", "bad 'one\" & <tags>"):
        (folder / f"{name}.jpg").write_bytes(good[: len(good) // 3])
    (folder / os.fsdecode(b"no text \xff\xfe.jpg")).write_bytes(good)
    (folder / "vanishes.jpg").write_bytes(good)  # between listing and reading, see `remove_some`


def remove_some(root: Path) -> int:
    """Remove what is to vanish between listing and reading, and say how many files that were."""
    gone = list(root.rglob("vanishes.jpg"))
    for file in gone:
        file.unlink()
    return len(gone)


def write_good(folder: Path, number: int, seed: int | str) -> None:
    """Write good images."""
    folder.mkdir(parents=True)
    draw = random.Random(seed)
    for place in range(number):
        (folder / f"good-{place}.jpg").write_bytes(encoded(image(draw), "jpg", quality=90))
