"""Where faces are by `synthesis.faces`: what is not known is said, or refused."""

import numpy as np
import pytest

from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.training import face_places
from faceproof.training.face_places import place_faces

REAL = table_from_columns({"path": ["/a.png", "/b.png"], "label": ["real", "real"]})


def config(faces: str, kind: str = "self_blended") -> SynthesisConfig:
    return SynthesisConfig(0.5, (kind,), faces)


@pytest.mark.parametrize("one", [config("portrait"), config("auto", "reconstructed")])
def test_without_need_no_face_is_looked_for(
    one: SynthesisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_places, "stored_ovals", None)
    monkeypatch.setattr(face_places, "found_ovals", None)
    assert place_faces(REAL, one, 0) is None


def test_where_nothing_is_stored_auto_takes_the_place_of_a_portrait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    assert place_faces(REAL, config("auto"), 0) is None
    assert "no image says where its face is" in caplog.text
    assert "synthesis.faces=found finds the faces first" in caplog.text
    with pytest.raises(FaceproofError, match="no real training image is a crop of faceproof prep"):
        place_faces(REAL, config("stored"), 0)


@pytest.mark.parametrize("faces", ["auto", "stored", "found"])
def test_how_many_places_are_not_known_is_said(
    faces: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ovals = np.array([[0.5, 0.5, 0.1, 0, 0, 0.1], [np.nan] * 6], np.float32)
    monkeypatch.setattr(face_places, "stored_ovals", lambda paths: ovals)
    monkeypatch.setattr(face_places, "found_ovals", lambda rows, most: ovals)
    monkeypatch.setattr(face_places, "with_content", lambda rows: rows)
    assert place_faces(REAL, config(faces), 0) is ovals
    assert "of 1 of 2 real training images it is not known where the face is" in caplog.text
