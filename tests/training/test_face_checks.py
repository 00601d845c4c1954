"""`synthesis.faces` that cannot work is refused before any image is looked at."""

from pathlib import Path

import pytest

from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.data.combined import CombinedData
from faceproof.data.listing import DataSet, DemoData, Source
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.prepare import installed
from faceproof.task import get_task
from faceproof.training import face_checks
from faceproof.training.face_checks import check_faces_early

ROWS = {"path": ["/a.png", "/b.png"], "label": ["real", "fake"], "split": ["train"] * 2,
        "source": ["mine"] * 2}  # fmt: skip
LISTED = DataSet("mine", get_task("deepfake"), table_from_columns(ROWS))
MINE = CombinedData("both", "deepfake", {"mine": LISTED})


def config(faces: str, share: float = 0.5) -> SynthesisConfig:
    return SynthesisConfig(share, ("self_blended",), faces)


@pytest.mark.parametrize(
    "source",
    [MINE, DemoData("demo", "deepfake", "demo")],
    ids=["combined", "demo"],
)
def test_stored_landmarks_that_nobody_has_stored_are_refused(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaceproofError, match="no real training image is a crop of faceproof prep"):
        check_faces_early(config("stored"), source)
    assert not any(tmp_path.iterdir())  # nothing is drawn for it


def test_landmarks_of_one_real_image_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(face_checks, "has_landmarks", lambda paths: not asked.extend(paths))
    check_faces_early(config("stored"), MINE)
    assert asked == ["/a.png"]


def test_a_face_detector_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NETWORK", "RUNTIME"):
        with monkeypatch.context() as patched:
            patched.setattr(installed, name, "no_such_package")
            with pytest.raises(FaceproofError, match=r"no_such_package, .*'faceproof\[faces\]'"):
                check_faces_early(config("found"), MINE)


@pytest.mark.parametrize("one", [config("stored", 0.0), config("auto"), config("portrait")])
def test_without_need_nothing_is_listed(one: SynthesisConfig) -> None:
    class Unlisted:
        def list(self) -> DataSet:
            raise AssertionError("it was listed")

    assert check_faces_early(one, Unlisted()) is None
