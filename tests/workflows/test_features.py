"""`faceproof features` on a small run, and what it writes."""

import errno
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from faceproof.data.run_tables import read_samples
from faceproof.data.table import table_from_columns, write_table
from faceproof.errors import FaceproofError
from faceproof.explain.features import map_features
from faceproof.io.atomic import CannotWriteError
from faceproof.workflows.features import FeaturesConfig, features, write
from tests.explain.test_features import clusters, rows_of
from tests.explained_run import make_explained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Make what train.py and evaluate.py leave, without training."""
    return make_explained_run(tmp_path_factory.mktemp("runs") / "small")


def write_all(out, values, words, seed=0):
    rows = rows_of(words)
    found = map_features(values, rows, "title", seed)
    write(out, found, (values, rows, torch.rand(40, 3, 8, 8)), ("real", "fake"))


def test_features_are_drawn_and_written_for_the_projector(run, capsys):
    features(FeaturesConfig(run.path, sample=20))
    found = json.loads((run.path / "features" / "features.json").read_text())
    assert found["num_images"] == 20
    assert set(found["nearest"]) == {"class", "generator"}
    assert (run.path / "features" / "projector_config.pbtxt").is_file()
    assert "nearest neighbour of the same class" in capsys.readouterr().out


def test_features_are_of_one_image_of_a_group(run, tmp_path):
    rows = read_samples(run)
    groups = [f"video {number // 4}" for number in range(rows.num_rows)]
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    copied = shutil.copytree(run.path, tmp_path / "run")
    write_table(table_from_columns(columns | {"group": groups}), copied / "samples.parquet")
    features(FeaturesConfig(copied))
    found = json.loads((copied / "features" / "features.json").read_text())
    assert found["num_images"] == rows.num_rows // 4 == 6


def test_the_largest_seed_is_taken(run, tmp_path):
    out = tmp_path / "x"
    features(FeaturesConfig(run.path, sample=8, seed=2**32 - 1, out=out))
    assert json.loads((out / "features.json").read_text())["seed"] == 2**32 - 1


def test_a_file_is_no_folder_to_write_to(run, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FaceproofError, match=r"file is a file; give --out a folder"):
            FeaturesConfig(run.path, out=out)


def test_features_need_no_captum(run, tmp_path):
    program = (
        "import sys; from pathlib import Path; sys.modules['captum'] = None; "
        "from faceproof.workflows.features import FeaturesConfig, features; "
        f"features(FeaturesConfig(Path({str(run.path)!r}), sample=8, "
        f"out=Path({str(tmp_path / 'x')!r})))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_everything_is_written_projector_included(tmp_path):
    values, words = clusters()
    out = tmp_path / "features"
    write_all(out, values, words)
    found = json.loads((out / "features.json").read_text())
    assert found["nearest"]["class"]["share"] == 1
    assert (out / "features.png").stat().st_size > 10_000
    files = next(out.glob("0*/features"))
    metadata = (files / "metadata.tsv").read_text().splitlines()
    assert metadata[0] == "class\tsource\tgenerator\tfile"
    assert metadata[1] == "real\tdemo\tnone\t0 .jpg"
    assert len(metadata) == 41
    tensors = np.loadtxt(files / "tensors.tsv")
    assert tensors.shape == (40, 39)  # as many directions as 40 images have
    assert (files / "sprite.png").is_file()
    assert "metadata.tsv" in (out / "projector_config.pbtxt").read_text()


def test_features_are_replaced_whole_and_nothing_else(tmp_path):
    values, words = clusters()
    out = tmp_path / "features"
    write_all(out, values, words, seed=0)
    write_all(out, values, words, seed=1)
    assert json.loads((out / "features.json").read_text())["seed"] == 1
    assert len(list(out.glob("events.*"))) == 1
    (out / "thesis.txt").touch()
    with pytest.raises(FaceproofError, match=r"has not written there: thesis\.txt; move that away"):
        write_all(out, values, words, seed=0)
    assert (out / "thesis.txt").is_file()


def test_features_that_find_no_room_leave_the_earlier_ones(tmp_path, monkeypatch):
    values, words = clusters()
    out = tmp_path / "features"
    write_all(out, values, words, seed=0)
    there = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}

    def fail(*given, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(CannotWriteError, match="could not be written: the disk is full") as told:
        write_all(out, values, words, seed=1)
    assert "partial" not in str(told.value)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == there
    assert list(tmp_path.iterdir()) == [out]
