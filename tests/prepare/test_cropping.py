"""Cutting faces out: sizes, encodings, and settings that are refused."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from faceproof.data.image_io import decode_image
from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import MARGIN, CropConfig, cut, cut_as_stored, encode, sharpness_of
from faceproof.prepare.face import Face
from faceproof.settings import SettingError
from tests.small_faces import scene

IMAGE = np.ascontiguousarray(scene([(1, 128, 128, 140)]).transpose(2, 0, 1))
POINTS = ((110.0, 112.0), (146.0, 112.0), (128.0, 130.0), (114.0, 148.0), (142.0, 148.0))
FACE = Face(Box(100, 90, 160, 160), 0.9, POINTS)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [None, 64])
def test_a_crop_is_a_square(align, size):
    found = cut(IMAGE, FACE, CropConfig(align=align, size=size))
    assert found.dtype == np.uint8
    assert found.shape[0] == 3
    assert found.shape[1] == found.shape[2]
    if size is not None:
        assert found.shape[1] == size
    elif not align:
        assert found.shape[1] == round(70 * (1 + 2 * MARGIN))


def test_without_loss_a_file_gives_the_crop_back():
    pixels = cut(IMAGE, FACE, CropConfig())
    assert np.array_equal(decode_image(encode(pixels, CropConfig())), pixels)
    assert np.array_equal(cut_as_stored(IMAGE, FACE, CropConfig()), pixels)


def test_of_jpeg_the_crop_is_what_the_file_gives_back():
    config = CropConfig(quality=60)
    stored = cut_as_stored(IMAGE, FACE, config)
    content = encode(cut(IMAGE, FACE, config), config)
    assert Image.open(io.BytesIO(content)).format == "JPEG"
    assert np.array_equal(stored, decode_image(content))
    assert not np.array_equal(stored, cut(IMAGE, FACE, config))
    assert len(encode(stored, CropConfig(quality=20))) < len(content)


def test_a_blurred_face_is_less_sharp():
    blurred = Image.fromarray(IMAGE.transpose(1, 2, 0)).filter(ImageFilter.GaussianBlur(3))
    soft = np.ascontiguousarray(np.asarray(blurred).transpose(2, 0, 1))
    assert sharpness_of(soft, FACE) < sharpness_of(IMAGE, FACE) - 0.5


def test_small_and_unsure_faces_are_not_taken():
    assert CropConfig(min_size=70, min_score=0.9).takes(FACE)
    assert not CropConfig(min_size=71).takes(FACE)
    assert not CropConfig(min_score=0.91).takes(FACE)


def test_landmarks_that_do_not_fit_the_face_are_not_aligned_by():
    squashed = Face(FACE.box, 0.9, tuple((128 + x / 100, 128 + y / 100) for x, y in POINTS))
    for face in (squashed, Face(FACE.box, 0.9, ((1.0, 1.0),) * 5)):
        assert not CropConfig(align=True).takes(face)
        assert CropConfig().takes(face)
    assert CropConfig(align=True).takes(FACE)


def test_alignment_takes_landmarks():
    with pytest.raises(SettingError, match="align = true takes 5 landmarks, and"):
        cut(IMAGE, Face(Box(0, 0, 9, 9), 1.0), CropConfig(align=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("margin", -0.1), ("margin", 3), ("align", 1), ("size", 0), ("quality", 101),
        ("min_score", 2), ("min_size", 0), ("detector", None),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(SettingError, match=f"{name} = {value!r}"):
        CropConfig(**{name: value})
