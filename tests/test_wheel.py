"""The wheel, built from the source distribution and used in a folder without a checkout."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.jobs import REPOSITORY

TINY = (
    "data=demo_faces", "data.num_per_class=20", "model=face_cnn", "model.input.size=16",
    "trainer=smoke", "logger=csv", "loader.batch_size=8", "loader.num_workers=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def faceproof(built, tmp_path_factory):
    """Return what runs the unpacked wheel in a folder of its own."""
    place, home = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("home")
    with zipfile.ZipFile(*built.glob("*.whl")) as wheel:
        wheel.extractall(place)

    def run(*words):
        return subprocess.run(
            [sys.executable, "-P", *words], cwd=home, env=os.environ | {"PYTHONPATH": str(place)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    run.home, run.place = home, place
    return run


def test_what_is_in_it(built, faceproof):
    where = faceproof("-c", "import faceproof, hydra_plugins.faceproof as p; "
                      "print(faceproof.__file__, p.__file__)")  # fmt: skip
    assert all(Path(file).is_relative_to(faceproof.place) for file in where.split())
    inside = {path.relative_to(faceproof.place).as_posix() for path in faceproof.place.rglob("*")}
    assert {"faceproof/py.typed", "faceproof/__init__.pyi", "faceproof/server/static/page.js",
            "faceproof/workflows/starter/README.md"} <= inside  # fmt: skip
    for group in ("model", "data", "hydra/launcher"):
        for file in (REPOSITORY / "conf" / group).glob("*.yaml"):
            assert f"faceproof/conf/{group}/{file.name}" in inside
    assert not [name for name in inside if name.endswith((".pyc", ".orig", ".ckpt"))]
    with tarfile.open(*built.glob("*.tar.gz")) as sources:
        names = {name.partition("/")[2] for name in sources.getnames()}
    assert {"train.py", "tests/conftest.py", "docs/architecture.md", "LICENSE"} <= names


def test_it_trains_evaluates_exports_and_predicts_without_a_checkout(faceproof):
    own = faceproof.home / "conf/model"
    own.mkdir(parents=True)
    face_cnn = (REPOSITORY / "conf/model/face_cnn.yaml").read_text()
    (own / "mine.yaml").write_text(face_cnn.replace("name: face_cnn\nw", "name: mine\nw"))
    said = faceproof("-m", "faceproof", "train", *TINY, "model=mine", "hydra.run.dir=run")
    assert "faceproof evaluate run=run" in said
    assert json.loads((faceproof.home / "run/record.json").read_text())["model"] == "mine"
    faceproof("-m", "faceproof", "evaluate", "run=run", "split=val")
    assert [*faceproof.home.glob("run/evaluations/*/report.html")]
    faceproof("-m", "faceproof", "export", "run", "--to", "detector")
    images = next(faceproof.home.glob("data/demo_faces/**/face"))
    faceproof("-m", "faceproof", "predict", str(images), "--detector", "detector",
              "--out", "answers.csv")  # fmt: skip
    assert len((faceproof.home / "answers.csv").read_text().splitlines()) == 21
