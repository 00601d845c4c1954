"""torchvision's transforms by name: what they do, of which draws, and what is refused."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from faceproof.augment.by_name import TransformError, named_transforms
from faceproof.errors import FaceproofError
from faceproof.settings import make
from tests.augment.test_web import photo


def apply(entry: dict[str, Any], seed: int = 0, image: Any = None) -> Any:
    (transform,) = named_transforms([entry])
    return transform(photo() if image is None else image, np.random.default_rng(seed))


def test_it_is_torchvisions_transform() -> None:
    found = apply({"name": "RandomPosterize", "bits": 2, "p": 1.0})
    expected = v2.functional.posterize(torch.from_numpy(photo()), 2)
    assert np.array_equal(found, expected.numpy())


def test_draws_are_of_the_seed_alone_and_torchs_state_stays() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    entry = {"name": "ElasticTransform", "alpha": 40.0}
    first = apply(entry, 7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert np.array_equal(apply(entry, 7), first)
    assert not np.array_equal(apply(entry, 8), first)


def test_threads_do_not_take_one_anothers_draws() -> None:
    (transform,) = named_transforms([{"name": "GaussianNoise"} | {"sigma": 0.2}])
    alone = [transform(photo(), np.random.default_rng(seed)) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda seed: transform(photo(), np.random.default_rng(seed)), range(24))
        )
    assert all(map(np.array_equal, alone, together))


def test_the_share_of_images_is_its_probability() -> None:
    entry = {"name": "RandomInvert", "p": 1.0, "probability": 0.25}
    (transform,) = named_transforms([entry])
    image = photo(4, 4)
    hits = [
        not np.array_equal(transform(image, np.random.default_rng(seed)), image)
        for seed in range(1000)
    ]
    assert np.mean(hits) == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "RandomPosterise", "bits": 2}, "did you mean RandomPosterize"),
        ({"bits": 2}, "must be a name and arguments"),
        ("RandomPosterize", "must be a name and arguments"),
        ({"name": "RandomPosterize", "bits": 2, "probability": 2}, "from 0 to 1"),
        ({"name": "RandomPosterize", "bit": 2}, "is not what torchvision's RandomPosterize takes"),
        ({"name": "ToPILImage"}, "does not turn an image"),
        ({"name": "TenCrop", "size": 8}, "does not turn an image"),
        ({"name": "Transform"}, "is no class of torchvision.transforms.v2"),
        ({"name": "functional"}, "is no class of torchvision.transforms.v2"),
    ],
)
def test_what_cannot_change_an_image_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(FaceproofError, match=message):
        named_transforms([entry])


def test_its_place_in_the_settings_is_named() -> None:
    from faceproof.augment.transforms import Augment

    values = {"torchvision": [{"name": "RandomInvert"}, {"name": "RandomInver"}]}
    with pytest.raises(FaceproofError, match=r"augment\.torchvision\[1\]\.name = 'RandomInver'"):
        make(Augment, values, "augment")


def test_an_image_that_is_too_small_is_told() -> None:
    with pytest.raises(TransformError, match=r"RandomCrop.* an image of 56 x 40 pixels"):
        apply({"name": "RandomCrop", "size": 48})
