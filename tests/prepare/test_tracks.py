"""Following faces: who stays one track, and who is another."""

import numpy as np

from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import CropConfig
from faceproof.prepare.detectors import load_detector
from faceproof.prepare.finding import find_faces
from faceproof.prepare.tracks import Track, Tracker, largest_track, steadiest_track
from tests.small_faces import scene


def followed(frames):
    """Return the track of each face; `frames` lists the people (number, x, y, size) in each."""
    tracker, detector = Tracker(), load_detector("retinaface")
    found = []
    for number, people in enumerate(frames):
        image = np.ascontiguousarray(scene(people).transpose(2, 0, 1))
        faces = find_faces(image, detector, CropConfig(min_score=0.5)).faces
        faces.sort(key=lambda face: [abs(face.box.left - person[1]) for person in people])
        assert len(faces) == len(people)
        found.append(tracker.update(number, image, faces))
    return found, tracker.tracks


def test_a_face_that_moves_is_one_track():
    found, tracks = followed([[(1, 80 + 10 * n, 128, 120)] for n in range(8)])
    assert found == [[0]] * 8
    assert tracks[0].frames == list(range(8))


def test_two_people_are_two_tracks_whatever_their_order():
    one, other = (1, 70, 128, 120), (2, 190, 128, 120)
    found, _ = followed([[one, other], [other, one], [one, other]])
    assert found == [[0, 1], [1, 0], [0, 1]]


def test_a_person_who_comes_back_after_a_cut_is_the_same():
    here, elsewhere = [(1, 70, 128, 120)], [(3, 128, 128, 160)]
    found, _ = followed([here, here, elsewhere, elsewhere, [(1, 180, 100, 120)]])
    assert found == [[0], [0], [1], [1], [0]]


def test_another_person_in_the_same_place_is_another_track():
    found, _ = followed([[(1, 128, 128, 120)], [(4, 128, 128, 120)]])
    assert found == [[0], [1]]


def test_frames_without_a_face_end_nothing():
    person = [(1, 100, 128, 120)]
    found, tracks = followed([person, [], [], person])
    assert found == [[0], [], [], [0]]
    assert tracks[0].frames == [0, 3]


def track(number, boxes):
    return Track(number, np.zeros(1, np.float32), list(range(len(boxes))), boxes)


def test_the_largest_track_has_the_most_pixels_over_all_frames():
    near, often = track(0, [Box(0, 0, 50, 50)]), track(1, [Box(0, 0, 30, 30)] * 4)
    assert largest_track([near, often]) is often
    same = track(2, [Box(0, 0, 50, 50)])
    assert largest_track([same, near]) is near


def test_the_steadiest_track_moves_least_for_its_size_and_is_not_a_glimpse():
    walks = track(0, [Box(10 * n, 0, 10 * n + 40, 40) for n in range(6)])
    sits = track(1, [Box(n, 0, n + 40, 40) for n in range(6)])
    glimpse = track(2, [Box(0, 0, 40, 40)] * 2)
    assert steadiest_track([walks, sits, glimpse]) is sits
    assert walks.movement == 0.25
    assert track(3, [Box(0, 0, 9, 9)]).movement == 0
