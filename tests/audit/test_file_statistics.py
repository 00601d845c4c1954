import io

import numpy as np
import pytest
from PIL import Image

from faceproof.audit import file_statistics
from faceproof.audit.duplicates import hamming
from faceproof.audit.file_statistics import (
    SCHEMA,
    border_detail,
    gather_file_statistics,
    laplacian,
    perceptual_hash,
    radial_spectrum,
    statistics_of_file,
)
from faceproof.data.image_io import read_image


def portrait(seed=0, size=160):
    """An image with large and small structure, (size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    falling = np.fft.fft2(rng.normal(size=(size, size))) / np.maximum(frequency, 1 / size)
    grey = np.fft.ifft2(falling).real  # a spectrum of 1/f, as photographs have
    grey = 128 + 45 * grey / grey.std()
    return np.stack([grey, grey * 0.8, grey * 0.9], axis=2).clip(0, 255).astype(np.uint8)


def encoded(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return np.asarray(Image.open(file))


def look(pixels):
    return perceptual_hash(pixels.mean(axis=2, dtype=np.float32))


def distance(first, second):
    return int(hamming(look(first)[None], look(second)[None])[0])


def test_a_re_encoded_resized_or_brightened_image_looks_the_same():
    original = portrait()
    half = np.asarray(Image.fromarray(original).resize((80, 80), Image.Resampling.LANCZOS))
    brighter = (original * 0.8 + 30).astype(np.uint8)
    for copy in (encoded(original, quality=50), half, brighter):
        assert distance(original, copy) <= 13


def test_other_images_look_different():
    distances = [distance(portrait(a), portrait(b)) for a in range(6) for b in range(a)]
    assert min(distances) > 60


def test_the_spectrum_shows_a_periodic_pattern_where_it_is():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 10, (128, 128)).astype(np.float32)
    wave = 20 * np.cos(2 * np.pi * 0.25 * np.arange(128))[None].astype(np.float32)
    gain = radial_spectrum(noise + wave) - radial_spectrum(noise)
    assert gain.argmax() == 8  # 0.25 cycles a pixel, in rings of 1/32


def test_white_noise_has_a_flat_spectrum():
    noise = np.random.default_rng(0).normal(0, 10, (128, 128)).astype(np.float32)
    assert np.ptp(radial_spectrum(noise)[1:]) < 0.5


def test_the_border_shows_a_mark_in_its_corner():
    rng = np.random.default_rng(0)
    plain = rng.normal(128, 4, (256, 256)).astype(np.float32)
    marked = plain.copy()
    marked[200:250:3, 200:250] += 60
    assert border_detail(marked).argmax() == 11  # the last outer cell: bottom right
    assert np.abs(border_detail(plain)).max() < 0.2


def test_laplacian_of_a_slope_is_zero_and_of_a_point_is_its_stencil():
    slope = np.add.outer(np.arange(5.0), 2 * np.arange(6.0)).astype(np.float32)
    assert not laplacian(slope).any()
    point = np.zeros((5, 5), np.float32)
    point[2, 2] = 1
    assert laplacian(point).tolist() == [[0, 1, 0], [1, -4, 1], [0, 1, 0]]


@pytest.fixture
def files(tmp_path):
    pixels = portrait()
    paths = [tmp_path / name for name in ("a.jpg", "b.png", "c.jpg", "d.jpg")]
    exif = Image.Exif()
    exif[0x131] = "some editor"
    Image.fromarray(pixels).save(paths[0], quality=90, exif=exif)
    Image.fromarray(pixels[:100]).save(paths[1])
    paths[2].write_bytes(paths[0].read_bytes()[:-900])
    return [str(path) for path in paths]


def test_facts_say_what_the_file_is(files):
    jpeg, png, broken, absent = gather_file_statistics(files, None).to_pylist()
    assert (jpeg["format"], jpeg["suffix"], jpeg["width"], jpeg["height"]) == (
        "JPEG", ".jpg", 160, 160,
    )  # fmt: skip
    assert jpeg["metadata"] == "exif"
    assert jpeg["jpeg_tables"] is not None
    assert (png["format"], png["height"], png["metadata"]) == ("PNG", 100, "")
    assert png["jpeg_tables"] is None
    assert jpeg["colour"][:3] == pytest.approx(portrait().mean((0, 1)), abs=1)
    assert broken["reason"]
    assert broken["format"] is None
    assert absent["reason"] == "the file is not there"


def test_the_tables_tell_qualities_apart(tmp_path):
    for quality in (70, 90):
        Image.fromarray(portrait()).save(tmp_path / f"{quality}.jpg", quality=quality)
    low, high = (statistics_of_file(str(tmp_path / f"{q}.jpg"))["jpeg_tables"] for q in (70, 90))
    assert low != high


def test_facts_are_remembered_until_the_file_changes(files, tmp_path, monkeypatch):
    memory = tmp_path / "memory" / "facts.parquet"
    first = gather_file_statistics(files, memory)
    looked = []
    monkeypatch.setattr(
        file_statistics, "statistics_of_file", lambda p: looked.append(p) or statistics_of_file(p)
    )
    assert gather_file_statistics(files, memory).equals(first)
    assert not looked
    Image.fromarray(portrait(1)).save(files[1])
    again = gather_file_statistics(files[::-1], memory)
    assert looked == [files[1]]
    assert again["path"].to_pylist() == files[::-1]
    assert again.schema == SCHEMA


def test_an_image_of_one_pixel_has_facts(tmp_path):
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(tmp_path / "dot.png")
    found = statistics_of_file(str(tmp_path / "dot.png"))
    assert found["width"] == 1
    assert np.isfinite(found["sharpness"])


@pytest.mark.parametrize("segment", [b"\xff\xe0\x00\x06JFIF", b"\xff\xee\x00\x07Adobe"])
def test_what_decodes_and_has_a_header_that_pillow_cannot_read_has_a_reason(tmp_path, segment):
    file = tmp_path / "odd.jpg"
    Image.fromarray(portrait()).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:2] + segment + whole[2:])
    assert read_image(file).shape == (3, 160, 160)
    (found,) = gather_file_statistics([str(file)], None).to_pylist()
    assert found["reason"] == "no image format that can be read"


def test_a_split_finds_what_the_whole_set_learned(tmp_path, monkeypatch):
    from faceproof.audit.file_statistics import file_statistics_of
    from faceproof.data.table import table_from_columns

    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    paths = [str(tmp_path / f"{number}.jpg") for number in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(portrait(number)).save(path)
    sources = ["a", "b", "b", "a"]
    table = table_from_columns({"path": paths, "source": sources})
    whole = file_statistics_of(table)
    assert whole["path"].to_pylist() == paths
    looked = []
    monkeypatch.setattr(
        file_statistics, "statistics_of_file", lambda p: looked.append(p) or statistics_of_file(p)
    )
    for rows in ([2, 0], [3], [1, 2]):
        part = file_statistics_of(table.take(rows))
        assert part.equals(whole.take(rows))
    assert not looked
    assert file_statistics_of(table).equals(whole)
