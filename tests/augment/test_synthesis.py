"""Pseudo-fakes in the loader: which rows they are of, and by which draws."""

import pickle

import numpy as np
import pytest

from faceproof.augment.self_blending import Oval
from faceproof.augment.synthesis import KINDS, Synthesis, SynthesisConfig
from faceproof.data.balance import Balance
from faceproof.data.synthesised import Synthesised
from faceproof.errors import FaceproofError
from tests.augment.test_web import photo

# Five given rows, of which three are real, and both kinds: fakes are rows 5 to 10, then 11 to 16.
ROWS = Synthesised(5, 3, tuple(KINDS), Balance((np.arange(6),), (6,)), False)


def test_given_rows_are_as_they_are() -> None:
    image = photo()
    assert all(Synthesis(ROWS, 0, 64)(image, 1, row) is image for row in range(5))


@pytest.mark.parametrize("row", range(5, 11))
def test_a_pseudo_fake_and_the_image_beside_it_have_the_same_draws(row: int) -> None:
    make = Synthesis(ROWS, 3, 64)
    fake, beside = make(photo(), 2, row), make(photo(), 2, row + 6)
    kind, number = ("self_blended", row - 5) if row < 8 else ("reconstructed", row - 5)
    first, second = (np.random.default_rng((3, 2, 2, number)) for _ in range(2))
    assert np.array_equal(fake, KINDS[kind].fake(photo(), first, Oval()))
    assert np.array_equal(beside, KINDS[kind].beside(photo(), second))
    assert np.array_equal(pickle.loads(pickle.dumps(make))(photo(), 2, row), fake)


def test_every_epoch_seed_and_row_has_draws_of_its_own() -> None:
    calls = [(0, 0, 5), (1, 0, 5), (0, 1, 5), (0, 0, 6), (0, 0, 7)]
    found = {Synthesis(ROWS, seed, 64)(photo(), epoch, row).tobytes() for seed, epoch, row in calls}
    assert len(found) == len(calls)


def test_a_face_is_where_its_oval_is() -> None:
    ovals = np.full((3, 6), np.nan, np.float32)
    ovals[1] = 0.2, 0.2, 0.05, 0, 0, 0.05  # centre, right and down
    make, image = Synthesis(ROWS, 0, 64, ovals), photo(60, 60)
    changes = [(make(image, 0, row) != make(image, 0, row + 6)).any(0) for row in (5, 6)]
    assert changes[0][30:, 30:].any()
    assert not changes[1][25:].any()
    assert not changes[1][:, 25:].any()


@pytest.mark.parametrize("row", [5, 8, 11, 14])
def test_large_images_are_made_smaller_first(row: int) -> None:
    make = Synthesis(ROWS, 0, 16)
    assert make(photo(40, 80), 0, row).shape == (3, 32, 64)
    assert make(photo(32, 80), 0, row).shape == (3, 32, 80)
    assert make(photo(40, 80), 0, 0).shape == (3, 40, 80)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.5}, "share = 1.5 must be a share"),
        ({"share": 0.5}, r"kinds = \[\] makes nothing for synthesis.share = 0.5"),
        ({"kinds": ("swapped",)}, "must be a list of some of self_blended, reconstructed"),
        ({"kinds": ("self_blended",) * 2}, "must be a list of some of"),
        (
            {"share": 0.5, "kinds": ("reconstructed",), "faces": "found"},
            "faces = found changes not",
        ),
        ({"faces": "eyes"}, "faces = 'eyes' must be one of auto, stored, found, portrait"),
    ],
)
def test_settings_without_a_meaning_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(FaceproofError, match=message):
        SynthesisConfig(**wrong)  # type: ignore[arg-type]
