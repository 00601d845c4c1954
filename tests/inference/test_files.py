"""Reading and judging files: paths are taken as they are needed."""

from itertools import count, islice

import pytest

from faceproof.inference.files import Loading, load_files
from tests.conftest import write_images


@pytest.mark.parametrize("workers", [0, 2])
def test_paths_are_taken_as_they_are_needed(tmp_path, workers):
    """A list without end is no trouble: few paths are asked for ahead."""
    (image,) = write_images(tmp_path, ["a.jpg"])
    asked = count()
    endless = (str(image) for _ in asked)
    batches = load_files(endless, [(16, "bilinear")], Loading(4, workers))
    found = list(islice(batches, 3))
    assert [len(loaded.files) for loaded in found] == [4, 4, 4]
    assert found[0].fitted[16, "bilinear"].shape == (4, 3, 16, 16)
    assert next(asked) <= 4 * (1 + 3 + 2 * 2) + 1
    batches.close()
