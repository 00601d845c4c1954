"""Faces in images and frames, and what a detector of one's own may answer."""

import numpy as np
import pytest

from faceproof.errors import FaceproofError
from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import CropConfig
from faceproof.prepare.face import Face
from faceproof.prepare.finding import FRAMES_AT_ONCE, find_faces, find_in_frames
from faceproof.prepare.tracks import Tracker
from faceproof.prepare.video import Frame

IMAGE = np.zeros((3, 64, 64), np.uint8)


class Answers:
    """A detector that answers what it is told to."""

    name, version = "answers", "1"

    def __init__(self, *faces):
        self.faces, self.batches = list(faces), []

    def __call__(self, images):
        self.batches.append(len(images))
        return [self.faces for _ in images]


def test_numbers_of_numpy_become_plain_ones():
    box = Box(*np.array([2.4, 3.6, 40.2, 41.5], np.float32))
    face = Face(box, np.float32(0.9), tuple(map(tuple, np.ones((5, 2)))))
    (found,) = find_faces(IMAGE, Answers(face), CropConfig()).faces
    assert found.box == (2, 4, 40, 42)
    assert {type(place) for place in found.box} == {int}
    assert type(found.score) is float
    assert found.landmarks == ((1.0, 1.0),) * 5


@pytest.mark.parametrize(
    "face",
    [None, "face", Face(Box(0, 0, 9, 9), float("nan")), Face(Box(0, 0, float("inf"), 9), 0.9),
     Face(Box(0, 0, 9, 9), 0.9, ((1.0, float("nan")),))],
)  # fmt: skip
def test_what_is_no_face_is_refused(face):
    with pytest.raises(FaceproofError, match="the face detector answers gave what are no faces"):
        find_faces(IMAGE, Answers(face), CropConfig())


def test_an_answer_for_each_image_is_wanted():
    detector = Answers()
    detector.__class__ = type("Few", (Answers,), {"__call__": lambda self, images: []})
    with pytest.raises(FaceproofError, match="gave 0 lists of faces for 1 images"):
        find_faces(IMAGE, detector, CropConfig())


def test_the_largest_comes_first_and_what_is_no_good_is_counted():
    small, large = Face(Box(0, 0, 30, 30), 0.9), Face(Box(0, 0, 50, 50), 0.9)
    unsure, tiny = Face(Box(0, 0, 40, 40), 0.1), Face(Box(0, 0, 5, 5), 0.9)
    found = find_faces(IMAGE, Answers(small, unsure, large, tiny), CropConfig())
    assert (found.faces, found.rejected) == ([large, small], 2)


def test_few_frames_are_held_at_a_time():
    detector, taken = Answers(), []

    def frames():
        for number in range(10):
            taken.append(number)
            yield Frame(float(number), IMAGE)

    for place, found in enumerate(find_in_frames(frames(), detector, CropConfig(), Tracker())):
        assert found.frame.time == place
        assert len(taken) <= place + FRAMES_AT_ONCE
    assert sum(detector.batches) == 10
