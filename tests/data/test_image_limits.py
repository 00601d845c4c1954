"""Files that would take minutes or gigabytes are refused by their headers; honest ones are not."""

import ast
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import faceproof
from faceproof.data import image_limits
from faceproof.data.image_io import UnreadableImageError, decode_image, read_image
from faceproof.data.image_limits import FORMATS, ImageLimits
from faceproof.errors import FaceproofError

SECONDS = 20  # far more than a refusal takes, on a machine that has much else to do


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, data=b""):
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(before=b"", after=b"", width=8, height=8, depth=8, colour=2, interlaced=0):
    """Return a PNG; of its pixels there may be too few."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    pixels = zlib.compress(bytes(25 * 8))
    body = before + chunk(b"IDAT", pixels) + after + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def jpeg(num_scans, side=64, mode="L", before=b""):
    """Return a progressive JPEG that goes over its pixels so many times."""
    whole = encoded(Image.new(mode, (side, side)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    missing = num_scans - whole.count(b"\xff\xda")
    return whole[:2] + before + whole[2:-2] + whole[last:-2] * missing + whole[-2:]


def gif(blocks):
    whole = encoded(Image.new("P", (8, 8)), "GIF")
    start = 13 + (3 << (1 + (whole[10] & 7)))
    return whole[:start] + blocks + whole[start:]


def tiff(*entries, extra=b""):
    """Return a TIFF of (tag, type, count, value); a value of None lies behind the directory."""
    end = 8 + 2 + 12 * len(entries) + 4
    found = [struct.pack("<HHII", t, k, n, end if v is None else v) for t, k, n, v in entries]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + b"".join(found) + bytes(4) + extra


def grey_tiff(*more, extra=b""):
    size = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (262, 3, 1, 1)]
    return tiff(*sorted([*size, *more]), extra=extra)


COMPRESSED = zlib.compress(bytes(1_000_000), 9)
COSTLY = {
    "JPEG of a thousand scans": (lambda: jpeg(1000), "1,000 scans; .* at most 100 .*MAX_SCANS"),
    "large JPEG of many scans": (lambda: jpeg(60, 8000), "60 scans; .* at most 27 .*MAX_PIXELS"),
    "JPEG of a million segments": (
        lambda: jpeg(6, before=b"\xff\xfe\x00\x02" * 1_000_000),
        "more than 10,000 segments",
    ),
    "JPEG of bytes that fill": (lambda: jpeg(6, before=b"\xff" * 10**6), "more than 10,000"),
    "PNG of all pixels": (lambda: png(width=13300, height=13300, colour=6), "13300 x 13300 pixels"),
    "interlaced PNG of 16 bits": (
        lambda: png(width=10**5, height=10**4, depth=16, colour=6, interlaced=1),
        "100000 x 10000 pixels",
    ),
    "PNG of many colour profiles": (
        lambda: png(chunk(b"iCCP", b"a\0\0" + COMPRESSED) * 2000),
        "more than 64 chunks of compressed metadata",
    ),
    "PNG of much text behind its pixels": (
        lambda: png(after=chunk(b"zTXt", b"a\0\0" + COMPRESSED[:-6]) * 2000),
        "more than 64 chunks of compressed metadata",
    ),
    "PNG of a million chunks": (lambda: png(chunk(b"abCd") * 10**6), "more than .* chunks"),
    "PNG of a million empty pixel chunks": (
        lambda: png(chunk(b"IDAT") * 10**6),
        "more than .* chunks",
    ),
    "GIF of a million comments": (lambda: gif(b"!\xfe\x01a\0" * 10**6), "10,000 blocks"),
    "GIF of an endless extension": (lambda: gif(b"!\xf9" + b"\1a" * 10**6), "10,000 blocks"),
    "GIF of zeros": (lambda: gif(bytes(10**6)), "10,000 blocks"),
    "TIFF of a million strips": (
        lambda: grey_tiff((273, 4, 10**6, None), (278, 4, 1, 1), extra=bytes(4 * 10**6)),
        "more than 50,000 strips or tiles",
    ),
    "TIFF of huge tiles": (
        lambda: grey_tiff(
            (259, 3, 1, 8),
            (322, 4, 1, 2**16),
            (323, 4, 1, 2**16),
            (324, 4, 1, None),
            (325, 4, 1, 100),
            extra=bytes(100),
        ),
        "65536 x 65536 pixels",
    ),
    "TIFF of very many tags": (
        lambda: tiff(*[(300, 7, 10**6, 8)] * 20_000, extra=bytes(10**6)),
        "10,000 entries in its directory",
    ),
    "TIFF of JPEG": (
        lambda: encoded(Image.new("RGB", (64, 64)), "TIFF", compression="jpeg"),
        "a TIFF with the compression jpeg; these are decoded: .*packbits",
    ),
    "run-length BMP": (
        lambda: (
            b"BM"
            + struct.pack("<IHHI", 0, 0, 0, 1078)
            + struct.pack("<IiiHHIIiiII", 40, 4000, 2500, 1, 8, 1, 0, 0, 0, 256, 0)
            + bytes(1024)
            + b"\1\5" * 10**6
        ),
        "a BMP of 4000 x 2500 pixels in a rare coding",
    ),
    "PPM as text": (lambda: b"P2 3000 3000 255\n" + b"1 " * 10**6, "in a rare coding"),
    "PPM of odd depth": (lambda: b"P6 2000 2000 254\n" + bytes(100), "in a rare coding"),
    "PPM of a long comment": (lambda: b"P5 #" + b"a" * 10**6 + b"\n8 8 255\n", "its header has"),
    "PPM of spaces": (lambda: b"P5" + b" " * 10**6 + b"8 8 255\n", "its header has"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_would_take_long_or_much_is_refused_at_once(name):
    make, reason = COSTLY[name]
    data = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faceproof.data.image_io.simplejpeg.decode_jpeg", _must_not_decode)
        patch.setattr("PIL.ImageFile.ImageFile.load", _must_not_decode)
        with pytest.raises(UnreadableImageError, match=reason):
            decode_image(data)


def _must_not_decode(*_args, **_named):
    raise AssertionError("it is decoded")


MEASURE = """
import sys
from faceproof.data.image_io import decode_image

def most():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

data = open(sys.argv[1], "rb").read()
before = most()
pixels = decode_image(data)
print(pixels.size // 3, most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "I;16", {}),
        ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", "RGBA", {"lossless": True, "method": 0}),
        ("AVIF", "RGBA", {"speed": 10}),
        ("JPEG", "CMYK", {"progressive": True}),
    ],
)
def test_decoding_takes_no_more_memory_than_is_counted(tmp_path, kind, mode, options):
    file = tmp_path / "image"
    file.write_bytes(encoded(Image.new(mode, (3000, 3000)), kind, **options))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, file], capture_output=True, text=True, check=True
    )
    pixels, taken = map(int, run.stdout.split())
    slack = 30_000_000  # strips, and modules that are loaded meanwhile
    assert pixels == 9_000_000
    assert taken <= image_limits.BYTES_PER_PIXEL * pixels + slack


GREY = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
COLOUR = Image.merge("RGB", [GREY, GREY.rotate(90), GREY.rotate(180)])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(jpeg(100), id="JPEG of a hundred scans"),
        pytest.param(jpeg(18, 1000, "CMYK"), id="progressive CMYK JPEG"),
        pytest.param(
            encoded(COLOUR, "JPEG") + b"\xff\xda\x00\x00" * 5000, id="a video behind a JPEG"
        ),
        pytest.param(encoded(COLOUR, "JPEG", icc_profile=bytes(2_000_000)), id="a large profile"),
        pytest.param(encoded(COLOUR, "MPO", save_all=True, append_images=[COLOUR]), id="MPO"),
        pytest.param(png(chunk(b"tEXt", b"a\0b") * 5000), id="PNG of much text"),
        pytest.param(gif(b"!\xfe" + (b"\xff" + bytes(255)) * 2000 + b"\0"), id="GIF of much XMP"),
        pytest.param(b"P5 # a comment\n4 4 255\n" + bytes(16), id="PGM with a comment"),
        pytest.param(b"P2 4 4 255\n" + b"1 " * 16, id="PGM as text"),
        pytest.param(b"P5 4 4 100\n" + bytes(16), id="PGM of odd depth"),
        *(
            pytest.param(encoded(COLOUR, "TIFF", compression=name), id=name)
            for name in ("raw", "packbits", "tiff_lzw", "tiff_deflate", "zstd", "lzma")
        ),
    ],
)
def test_honest_files_are_decoded(data):
    assert decode_image(data).shape[0] == 3


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
showpage
%%EOF
"""


@pytest.mark.parametrize("name", ["image.eps", "image.jpg", "image"])
def test_no_program_is_started_for_an_image(tmp_path, monkeypatch, name):
    started = []
    sys.addaudithook(lambda event, args: started.append(args) if event == AUDITED else None)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: started.append("gs"))
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(UnreadableImageError, match="no image format that can be read"):
        read_image(tmp_path / name)
    assert started == []


AUDITED = "subprocess.Popen"


@pytest.mark.parametrize("kind", ["TGA", "JPEG2000", "ICO", "PCX", "SGI", "DDS", "PDF"])
def test_formats_that_are_not_on_the_list_are_not_opened(kind):
    assert kind not in FORMATS
    with pytest.raises(UnreadableImageError, match="no image format that can be read"):
        decode_image(encoded(COLOUR, kind))


def test_every_place_that_opens_an_image_names_its_formats():
    """Pillow tries all that it knows otherwise, and hands EPS to another program."""
    opened = []
    for file in Path(faceproof.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
                opened.append(f"{file.name}:{node.lineno}")
                assert "formats" in [word.arg for word in node.keywords], opened[-1]
    assert len(opened) >= 3


@pytest.fixture
def _anew():
    image_limits.image_limits.cache_clear()
    most = Image.MAX_IMAGE_PIXELS
    yield
    image_limits.image_limits.cache_clear()
    Image.MAX_IMAGE_PIXELS = most


@pytest.mark.usefixtures("_anew")
def test_the_environment_sets_the_limits(monkeypatch):
    data = encoded(COLOUR, "PNG")
    monkeypatch.setenv("FACEPROOF_MAX_PIXELS", "255")
    with pytest.raises(UnreadableImageError, match=r"16 x 16 pixels; at most 255 .*_MAX_PIXELS"):
        decode_image(data)
    image_limits.image_limits.cache_clear()
    monkeypatch.setenv("FACEPROOF_MAX_PIXELS", "2e8")
    monkeypatch.setenv("FACEPROOF_MAX_SCANS", "2000")
    assert image_limits.image_limits() == ImageLimits(200_000_000, 2000)
    assert decode_image(jpeg(1500)).shape == (3, 64, 64)
    with pytest.raises(UnreadableImageError, match=r"incomplete|truncated|image file"):
        decode_image(png(width=13300, height=13300))  # not refused by its size


@pytest.mark.usefixtures("_anew")
@pytest.mark.parametrize("word", ["many", "nan", "inf", "0", "-5"])
def test_a_limit_that_is_none_is_refused(monkeypatch, word):
    monkeypatch.setenv("FACEPROOF_MAX_PIXELS", word)
    with pytest.raises(FaceproofError, match="FACEPROOF_MAX_PIXELS = "):
        image_limits.image_limits()
