"""The face detectors by name, and one of the user's own."""

import pytest

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.prepare.detectors import describe_detector, load_detector

OWN = """
from faceproof.prepare.boxes import Box
from faceproof.prepare.face import Face

class Middle:
    name, version = "middle", "1"
    def __call__(self, images):
        return [[Face(Box(2, 2, 6, 6), 1.0)] for _ in images]

class Nothing:
    pass
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_faces.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lookup, "_allowed", {"own_faces"})


def test_a_class_of_ones_own_is_a_detector(own):
    assert load_detector("own_faces.Middle")([None])[0][0].box.right == 6
    assert describe_detector("own_faces.Middle") == "middle 1"


def test_what_is_no_detector_is_refused(own):
    with pytest.raises(FaceproofError, match=r"own_faces\.Nothing' is no face detector: it has no"):
        load_detector("own_faces.Nothing")


def test_code_that_nobody_allowed_is_not_run():
    with pytest.raises(FaceproofError, match="is code that is not faceproof's"):
        load_detector("os.system")
    with pytest.raises(FaceproofError, match="did you mean retinaface"):
        load_detector("retinafase")
