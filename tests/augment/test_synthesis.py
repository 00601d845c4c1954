"""Pseudo-fakes in the loader: which rows they are of, and by which draws."""

import itertools
import math
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from faceproof.augment.autoencoder import TinyAutoencoder
from faceproof.augment.blending import blend
from faceproof.augment.donors import Donors, Ovals
from faceproof.augment.reconstruction import reconstruct
from faceproof.augment.self_blending import RATIOS, Oval, self_blend, target_of
from faceproof.augment.synthesis import Synthesis
from faceproof.augment.synthesis_config import KINDS, SynthesisConfig, check_input_fits
from faceproof.data.balance import Balance
from faceproof.data.datasets import ImageGoneError
from faceproof.data.image_io import Pixels
from faceproof.data.model_input import Crop, Fit, RandomCrop, fit_image
from faceproof.data.synthesised import Synthesised
from faceproof.errors import FaceproofError
from tests.augment.test_web import photo

# Five given rows, of which three are real, and all kinds: fakes are rows 5 to 13, in threes of
# self-blended, blended and reconstructed ones; the images beside them are rows 14 to 22.
ROWS = Synthesised(5, 3, tuple(KINDS), Balance((np.arange(9),), (9,)), False)
BESIDE = 9
SELF_BLENDED, BLENDED, RECONSTRUCTED = range(5, 8), range(8, 11), range(11, 14)
FIT = Fit(64, "bilinear")


@pytest.fixture
def real(tmp_path: Path) -> pa.Table:
    """Three real images, the first two of one source."""
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(photo(48, 56 + number).transpose(1, 2, 0)).save(path)
    return pa.table({"path": paths, "source": ["a", "a", "b"]})


def synthesis(
    real: pa.Table, rows: Synthesised = ROWS, seed: int = 3, fit: Fit = FIT,
    ovals: Ovals | None = None, autoencoder: TinyAutoencoder | None = None,
) -> Synthesis:  # fmt: skip
    """Return what makes the pseudo-fakes."""
    return Synthesis(rows, seed, fit, Donors(real, ovals), autoencoder)


def test_given_rows_are_as_they_are(real: pa.Table) -> None:
    image = photo()
    assert all(synthesis(real)(image, 1, row) is image for row in range(5))


def expected_pair(
    image: Pixels, real: pa.Table, row: int, draws: tuple[np.random.Generator, np.random.Generator]
) -> tuple[Pixels, Pixels]:
    """Return the pseudo-fake and the image beside it as they are made outside of the loader."""
    one, two = draws
    if row in SELF_BLENDED:
        return self_blend(image, one, Oval()), target_of(image, two)
    if row in BLENDED:
        faces = Donors(real, None)
        other = faces.read(faces.choose(row - BLENDED[0], one))
        return blend(image, one, other), image
    return reconstruct(image, one), image


@pytest.mark.parametrize("row", range(5, 14))
def test_a_pseudo_fake_and_the_image_beside_it_have_the_same_draws(
    row: int, real: pa.Table
) -> None:
    make, image = synthesis(real), photo(64, 64)
    made = make(image, 2, row), make(image, 2, row + BESIDE)
    one, two = (np.random.default_rng((3, 2, 3, row - 5)) for _ in range(2))
    for found, expected in zip(made, expected_pair(image, real, row, (one, two)), strict=True):
        assert np.array_equal(found, expected)
    assert np.array_equal(pickle.loads(pickle.dumps(make))(image, 2, row), made[0])


def test_an_autoencoder_takes_the_place_of_the_up_samplers_and_of_nothing_else(
    real: pa.Table,
) -> None:
    torch.manual_seed(0)
    autoencoder = TinyAutoencoder(4, 6).eval()
    plain, make = (synthesis(real, autoencoder=one) for one in (None, autoencoder))
    image, row = photo(64, 64), RECONSTRUCTED[1]
    for one in range(5, 23):
        same = np.array_equal(make(image, 2, one), plain(image, 2, one))
        assert same is (one not in RECONSTRUCTED), one
    expected = autoencoder.reconstruct(image)
    ratio = RATIOS[int(np.random.default_rng((3, 2, 3, row - 5)).integers(len(RATIOS)))]
    blended = image + ratio * (expected.astype(float) - image)
    assert np.abs(make(image, 2, row) - blended).max() <= 1  # of a grey level, by rounding
    again = pickle.loads(pickle.dumps(make))  # as a worker process gets it
    assert np.array_equal(again(image, 2, row), make(image, 2, row))
    large = photo(97, 80)  # is resized to what the network sees, and so is what is made of it
    assert make(large, 2, row).shape == (3, 64, 64)


def test_every_epoch_seed_and_row_has_draws_of_its_own(real: pa.Table) -> None:
    calls = [(0, 0, 5), (1, 0, 5), (0, 1, 5), (0, 0, 6), (0, 0, 7)]
    found = {
        synthesis(real, seed=seed)(photo(), epoch, row).tobytes() for seed, epoch, row in calls
    }
    assert len(found) == len(calls)


@pytest.mark.parametrize("kind", [SELF_BLENDED, BLENDED])
def test_a_face_is_where_its_oval_is(kind: range, real: pa.Table) -> None:
    ovals = np.full((3, 6), np.nan, np.float32)
    ovals[1] = 0.2, 0.2, 0.05, 0, 0, 0.05  # centre, right and down
    make, image = synthesis(real, ovals=ovals), photo(60, 60)
    changes = [(make(image, 0, row) != make(image, 0, row + BESIDE)).any(0) for row in kind[:2]]
    assert changes[0][30:, 30:].any()
    assert not changes[1][25:].any()
    assert not changes[1][:, 25:].any()


def test_a_face_comes_from_an_image_of_the_same_source_that_is_held_alike() -> None:
    """Of twenty images half are turned, each by a little more or less."""
    sources = ["a"] * 20 + ["b"] * 5 + ["c"]
    real = pa.table({"path": [str(row) for row in range(26)], "source": sources})
    turns = [(row % 2) * 0.8 + 0.001 * row for row in range(26)]
    ovals = np.array(
        [
            [0.5, 0.5, math.cos(t) / 4, -math.sin(t) / 4, math.sin(t) / 3, math.cos(t) / 3]
            for t in turns
        ],
        np.float32,
    )
    faces = Donors(real, ovals)
    draws = np.random.default_rng(0)
    chosen = [faces.choose(3, draws) for _ in range(100)]
    assert 3 not in chosen
    assert set(chosen) <= set(range(20))
    assert len(set(chosen)) > 5
    # Of eight images without a turned one among them there is one in a few hundred.
    assert np.mean([one % 2 for one in chosen]) > 0.95
    assert {faces.choose(22, draws) for _ in range(100)} <= {20, 21, 23, 24}
    alone = {faces.choose(25, draws) for _ in range(100)}
    assert 25 not in alone
    assert len(alone) > 3
    assert faces.oval(3).right == pytest.approx(tuple(ovals[3, 2:4]))
    assert Donors(real, None).oval(3) == Oval()


def test_a_face_needs_another_image(real: pa.Table) -> None:
    one = Synthesised(5, 1, ("blended",), Balance((np.arange(1),), (1,)), False)
    with pytest.raises(FaceproofError, match="takes the face of another real image"):
        synthesis(real[:1], one)


def test_a_face_whose_image_has_gone_is_told_as_any_image_is(real: pa.Table) -> None:
    Path(real["path"][1].as_py()).unlink()
    with pytest.raises(ImageGoneError, match=r"1\.png could be read when the run began and no lo"):
        synthesis(real)(photo(64, 64), 0, BLENDED[0])


@pytest.mark.parametrize("beside", [0, BESIDE])
def test_images_are_resized_as_far_as_a_resize_would_lose_what_is_made(
    beside: int, real: pa.Table
) -> None:
    given = 0
    resize, crop = Fit(16, "bilinear"), Fit(16, "bilinear", Crop())
    to_side = Fit(16, "bilinear", Crop(resize_to=20))
    sizes = {
        (resize, True): (16, 16), (crop, True): (40, 80), (to_side, True): (20, 40),
        (resize, False): (32, 64), (crop, False): (40, 80), (to_side, False): (20, 40),
    }  # fmt: skip
    for (fit, fine), size in sizes.items():
        for kind in (RECONSTRUCTED,) if fine else (SELF_BLENDED, BLENDED):
            made = synthesis(real, fit=fit)(photo(40, 80), 0, kind[0] + beside)
            assert made.shape == (3, *size)
    for fit in (resize, to_side):
        assert synthesis(real, fit=fit)(photo(40, 80), 0, given).shape == (3, 40, 80)
    small = synthesis(real, fit=resize)(photo(32, 80), 0, SELF_BLENDED[0] + beside)
    assert small.shape == (3, 32, 80)


@pytest.mark.parametrize("crop", [None, Crop(), Crop(resize_to=48)])
@pytest.mark.parametrize("row", [SELF_BLENDED[0], BLENDED[0], RECONSTRUCTED[0]])
def test_what_the_network_sees_of_a_pair_differs(
    row: int, crop: Crop | None, real: pa.Table
) -> None:
    """The image is much larger than what the network sees of it."""
    fit, image = Fit(32, "bilinear", crop), photo(256, 256)
    make = synthesis(real, seed=0, fit=fit)
    for epoch in range(8):
        two = [make(image, epoch, one) for one in (row, row + BESIDE)]
        if crop is None:
            seen = [fit_image(one, *fit).numpy() for one in two]
        else:
            cut = RandomCrop(fit, 0, lambda _: (1, 7), through=make.through)
            seen = [cut(one, epoch, row) for one in two]
        different = (seen[0] != seen[1]).any(0)
        assert different.mean() > 0.05


def test_a_crop_holds_a_point_of_the_oval(real: pa.Table) -> None:
    ovals = np.full((3, 6), np.nan, np.float32)
    ovals[1] = 0.2, 0.3, 0.05, 0, 0, 0.1
    make = synthesis(real, fit=Fit(16, "bilinear", Crop()), ovals=ovals)
    for draw, kind in itertools.product((0, 0.25, 0.6), (SELF_BLENDED, BLENDED)):
        x, y = make.through(kind[1], draw)  # type: ignore[misc]
        assert ((x - 0.2) / 0.05) ** 2 + ((y - 0.3) / 0.1) ** 2 == pytest.approx(0.25)
    assert make.through(RECONSTRUCTED[0], 0.5) is None
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
        ({"kinds": ("swapped",)}, "must be a list of some of self_blended, blended, reconstructed"),
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
