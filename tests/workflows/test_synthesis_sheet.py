"""The picture of a run's pseudo-fakes, and what its record says of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceproof.data.table import counts
from faceproof.io.parquet import read_parquet
from faceproof.io.run_folder import RunFolder
from faceproof.workflows.training_record import training_record
from tests.conftest import write_images
from tests.jobs import train

WORDS = (
    "data=real_fake_folders", "model=face_cnn", "model.input.size=16", "trainer=smoke",
    "loader.num_workers=0", "logger=csv", "data.allow_leaks=true",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("both")
    for label in ("Real", "Fake"):
        write_images(folder / label, [f"{n}.jpg" for n in range(10)], face=label == "Real")
    return folder


def test_a_run_shows_its_pseudo_fakes_and_records_no_file_of_them(
    root: Path, tmp_path: Path
) -> None:
    run = train(tmp_path / "run", *WORDS, f"data.root={root}", "synthesis=both", "augment=none")
    sheet = np.asarray(Image.open(run.synthesis))
    assert min(sheet.shape[:2]) > 200
    assert sheet.std() > 20  # something is drawn
    assert read_images(run) == 20
    assert run.read_record()["synthesis"].endswith("an epoch (self_blended, reconstructed)")
    assert str(training_record(run)["pseudo-fakes"]).endswith(", share=0.5, faces=auto")
    samples = read_parquet(run.samples)
    assert set(counts(samples, "generator")) == {(None,)}


def read_images(run: RunFolder) -> int:
    """Return how many images a run says that it has."""
    words = run.read_record()["images"]
    return sum(int(part.rpartition(" ")[2]) for part in words.split("; "))


def test_without_pseudo_fakes_there_is_no_picture(root: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run", *WORDS, f"data.root={root}")
    assert not run.synthesis.exists()
    assert run.read_record()["synthesis"] is None
    assert "pseudo-fakes" not in training_record(run)
