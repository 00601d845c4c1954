"""Reading and judging files: paths are taken as they are needed."""

import errno
from itertools import count, islice

import pytest
import torch

from faceproof.data.model_input import Crop, Fit
from faceproof.inference.files import Loading, load_files
from tests.conftest import write_images


@pytest.mark.parametrize("workers", [0, 2])
def test_paths_are_taken_as_they_are_needed(tmp_path, workers):
    """A list without end is no trouble: few paths are asked for ahead."""
    (image,) = write_images(tmp_path, ["a.jpg"])
    asked = count()
    endless = (str(image) for _ in asked)
    batches = load_files(endless, [Fit(16, "bilinear")], Loading(4, workers))
    found = list(islice(batches, 3))
    assert [len(loaded.files) for loaded in found] == [4, 4, 4]
    assert found[0].fitted[Fit(16, "bilinear")].shape == (4, 3, 16, 16)
    assert next(asked) <= 4 * (1 + 3 + 2 * 2) + 1
    batches.close()


def test_no_batch_needs_the_shared_memory_of_a_container(tmp_path, monkeypatch):
    """Torch would lose without a word a batch that finds no room in /dev/shm."""

    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("_share_fd_cpu_", "_share_filename_cpu_"):
        monkeypatch.setattr(torch.UntypedStorage, name, no_room)
    paths = [str(path) for path in write_images(tmp_path, [f"{n}.jpg" for n in range(6)])]
    fits = [Fit(16, "bilinear"), Fit(8, "bilinear", Crop(tiles=4))]
    monkeypatch.setattr("faceproof.inference.files.PATIENCE", 20.0)
    alone, together = (list(load_files(paths, fits, Loading(4, n))) for n in (0, 2))
    assert [loaded.counts for loaded in together] == [[1] * 4, [1] * 2]
    for one, other in zip(alone, together, strict=True):
        assert one.files == other.files
        assert all(torch.equal(one.fitted[fit], other.fitted[fit]) for fit in fits)
