"""Pseudo-fakes in the loader: which rows they are of, and by which draws."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from faceproof.augment.autoencoder import TinyAutoencoder
from faceproof.augment.self_blending import RATIOS, Oval
from faceproof.augment.synthesis import Synthesis
from faceproof.augment.synthesis_config import KINDS, SynthesisConfig, check_input_fits
from faceproof.data.balance import Balance
from faceproof.data.model_input import Crop, Fit, RandomCrop, fit_image
from faceproof.data.synthesised import Synthesised
from faceproof.errors import FaceproofError
from tests.augment.test_web import photo

# Five given rows, of which three are real, and both kinds: fakes are rows 5 to 10, then 11 to 16.
ROWS = Synthesised(5, 3, tuple(KINDS), Balance((np.arange(6),), (6,)), False)
FIT = Fit(64, "bilinear")


def test_given_rows_are_as_they_are() -> None:
    image = photo()
    assert all(Synthesis(ROWS, 0, FIT)(image, 1, row) is image for row in range(5))


@pytest.mark.parametrize("row", range(5, 11))
def test_a_pseudo_fake_and_the_image_beside_it_have_the_same_draws(row: int) -> None:
    make, image = Synthesis(ROWS, 3, FIT), photo(64, 64)
    fake, beside = make(image, 2, row), make(image, 2, row + 6)
    kind, number = ("self_blended", row - 5) if row < 8 else ("reconstructed", row - 5)
    first, second = (np.random.default_rng((3, 2, 3, number)) for _ in range(2))
    assert np.array_equal(fake, KINDS[kind].fake(image, first, Oval()))
    assert np.array_equal(beside, KINDS[kind].beside(image, second))
    assert np.array_equal(pickle.loads(pickle.dumps(make))(image, 2, row), fake)


def test_an_autoencoder_takes_the_place_of_the_up_samplers_and_of_nothing_else() -> None:
    torch.manual_seed(0)
    autoencoder = TinyAutoencoder(4, 6).eval()
    plain, make = (Synthesis(ROWS, 3, FIT, autoencoder=one) for one in (None, autoencoder))
    image = photo(64, 64)
    for row in range(5, 17):
        same = np.array_equal(make(image, 2, row), plain(image, 2, row))
        assert same is (row not in (8, 9, 10)), row
    expected = autoencoder.reconstruct(image)
    ratio = RATIOS[int(np.random.default_rng((3, 2, 3, 4)).integers(len(RATIOS)))]
    blended = image + ratio * (expected.astype(float) - image)
    assert np.abs(make(image, 2, 9) - blended).max() <= 1  # of a grey level, by rounding
    again = pickle.loads(pickle.dumps(make))  # as a worker process gets it
    assert np.array_equal(again(image, 2, 9), make(image, 2, 9))
    large = photo(97, 80)  # is resized to what the network sees, and so is what is made of it
    assert make(large, 2, 9).shape == (3, 64, 64)


def test_every_epoch_seed_and_row_has_draws_of_its_own() -> None:
    calls = [(0, 0, 5), (1, 0, 5), (0, 1, 5), (0, 0, 6), (0, 0, 7)]
    found = {
        Synthesis(ROWS, seed, FIT)(photo(), epoch, row).tobytes() for seed, epoch, row in calls
    }
    assert len(found) == len(calls)


def test_a_face_is_where_its_oval_is() -> None:
    ovals = np.full((3, 6), np.nan, np.float32)
    ovals[1] = 0.2, 0.2, 0.05, 0, 0, 0.05  # centre, right and down
    make, image = Synthesis(ROWS, 0, FIT, ovals), photo(60, 60)
    changes = [(make(image, 0, row) != make(image, 0, row + 6)).any(0) for row in (5, 6)]
    assert changes[0][30:, 30:].any()
    assert not changes[1][25:].any()
    assert not changes[1][:, 25:].any()


@pytest.mark.parametrize("beside", [0, 6])
def test_images_are_resized_as_far_as_a_resize_would_lose_what_is_made(beside: int) -> None:
    blended, reconstructed, given = 5 + beside, 8 + beside, 0
    resize, crop = Fit(16, "bilinear"), Fit(16, "bilinear", Crop())
    to_side = Fit(16, "bilinear", Crop(resize_to=20))
    shapes = {
        (resize, blended): (3, 32, 64), (resize, reconstructed): (3, 16, 16),
        (crop, blended): (3, 40, 80), (crop, reconstructed): (3, 40, 80),
        (to_side, blended): (3, 20, 40), (to_side, reconstructed): (3, 20, 40),
        (resize, given): (3, 40, 80), (to_side, given): (3, 40, 80),
    }  # fmt: skip
    for (fit, row), shape in shapes.items():
        assert Synthesis(ROWS, 0, fit)(photo(40, 80), 0, row).shape == shape
    assert Synthesis(ROWS, 0, resize)(photo(32, 80), 0, blended).shape == (3, 32, 80)


@pytest.mark.parametrize("crop", [None, Crop(), Crop(resize_to=48)])
@pytest.mark.parametrize("row", [5, 8])
def test_what_the_network_sees_of_a_pair_differs(row: int, crop: Crop | None) -> None:
    """The image is much larger than what the network sees of it."""
    fit, image = Fit(32, "bilinear", crop), photo(256, 256)
    make = Synthesis(ROWS, 0, fit)
    for epoch in range(8):
        two = [make(image, epoch, one) for one in (row, row + 6)]
        if crop is None:
            seen = [fit_image(one, *fit).numpy() for one in two]
        else:
            cut = RandomCrop(fit, 0, lambda _: (1, 7), through=make.through)
            seen = [cut(one, epoch, row) for one in two]
        different = (seen[0] != seen[1]).any(0)
        assert different.mean() > 0.05


def test_a_crop_holds_a_point_of_the_oval() -> None:
    ovals = np.full((3, 6), np.nan, np.float32)
    ovals[1] = 0.2, 0.3, 0.05, 0, 0, 0.1
    make = Synthesis(ROWS, 0, Fit(16, "bilinear", Crop()), ovals)
    for draw in (0, 0.25, 0.6):
        x, y = make.through(6, draw)  # type: ignore[misc]
        assert ((x - 0.2) / 0.05) ** 2 + ((y - 0.3) / 0.1) ** 2 == pytest.approx(0.25)
    assert make.through(8, 0.5) is None
    assert make.through(2, 0.5) is None
    marked = np.zeros((3, 100, 100), np.uint8)
    x, y = 0.25, 0.3
    marked[:, int(100 * y), int(100 * x)] = 255
    cut = RandomCrop(make.fit, 0, through=lambda row, draw: (x, y))
    assert all(cut(marked, epoch, 0).max() == 255 for epoch in range(50))
    assert len({cut(marked, epoch, 0).tobytes() for epoch in range(50)}) > 20


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


def test_an_autoencoder_that_would_change_nothing_or_is_not_there_is_refused(
    tmp_path: Path,
) -> None:
    file = str(tmp_path / "tiny.safetensors")
    for share, kinds in ((0.0, ("reconstructed",)), (0.5, ("self_blended",))):
        with pytest.raises(FaceproofError, match="changes nothing without the kind reconstructed"):
            SynthesisConfig(share, kinds, autoencoder=file)
    with pytest.raises(FaceproofError, match=r"autoencoder = .*tiny\.safetensors is not there"):
        SynthesisConfig(0.5, ("reconstructed",), autoencoder=file)


def test_whole_images_go_through_an_autoencoder_only_where_their_size_is_known(
    tmp_path: Path,
) -> None:
    (tmp_path / "tiny.safetensors").touch()
    file = str(tmp_path / "tiny.safetensors")
    config = SynthesisConfig(0.5, ("reconstructed",), autoencoder=file)
    with pytest.raises(FaceproofError, match=r"set model\.input\.resize_to, such as 256"):
        check_input_fits(config, "crop", None)
    assert check_input_fits(config, "crop", 256) is check_input_fits(config, "resize", None) is None
    assert check_input_fits(SynthesisConfig(), "crop", None) is None
