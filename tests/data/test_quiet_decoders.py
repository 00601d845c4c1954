"""Damaged files are named by the error that reading them raises, and by nothing else."""

import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

DECODE = """
import sys, pathlib
from faceproof.data.image_io import UnreadableImageError, decode_image
num = 0
for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        decode_image(file.read_bytes())
    except UnreadableImageError:
        num += 1
print(num)
"""


def damaged(kind, number):
    """Return the bytes of damaged images of a format, each damaged in another way."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = 40 * "x", 6
    format, options = kind
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 96)).save(file, format, exif=exif, **options)
    data = bytearray(file.getvalue())
    for place in rng.integers(2, len(data), rng.integers(1, 6)):
        data[place] = rng.integers(256)
    return bytes(data[: rng.integers(10, len(data))] if number % 3 == 0 else data)


KINDS = {
    "jpeg": ("JPEG", {}), "progressive": ("JPEG", {"progressive": True}), "png": ("PNG", {}),
    "webp": ("WEBP", {}), "lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg_in_tiff": ("TIFF", {"compression": "jpeg"}),
}  # fmt: skip


def test_decoders_say_nothing_of_damaged_files_themselves(tmp_path):
    for name, kind in KINDS.items():
        for number in range(40):
            (tmp_path / f"{name}{number}").write_bytes(damaged(kind, number))
    command = [sys.executable, "-c", DECODE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50
    assert done.stderr == ""


def decode_all():
    for number in range(40):
        with contextlib.suppress(OSError, SyntaxError, ValueError, TypeError, LookupError):
            ImageOps.exif_transpose(Image.open(io.BytesIO(damaged(KINDS["lzw"], number))))


def test_the_files_are_such_that_pillow_would_warn():
    with pytest.warns(UserWarning, match="Skipping tag|Corrupt EXIF|Truncated"):
        decode_all()
