"""Decoding: every kind of image against Pillow, and every kind of damage named, never a crash."""

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from faceproof.data import image_limits
from faceproof.data.image_io import (
    UnreadableImageError,
    decode_image,
    from_pillow,
    read_file,
    read_image,
    thumbnail,
)
from faceproof.data.image_limits import ImageLimits

Pixels = npt.NDArray[np.uint8]

# Blocks of 8 px of one colour: no codec has an excuse for a difference.
BLOCKS = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
RGBA = Image.fromarray(np.kron(BLOCKS, np.ones((8, 8, 1), np.uint8)))
RGB, GREY = RGBA.convert("RGB"), RGBA.convert("L")
GREY16 = np.asarray(GREY).astype(np.uint16) * 257
PALETTE = RGB.quantize(16)
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(folder: Path, data: bytes) -> Pixels:
    """Read what a file holds, under a name that says nothing true, as (H, W, 3)."""
    file = folder / "image.jpg"
    file.write_bytes(data)
    image = read_image(file)
    assert image.dtype == np.uint8
    return image.transpose(1, 2, 0)


def by_pillow(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        over = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", over.size, "white"), over))[..., :3]


def png(width: int, height: int, depth: int, colour: int, scanlines: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    "data",
    [
        *(pytest.param(encoded(RGB, kind), id=kind) for kind in FORMATS),
        pytest.param(encoded(GREY, "JPEG"), id="grey JPEG"),
        pytest.param(encoded(RGB.convert("CMYK"), "JPEG"), id="CMYK JPEG"),
        pytest.param(encoded(RGB, "JPEG", progressive=True), id="progressive JPEG"),
        pytest.param(encoded(GREY, "PNG"), id="grey PNG"),
        pytest.param(encoded(GREY.convert("1"), "PNG"), id="1-bit PNG"),
        pytest.param(encoded(RGBA.convert("LA"), "PNG"), id="grey and alpha PNG"),
        pytest.param(encoded(RGBA, "PNG"), id="RGBA PNG"),
        pytest.param(encoded(PALETTE, "PNG"), id="palette PNG"),
        pytest.param(encoded(RGB.quantize(2), "PNG", bits=1), id="two-colour PNG"),
        pytest.param(encoded(PALETTE, "PNG", transparency=3), id="palette with a clear colour"),
        pytest.param(encoded(PALETTE, "PNG", transparency=bytes(range(0, 256, 16))), id="tRNS"),
        pytest.param(encoded(RGB, "PNG", transparency=RGB.getpixel((0, 0))), id="a clear RGB"),
        pytest.param(encoded(PALETTE, "GIF", transparency=3), id="GIF with a clear colour"),
        pytest.param(encoded(RGBA, "WEBP", lossless=True), id="RGBA WEBP"),
        pytest.param(encoded(RGB.convert("CMYK"), "TIFF"), id="CMYK TIFF"),
        pytest.param(encoded(RGB, "TIFF", compression="tiff_lzw"), id="LZW TIFF"),
        pytest.param(encoded(RGB.resize((1, 1)), "PNG"), id="1x1 PNG"),
        pytest.param(encoded(RGB.resize((1, 1)), "JPEG"), id="1x1 JPEG"),
    ],
)
def test_every_kind_of_image_is_as_pillow_sees_it_on_white(tmp_path: Path, data: bytes) -> None:
    difference = decoded(tmp_path, data).astype(int) - by_pillow(data)
    assert abs(difference).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(Image.fromarray(GREY16), "PNG"), id="PNG"),
        pytest.param(encoded(Image.fromarray(GREY16), "TIFF"), id="TIFF"),
        pytest.param(
            encoded(Image.frombytes("I;16B", GREY.size, GREY16.byteswap().tobytes()), "TIFF"),
            id="big-endian TIFF",
        ),
        pytest.param(b"P5 48 40 65535\n" + GREY16.byteswap().tobytes(), id="PGM"),
    ],
)
def test_16_bit_grey_keeps_its_range(tmp_path: Path, data: bytes) -> None:
    assert (decoded(tmp_path, data) == np.asarray(GREY)[..., None]).all()


def test_16_bit_grey_is_rounded(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 32767, 65406, 65407, 65535]], np.uint16)
    found = decoded(tmp_path, encoded(Image.fromarray(values), "PNG"))
    assert found[0, :, 0].tolist() == [0, 0, 1, 127, 254, 255, 255]


def test_16_bit_colour(tmp_path: Path) -> None:
    rows = (np.asarray(RGB).astype(np.uint16) * 257).byteswap()
    scanlines = b"".join(b"\0" + row.tobytes() for row in rows)
    assert (decoded(tmp_path, png(48, 40, 16, 2, scanlines)) == np.asarray(RGB)).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_no_known_range_are_refused(tmp_path: Path, dtype: type) -> None:
    data = encoded(Image.fromarray(GREY16.astype(dtype) * 100), "TIFF")
    with pytest.raises(UnreadableImageError, match="of no known range"):
        decoded(tmp_path, data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_stand_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    turned = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90,
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, marked = encoded(RGB, kind), encoded(RGB, kind, exif=exif)
    assert (decoded(tmp_path, marked) == turned(by_pillow(plain))).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, kind: str) -> None:
    data = encoded(PALETTE, kind, save_all=True, append_images=[PALETTE.rotate(180)])
    assert np.allclose(decoded(tmp_path, data), by_pillow(data), atol=1)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_unreadable_or_whole(tmp_path: Path, kind: str) -> None:
    data = encoded(RGB, kind)
    whole, reasons = decoded(tmp_path, data), []
    for length in range(1, len(data), max(1, len(data) // 50)):
        try:  # the last bytes of some formats carry nothing
            assert (decoded(tmp_path, data[:length]) == whole).all()
        except UnreadableImageError as error:
            reasons.append(str(error))
    assert len(reasons) > 40
    assert all(len(reason.splitlines()) == 1 for reason in reasons)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_damaged_file_never_ends_the_process(tmp_path: Path, kind: str) -> None:
    rng, data = np.random.default_rng(0), encoded(RGB, kind)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(8, len(data), 3):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(UnreadableImageError):
            assert decoded(tmp_path, bytes(damaged)).ndim == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><title>404</title>", "no image format that can be read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no image format that can be read"),
        (b"\xff\xd8\xff", "no image format that can be read"),
        (b"\0" * 1000, "no image format that can be read"),
    ],
)
def test_what_is_no_image_is_named_so(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError) as refusal:
        decoded(tmp_path, data)
    assert str(refusal.value) == reason


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"^the file is not there$"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(UnreadableImageError, match=r"directory|denied"):
        read_image(tmp_path)


def test_a_system_that_gives_a_file_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(RGB, "PNG")
    (tmp_path / "image").write_bytes(data)
    original = os.read
    monkeypatch.setattr(os, "read", lambda file, number: original(file, min(number, 100)))
    assert read_file(tmp_path / "image") == data


def test_what_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    """A file that is a hole takes no room on the disk."""
    (tmp_path / "image.jpg").touch()
    os.truncate(tmp_path / "image.jpg", 2**40)
    with pytest.raises(UnreadableImageError, match="it has 1,099,511,627,776 bytes; at most"):
        read_image(tmp_path / "image.jpg")


def test_what_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes to, which would hold up everything."""
    os.mkfifo(tmp_path / "image.jpg")
    with pytest.raises(UnreadableImageError, match="the file is empty"):
        read_image(tmp_path / "image.jpg")


@pytest.mark.parametrize("side", [20_000, 65_500, 2**31 - 1])
def test_a_header_that_asks_for_all_memory_is_unreadable(tmp_path: Path, side: int) -> None:
    with pytest.raises(UnreadableImageError, match=r"pixels|size"):
        decoded(tmp_path, png(side, side, 8, 2, b"\0" * 100))
    if side < 2**16:
        data = bytearray(encoded(RGB, "JPEG"))
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
        with pytest.raises(UnreadableImageError, match="pixels"):
            decoded(tmp_path, bytes(data))


SMALL_FRAME = b"\xff\xc0\x00\x11\x08\x00\x08\x00\x08\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
BEFORE_A_FRAME = st.sampled_from(
    [
        b"\xff\xe1\x00\x15" + SMALL_FRAME,
        b"\xff\xfe\x00\x02",
        b"\xff\xdd\x00\x04\x00\x00",
        *(bytes([0xFF, marker]) for marker in (0x01, 0xD0, 0xD8, 0xFF, 0x00, 0xC8, 0xE0, 0xDC)),
        SMALL_FRAME,
    ]
)


@given(before=st.lists(BEFORE_A_FRAME | st.binary(max_size=6), max_size=5))
@example(before=[])
@example(before=[b"\xff\x01", b"\xff\xe1\x00\x02"])
def test_no_header_hides_how_large_a_jpeg_is(before: list[bytes]) -> None:
    whole = encoded(RGB, "JPEG")
    data = whole[:2] + b"".join(before) + whole[2:]
    with pytest.MonkeyPatch.context() as limit:
        few = ImageLimits(max_pixels=RGB.width * RGB.height - 1)
        limit.setattr(image_limits, "image_limits", lambda: few)
        with pytest.raises(UnreadableImageError):
            decode_image(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"\xff\xc0 no frame"}])
@pytest.mark.parametrize("image", [RGB, GREY, RGB.convert("CMYK")])
def test_a_jpeg_in_order_is_left_to_one_decoder(
    monkeypatch: pytest.MonkeyPatch, image: Image.Image, options: dict[str, object]
) -> None:
    data = encoded(image, "JPEG", **options)
    seen = by_pillow(data)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("Pillow holds other threads up"))
    assert np.allclose(decode_image(data).transpose(1, 2, 0), seen, atol=2)


def test_wrong_data_inside_a_whole_jpeg_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    rng, different = np.random.default_rng(1), 0
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for image in (noise, noise.convert("L"), noise.convert("CMYK")):
        data = encoded(image, "JPEG", quality=95)
        whole = decoded(tmp_path, data)
        for _ in range(10):
            damaged = bytearray(data)
            damaged[rng.integers(len(data) // 2, len(data) - 100)] = 0x55
            with contextlib.suppress(UnreadableImageError):  # a marker that there is not
                found = decoded(tmp_path, bytes(damaged))
                different += not np.array_equal(found, whole)
                assert abs(found.astype(int) - by_pillow(bytes(damaged))).max() <= 2
    assert different > 20


@pytest.mark.parametrize("num_missing", [1, 2, 10, 50])
@pytest.mark.parametrize("image", [RGB, GREY, RGB.convert("CMYK")])
def test_a_jpeg_without_its_end_is_refused_not_filled_up(
    image: Image.Image, num_missing: int
) -> None:
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "a thumbnail has an end of its own: \xff\xd9"
    data = encoded(image, "JPEG", quality=95, exif=thumbnail)
    with pytest.raises(UnreadableImageError, match="incomplete or truncated"):
        decode_image(data[:-num_missing])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("length", range(6, 26))
def test_an_exif_segment_that_is_cut_short_turns_nothing(length: int) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    upright = decode_image(encoded(RGB, "JPEG"))
    assert (decode_image(encoded(RGB, "JPEG", exif=exif[:length])) == upright).all()
    turned = decode_image(encoded(RGB, "JPEG", exif=exif))
    assert turned.shape == (3, RGB.width, RGB.height)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def exif_block(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    """Return EXIF with entries of tag, type, count and value, `order` being < or >."""
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    packed = (struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0" + start + b"".join(packed) + bytes(4)


def turning(order: str, kind: int, value: int, tag: int = 0x0112) -> tuple[int, int, int, bytes]:
    """Return the entry of an orientation, of one of TIFF's types of numbers."""
    code = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f"}[kind]
    return tag, kind, 1, struct.pack(order + code, value).ljust(4, b"\0")


def xmp_block(orientation: int) -> bytes:
    return b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="%d"/>' % orientation


SHORT, LONG = 3, 4
TURNED = exif_block(">", turning(">", SHORT, 6))
NOT_TURNED = exif_block("<", (0x010E, 2, 1, b"a\0\0\0"))
EARLY = {
    "EXIF": [segment(0xE1, TURNED)],
    "XMP before EXIF": [segment(0xE1, xmp_block(3)), segment(0xE1, TURNED)],
    "XMP alone": [segment(0xE1, xmp_block(6))],
    "XMP beside EXIF that is silent": [segment(0xE1, NOT_TURNED), segment(0xE1, xmp_block(6))],
    "EXIF in two segments": [segment(0xE1, TURNED[:20]), segment(0xE1, b"Exif\0\0" + TURNED[20:])],
    "two EXIF segments": [segment(0xE1, TURNED), segment(0xE1, NOT_TURNED)],
    "LONG": [segment(0xE1, exif_block(">", turning(">", LONG, 6)))],
    "little-endian LONG": [segment(0xE1, exif_block("<", turning("<", LONG, 6)))],
    "Adobe first": [segment(0xEE, b"Adobe" + bytes(6) + b"\1"), segment(0xE1, TURNED)],
    "filled up": [b"\xff\xff", segment(0xE1, TURNED)],
}


@pytest.mark.parametrize("place", ["after the start", "before the pixels"])
@pytest.mark.parametrize("segments", [pytest.param(v, id=k) for k, v in EARLY.items()])
def test_an_orientation_is_found_wherever_it_stands(segments: list[bytes], place: str) -> None:
    plain = encoded(RGB, "JPEG")
    cut = 2 if place == "after the start" else plain.index(b"\xff\xda")
    marked = plain[:cut] + b"".join(segments) + plain[cut:]
    assert (decode_image(marked) == np.rot90(decode_image(plain), -1, (1, 2))).all()


NUMBERS = st.sampled_from([1, SHORT, LONG, 6, 8, 9, 11])
ENTRIES = st.lists(st.tuples(NUMBERS, st.integers(0, 9), st.sampled_from([0x0112, 0x010E])))
METADATA = st.one_of(
    st.builds(
        lambda order, entries, length: exif_block(order, *(turning(order, *e) for e in entries))[
            :length
        ],
        st.sampled_from("<>"), ENTRIES, st.integers(6, 60),
    ),
    st.builds(xmp_block, st.integers(0, 9)),
    st.binary(max_size=20),
)  # fmt: skip
SEGMENTS = st.one_of(
    st.builds(segment, st.just(0xE1), METADATA),
    st.builds(lambda kind: segment(0xEE, b"Adobe" + bytes(6) + bytes([kind])), st.integers(0, 2)),
    st.just(segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")),
    st.just(segment(0xFE, b"a comment")),
    st.just(b"\xff"),
)
JPEGS = [
    encoded(image, "JPEG", progressive=progressive)
    for image in (RGB, GREY, RGB.convert("CMYK"))
    for progressive in (False, True)
]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    whole=st.sampled_from(JPEGS),
    inserted=st.lists(st.tuples(SEGMENTS, st.integers(0, 9)), max_size=4),
)
def test_every_order_of_segments_is_as_pillow_sees_it(
    whole: bytes, inserted: list[tuple[bytes, int]]
) -> None:
    pieces, place = [whole[:2]], 2
    while whole[place + 1] != 0xDA:
        length = 2 + int.from_bytes(whole[place + 2 : place + 4], "big")
        pieces.append(whole[place : place + length])
        place += length
    for piece, at in inserted:
        pieces.insert(min(1 + at, len(pieces)), piece)
    data = b"".join([*pieces, whole[place:]])
    try:
        found = decode_image(data)
    except UnreadableImageError:  # an Adobe segment that says what the file is not
        with Image.open(io.BytesIO(data)) as image, pytest.raises(UnreadableImageError):
            from_pillow(image)
        return
    with Image.open(io.BytesIO(data)) as image:
        assert (from_pillow(image) == found).all()
    refusals = SyntaxError, struct.error, AttributeError  # of Pillow's, for damaged metadata
    with contextlib.suppress(*refusals), Image.open(io.BytesIO(data)) as image:
        seen = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.allclose(found.transpose(1, 2, 0), seen, atol=1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_metadata_turns_nothing(kind: str) -> None:
    plain, broken = encoded(RGB, kind), encoded(RGB, kind, exif=b"Exif\0\0nonsense")
    assert (decode_image(broken) == decode_image(plain)).all()


def of_mode(mode: str) -> Image.Image:
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(RGB, srgb, lab, outputMode="LAB")
        assert converted is not None
        return converted
    if mode.startswith("I;16"):
        grey = GREY16.byteswap() if mode == "I;16B" else GREY16
        return Image.frombytes(mode, GREY.size, grey.tobytes())
    if mode == "I":
        return Image.fromarray(GREY16.astype(np.int32))
    source = {"P": PALETTE, "PA": PALETTE, "La": RGBA.convert("LA"), "LA": RGBA, "RGBA": RGBA}
    return source.get(mode, RGBA if mode == "RGBa" else RGB).convert(mode)


MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV",
         "I", "I;16", "I;16B")  # fmt: skip
# What can hold each mode as it is.
LOSSLESS = {"RGBA": "PNG", "HSV": None, "La": None, "RGBa": None, "I;16B": "TIFF"}


@pytest.mark.parametrize("mode", MODES)
def test_an_opened_image_of_every_mode_has_the_pixels_of_its_file(mode: str) -> None:
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow reads strips of YCbCr from release 13 on; before, they are refused")
    image = of_mode(mode)
    found = from_pillow(image)
    if (kind := LOSSLESS.get(mode, "TIFF")) is not None:
        data = encoded(image, kind)
        assert (decode_image(data) == found).all()
        with Image.open(io.BytesIO(data)) as opened:
            assert (from_pillow(opened) == found).all()
    if mode.startswith("I"):
        seen = np.repeat(np.asarray(GREY)[..., None], 3, 2)
    else:
        over = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        seen = np.asarray(Image.alpha_composite(white, over))[..., :3]
    assert np.allclose(found.transpose(1, 2, 0), seen, atol=1)


@pytest.mark.parametrize(("mode", "reason"), [("F", "no known range"), ("LAB", "CIELAB")])
def test_an_opened_image_is_refused_as_its_file_is(mode: str, reason: str) -> None:
    image = of_mode(mode)
    for read in (lambda: from_pillow(image), lambda: decode_image(encoded(image, "TIFF"))):
        with pytest.raises(UnreadableImageError, match=reason):
            read()


def test_a_clear_value_of_16_bit_grey_is_white() -> None:
    data = encoded(Image.fromarray(GREY16), "PNG", transparency=int(GREY16[0, 0]))
    found = decode_image(data)
    clear = np.equal(GREY16, GREY16[0, 0])
    assert (found[:, clear] == 255).all()
    assert (found[:, ~clear] == np.asarray(GREY)[~clear]).all()


def test_an_opened_image_that_is_damaged_is_unreadable() -> None:
    with (
        Image.open(io.BytesIO(encoded(RGB, "PNG")[:200])) as image,
        pytest.raises(UnreadableImageError, match="truncated"),
    ):
        from_pillow(image)


def test_a_thumbnail_keeps_the_shape_and_never_grows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 80), np.uint8)
    assert thumbnail(pixels, 20).size == (20, 10)
    assert thumbnail(pixels, 200).size == (80, 40)
