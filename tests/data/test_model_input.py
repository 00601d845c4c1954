"""The resize to a model's input against Pillow's, crops, and the scale of what networks take."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from faceproof.data.model_input import (
    MAX_ASPECT,
    Crop,
    Fit,
    RandomCrop,
    average_views,
    fit_image,
    fit_of,
    to_unit,
    views,
)
from faceproof.models import ImageInput


def pixels(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(40, 48), (97, 31), (5, 6), (1, 1), (300, 200)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_fitting_is_pillows_resize(shape: tuple[int, int], interpolation: str) -> None:
    image = Image.fromarray(pixels(*shape))
    fitted = fit_image(F.pil_to_tensor(image), 32, interpolation)
    expected = image.resize((32, 32), Image.Resampling[interpolation.upper()])
    difference = fitted.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
    assert fitted.shape == (3, 32, 32)
    assert fitted.dtype == torch.uint8
    # torchvision rounds to bytes between its two passes, which bicubic overshoot shows
    assert abs(difference).max() <= (1 if interpolation == "bilinear" else 8)
    assert abs(difference).mean() < 0.5
    reference = F.resize(F.pil_to_tensor(image), [32, 32], InterpolationMode(interpolation))
    assert torch.equal(fitted, reference)


def test_an_image_that_fits_is_not_touched() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    assert torch.equal(fit_image(image, 32, "bicubic"), image)


def test_arrays_and_tensors_are_fitted_alike() -> None:
    image = pixels(40, 48).transpose(2, 0, 1)
    tensor = torch.from_numpy(image)
    fitted = fit_image(image, 32, "bilinear")
    assert torch.equal(fit_image(tensor, 32, "bilinear"), fitted)
    assert torch.equal(fit_image(tensor[None], 32, "bilinear")[0], fitted)


def test_to_unit_spans_zero_to_one() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 3, 4, 3)
    unit = to_unit(image)
    assert unit.dtype == torch.float32
    assert torch.equal(unit[1, 2, 3], torch.tensor([0, 0.2, 1]))
    assert unit.is_contiguous(memory_format=torch.channels_last)


def crop(image: torch.Tensor, size: int, **settings: int) -> torch.Tensor:
    return fit_image(image, size, "bilinear", Crop(**settings))


def picture(height: int, width: int) -> torch.Tensor:
    """Return an image in the memory layout of decoders."""
    return torch.from_numpy(pixels(height, width)).permute(2, 0, 1)


def test_a_crop_is_the_middle_of_the_image_as_it_is() -> None:
    image = picture(40, 51)
    cut = crop(image, 16)
    assert torch.equal(cut, image[:, 12:28, 17:33])
    even = image[:, :, :50]
    assert torch.equal(crop(even, 16), F.center_crop(even, [16, 16]))
    assert cut.untyped_storage().nbytes() == 3 * 16 * 16  # the image is not held in memory
    assert torch.equal(crop(image[None], 16)[0], cut)
    assert torch.equal(crop(image[:, :16, :16], 16), image[:, :16, :16])


def test_five_tiles_are_the_middle_and_the_corners() -> None:
    image = picture(40, 51)
    middle, *corners = crop(image, 16, tiles=5)
    assert torch.equal(middle, crop(image, 16))
    wanted = [image[:, :16, :16], image[:, :16, -16:], image[:, -16:, :16], image[:, -16:, -16:]]
    assert all(torch.equal(one, other) for one, other in zip(corners, wanted, strict=True))
    assert torch.equal(crop(image[None], 16, tiles=5)[0], crop(image, 16, tiles=5))


@pytest.mark.parametrize("tiles", [4, 9, 16, 25])
def test_other_tiles_are_an_even_grid_from_edge_to_edge(tiles: int) -> None:
    image, side = picture(61, 46), round(tiles**0.5)
    tops, lefts = (np.linspace(0, room, side).astype(int) for room in (45, 30))
    wanted = [image[:, top : top + 16, left : left + 16] for top in tops for left in lefts]
    assert torch.equal(crop(image, 16, tiles=tiles), torch.stack(wanted))


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (5, 6), (2, 30), (1, 1)])
def test_a_small_image_is_continued_by_its_mirror_image(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    lacking = [max(16 - side, 0) for side in shape]
    around = [(0, 0), *((one // 2, one - one // 2) for one in lacking)]
    whole = torch.from_numpy(np.pad(image.numpy(), around, "reflect"))
    top, left = ((side - 16) // 2 for side in whole.shape[1:])
    assert torch.equal(crop(image, 16), whole[:, top : top + 16, left : left + 16])
    assert crop(image, 16, tiles=5).shape == (5, 3, 16, 16)


def test_an_image_is_resized_before_by_its_shorter_side() -> None:
    image = picture(40, 60)
    resized = F.resize(image, [20], InterpolationMode.BILINEAR, antialias=True)
    assert resized.shape == (3, 20, 30)
    assert torch.equal(crop(image, 16, resize_to=20), crop(resized, 16))
    assert torch.equal(crop(image, 16, resize_to=40), crop(image, 16))


def test_an_elongated_image_does_not_become_gigabytes() -> None:
    """One row of 300,000 pixels, enlarged to 512 rows, would take 236 GB."""
    image = picture(1, 300_000)
    fitted = crop(image, 16, resize_to=512)
    middle = image[:, :, 150_000 - MAX_ASPECT // 2 : 150_000 + MAX_ASPECT // 2]
    assert torch.equal(fitted, crop(middle, 16, resize_to=512))
    assert crop(picture(20, 3000), 16, resize_to=18, tiles=5).shape == (5, 3, 16, 16)


def test_random_crops_are_a_function_of_seed_epoch_and_row() -> None:
    image = picture(40, 51).numpy()

    def cut(seed: int, epoch: int, row: int) -> npt.NDArray[np.uint8]:
        return RandomCrop(Fit(16, "bilinear", Crop()), seed)(image, epoch, row)

    first = cut(0, 0, 0)
    assert first.shape == (3, 16, 16)
    assert np.array_equal(first, cut(0, 0, 0))
    assert not any(
        np.array_equal(first, cut(*where)) for where in ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    )


def test_random_crops_reach_every_place_equally_often() -> None:
    image = np.zeros((3, 17, 18), np.uint8)
    image[0], image[1] = np.arange(17)[:, None], np.arange(18)
    random = RandomCrop(Fit(16, "bilinear", Crop()), 0)
    corners = [tuple(random(image, epoch, 0)[:2, 0, 0]) for epoch in range(1200)]
    counts = [corners.count((top, left)) for top in (0, 1) for left in (0, 1, 2)]
    assert sum(counts) == 1200
    assert all(150 < count < 250 for count in counts)  # 200 each, with a deviation of 13


def test_a_random_crop_comes_after_the_other_changes_and_the_resize() -> None:
    image = picture(40, 40).numpy()
    small = RandomCrop(Fit(20, "bilinear", Crop(resize_to=20)), 0, before=lambda one, *_: 255 - one)
    assert np.array_equal(small(image, 0, 0), fit_image(255 - image, 20, "bilinear").numpy())
    tiny = RandomCrop(Fit(16, "bilinear", Crop()), 0)(picture(3, 9).numpy(), 0, 0)
    assert np.array_equal(tiny, crop(picture(3, 9), 16).numpy())


def test_how_an_image_is_fitted_is_what_its_model_says() -> None:
    plain = (16, (0, 0, 0), (1, 1, 1), "bicubic")
    assert fit_of(ImageInput(*plain)) == (16, "bicubic", None)
    assert fit_of(ImageInput(*plain, "crop", 20)) == (16, "bicubic", Crop(20, None))
    tiled = ImageInput(*plain, "tiles", tiles=9)
    assert fit_of(tiled) == (16, "bicubic", Crop(None, 9))
    assert fit_of(tiled, tiles=False) == (16, "bicubic", Crop())


def test_what_a_network_gives_is_averaged_over_tiles_and_mirror_images() -> None:
    weights = torch.randn(3, 4, 4)

    def net(images: torch.Tensor) -> torch.Tensor:
        assert len(images) == 2  # each pass is of as many images as there are
        return (images * weights).sum((1, 2, 3))

    tiles = torch.rand(2, 5, 3, 4, 4)
    one = tiles[:, 0]
    assert torch.equal(average_views(net, one, "none"), net(one))
    torch.testing.assert_close(average_views(net, one, "flip"), (net(one) + net(one.flip(3))) / 2)
    each = torch.stack([net(tile) for tile in tiles.unbind(1)], 1)
    torch.testing.assert_close(average_views(net, tiles, "none"), each.mean(1))
    mirrored = torch.stack([net(tile.flip(3)) for tile in tiles.unbind(1)], 1)
    both = torch.cat([each, mirrored], 1).mean(1)
    torch.testing.assert_close(average_views(net, tiles, "flip"), both)
    seen = views(tiles, "flip")
    assert len(seen) == 10
    assert torch.equal(seen[5], seen[0].flip(3))
