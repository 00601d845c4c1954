"""The face detector: where faces are found, and that textures are not taken for faces."""

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.prepare import face_detector
from faceproof.prepare.boxes import Box
from faceproof.prepare.face_detector import find_faces
from tests.small_photographs import data, one_face, tensor, two_faces

FACE = Box(175, 66, 275, 166)  # from hair to chin, read off the astronaut's photograph


def is_at(box, place):
    common = box.common(place)
    return common / (box.area + place.area - common) > 0.7


def moved(box, right):
    return Box(box.left + right, box.top, box.right + right, box.bottom)


def test_a_face_is_found_where_it_is():
    (box,) = find_faces(one_face())
    assert is_at(box, FACE)
    assert find_faces(one_face()) == [box]


def test_two_faces_are_found_side_by_side():
    found = sorted(find_faces(two_faces()), key=lambda box: box.left)
    assert len(found) == 2
    assert is_at(found[0], FACE)
    assert is_at(found[1], moved(FACE, 512))
    assert find_faces(two_faces(), most=1) == [max(found, key=lambda box: box.area)]


def test_boxes_are_in_pixels_of_the_whole_image():
    large = one_face().repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
    box, *_ = find_faces(large)  # with scipy 1.14 the cascade finds two more, in its texture
    assert is_at(box, Box(*(3 * place for place in FACE)))


@pytest.mark.parametrize("name", ["brick", "gravel", "text"])
def test_textures_have_no_face(name):
    assert find_faces(tensor(getattr(data, name)())) == []


def test_images_without_room_for_a_face_have_none():
    assert find_faces(torch.zeros(3, 10, 2000, dtype=torch.uint8)) == []
    assert find_faces(torch.zeros(3, 1, 1, dtype=torch.uint8)) == []


def test_a_long_strip_is_not_searched_for_long(monkeypatch):
    searched = []
    monkeypatch.setattr(
        face_detector, "_detect", lambda pixels, *_: searched.append(pixels.shape[:2]) or []
    )
    find_faces(torch.zeros(3, 6400, 320, dtype=torch.uint8))
    find_faces(torch.zeros(3, 320, 320, dtype=torch.uint8))
    strip, square = (height * width for height, width in searched)
    assert strip <= 1.02 * face_detector.MAX_LONG * square


def test_too_small_a_face_is_not_looked_for():
    assert find_faces(one_face(), smallest=0.5) == []
    with pytest.raises(FaceproofError, match="most = 0 must be a count"):
        find_faces(one_face(), most=0)
    with pytest.raises(FaceproofError, match="smallest = 0 a share above 0"):
        find_faces(one_face(), smallest=0)


def test_overlapping_boxes_become_the_largest_of_them():
    large, inside, apart = Box(0, 0, 50, 50), Box(10, 10, 40, 40), Box(45, 0, 75, 30)
    every = [apart, inside, large]
    assert face_detector._largest(every, 8, lambda box: True) == [large, apart]
    assert face_detector._largest(every, 8, lambda box: box != large) == [inside, apart]
    equal = [Box(200, 0, 210, 10), Box(100, 0, 110, 10)]
    assert face_detector._largest(equal, 8, lambda box: True) == equal[::-1]


def test_no_more_is_looked_at_twice_than_is_wanted():
    every = [Box(20 * n, 0, 20 * n + 10, 10) for n in range(50)]
    asked = []
    found = face_detector._largest(every, 2, lambda box: asked.append(box) or box != every[0])
    assert (found, asked) == (every[1:3], every[:3])
