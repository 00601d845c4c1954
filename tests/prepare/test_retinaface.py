"""RetinaFace: where faces are found, and that textures are not taken for faces."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from faceproof.errors import FaceproofError
from faceproof.prepare import retinaface
from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import CropConfig
from faceproof.prepare.detectors import load_detector
from faceproof.prepare.finding import find_faces
from faceproof.prepare.retinaface import RetinaFace
from tests.small_photographs import data, one_face, tensor, two_faces

FACE = Box(177, 64, 268, 176)  # from forehead to chin, read off the astronaut's photograph


@pytest.fixture(scope="module")
def detector():
    return load_detector("retinaface")


def found(detector, image):
    return find_faces(image, detector, CropConfig()).faces


def test_a_face_is_found_where_it_is_with_its_landmarks(detector):
    (face,) = found(detector, one_face().numpy())
    assert face.box.overlap(FACE) > 0.85
    left, right, nose, mouth_left, mouth_right = face.landmarks
    assert left[0] < nose[0] < right[0]
    assert mouth_left[0] < mouth_right[0]
    assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
    assert all(177 < x < 268 and 64 < y < 176 for x, y in face.landmarks)


def test_the_same_image_gives_the_same_faces(detector):
    image = two_faces().numpy()
    assert detector([image]) == detector([image, image])[1:] == RetinaFace()([image])


def test_two_faces_are_found_side_by_side(detector):
    faces = sorted(found(detector, two_faces().numpy()), key=lambda face: face.box.left)
    assert len(faces) == 2
    assert faces[0].box.overlap(FACE) > 0.8
    right = Box(FACE.left + 512, FACE.top, FACE.right + 512, FACE.bottom)
    assert faces[1].box.overlap(right) > 0.8


def test_threads_do_not_mix_their_images(detector):
    images = [one_face().numpy(), tensor(data.brick()).numpy(), two_faces().numpy()] * 8
    wanted = [len(found(detector, image)) for image in images]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda image: len(found(detector, image)), images))
    assert numbers == wanted == [1, 0, 2] * 8


@pytest.mark.parametrize("times", [2, 4])
def test_boxes_are_in_pixels_of_the_whole_image(detector, times):
    large = one_face().numpy().repeat(times, axis=1).repeat(times, axis=2)
    (face,) = found(detector, large)
    assert face.box.overlap(Box(*(times * place for place in FACE))) > 0.8


def test_a_crop_that_is_all_face_has_one(detector):
    (face,) = found(detector, one_face().numpy()[:, 60:180, 165:285])
    assert face.size > 80


@pytest.mark.parametrize("name", ["brick", "gravel", "text"])
def test_textures_have_no_face(detector, name):
    assert found(detector, tensor(getattr(data, name)()).numpy()) == []


@pytest.mark.parametrize("shape", [(10, 2000), (1, 1), (6400, 3)])
def test_images_without_room_for_a_face_have_none(detector, shape):
    assert found(detector, np.zeros((3, *shape), np.uint8)) == []


@pytest.mark.parametrize("angle", [-40, -20, 20, 40])
def test_landmarks_turn_with_the_face(detector, angle):
    upright = Image.fromarray(data.astronaut()[40:200, 140:300])
    turned = np.asarray(upright.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(99, 99, 99)))
    ((face,), (other,)) = (
        found(detector, np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        for pixels in (np.asarray(upright), turned)
    )
    assert roll(other) - roll(face) == pytest.approx(-angle, abs=15)


def roll(face):
    """Return by how many degrees the line between the eyes is turned."""
    (left, above), (right, below), *_ = face.landmarks
    return np.degrees(np.arctan2(below - above, right - left))


def test_box_and_landmarks_do_not_depend_on_the_size_of_the_image(detector):
    image = one_face().numpy()
    (face,) = found(detector, image)
    (large,) = found(detector, image.repeat(3, axis=1).repeat(3, axis=2))
    for one, other in zip(face.landmarks, large.landmarks, strict=True):
        assert np.hypot(other[0] / 3 - one[0], other[1] / 3 - one[1]) < 0.05 * face.size


def test_without_the_packages_it_says_what_to_install(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(FaceproofError, match=r"onnxruntime, .*'faceproof\[faces\]'"):
            RetinaFace()
    monkeypatch.setattr(retinaface, "PACKAGE", "no-such-package")
    with pytest.raises(FaceproofError, match="the package no-such-package, which is not installed"):
        RetinaFace()


def test_another_network_than_the_one_that_was_measured_is_refused(monkeypatch):
    monkeypatch.setattr(retinaface, "DIGEST", "0" * 64)
    with pytest.raises(FaceproofError, match="does not have the network that it should have"):
        RetinaFace()
    monkeypatch.setattr(retinaface, "WEIGHTS", "gone.py")
    with pytest.raises(FaceproofError, match="does not have the network"):
        RetinaFace()
