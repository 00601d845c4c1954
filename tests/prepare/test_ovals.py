"""Ovals around faces: what is stored with crops is what the face detector finds in them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from faceproof.data.listing import DataSet
from faceproof.data.prepared import PreparedData, has_landmarks
from faceproof.data.table import table_from_columns
from faceproof.prepare import ovals
from faceproof.prepare.alignment import TEMPLATE
from faceproof.prepare.ovals import OF_TEMPLATE, found_ovals, oval_of, stored_ovals
from faceproof.task import get_task
from faceproof.workflows.prepare import PrepareConfig, prepare
from faceproof.workflows.prepare_sources import listed_data
from tests.small_faces import write_photograph

PEOPLE = [(1, 128, 128, 150), (2, 60, 90, 140), (3, 200, 200, 150)]  # two at a border


def test_an_oval_follows_the_landmarks() -> None:
    turn = np.array([[0.6, -0.8], [0.8, 0.6]]) * 50  # of the template, of 50 pixels
    points = TEMPLATE @ turn.T + (100, 40)
    centre, right, down = oval_of(points, 200, 400).reshape(3, 2) * (400, 200)
    assert centre == pytest.approx(turn @ OF_TEMPLATE.centre + (100, 40), abs=1e-3)
    assert right == pytest.approx(turn @ OF_TEMPLATE.right, abs=1e-3)
    assert down == pytest.approx(turn @ OF_TEMPLATE.down, abs=1e-3)


def test_what_lies_in_no_prepared_folder_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "a/faces").mkdir(parents=True)
    found = stored_ovals([f"{tmp_path}/a/faces/real/x/1.png", "/nowhere/2.png"])
    assert found.shape == (2, 6)
    assert np.isnan(found).all()


@pytest.mark.parametrize("align", [False, True])
def test_ovals_are_stored_where_they_are_found(
    tmp_path: Path, align: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="finding faces takes faceproof[faces]")
    files = [write_photograph(tmp_path / f"{one[0]}.png", [one]) for one in PEOPLE]
    columns = {"path": [*map(str, files)], "label": ["real"] * 3, "split": ["train"] * 3,
               "source": ["mine"] * 3}  # fmt: skip
    photographs = DataSet("mine", get_task("deepfake"), table_from_columns(columns))
    out = tmp_path / "faces/out"  # a folder may have the name of the crops' own
    how = {"align": align, "size": 160, "workers": 0}
    prepare(PrepareConfig(("unused",), out=out, **how), listed_data(photographs))
    rows = PreparedData("mine", "deepfake", str(out)).list().table
    stored = stored_ovals(rows["path"].to_pylist())
    assert stored.shape == (3, 6)
    assert has_landmarks([str(tmp_path), rows["path"][1].as_py()])
    assert not has_landmarks([f"{out}/faces/real/mine/another.png", str(files[0])])
    digests = pa.array([b"%d %d" % (align, number) for number in range(3)], pa.binary())
    rows = rows.append_column("content", digests)
    found = found_ovals(rows, 10**6)
    assert np.abs(stored - found).max() < 0.05  # of faces that are not quite the template
    monkeypatch.setattr(ovals, "by_all_cores", None)  # what is cached is not searched again
    assert np.array_equal(found_ovals(rows, 10**6), found)


def test_an_image_without_a_face_has_no_oval(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="finding faces takes faceproof[faces]")
    file = write_photograph(tmp_path / "grey.png", [])
    rows = pa.table({"path": [str(file)], "content": pa.array([b"grey"], pa.binary())})
    assert np.isnan(found_ovals(rows, 10**6)).all()
