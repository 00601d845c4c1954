"""The network contract: its input, its normalisation, its one logit, its blocks."""

from typing import Any

import pytest
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.io.parse import parse
from faceproof.models import Detector, ImageInput, InputConfig, parameter_blocks
from faceproof.models.backbones import SmallBackbone, face_cnn_backbone, timm_backbone
from faceproof.models.heads import HiddenHead, LinearHead
from tests.small_networks import join

MEAN, STD = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
PLAIN = {"size": 16, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear"}


def small_detector(**changes: Any) -> Detector:
    torch.manual_seed(0)
    return join(face_cnn_backbone(16), lambda n: HiddenHead(n, 8), **PLAIN | changes).eval()


def test_normalising_inside_is_normalising_outside() -> None:
    outside, inside = small_detector(), small_detector(mean=MEAN, std=STD)
    images = torch.rand(4, 3, 16, 16)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(inside(images), outside((images - mean) / std))


def test_the_normalisation_travels_with_the_weights() -> None:
    ours, other = small_detector(mean=MEAN, std=STD), small_detector()
    images = torch.rand(4, 3, 16, 16)
    assert not torch.equal(ours(images), other(images))
    other.load_state_dict(ours.state_dict())
    assert torch.equal(ours(images), other(images))


def test_whole_numbers_in_the_input_leave_room_for_others() -> None:
    """A mean of [0, 0, 0] in YAML is of integers, into which no other mean would load."""
    buffers = dict(small_detector(mean=(0, 0, 0), std=(1, 1, 1)).named_buffers())
    assert {buffer.dtype for buffer in buffers.values()} == {torch.float32}


def test_the_normalisation_is_not_trained() -> None:
    assert not any("input" in name for name, _ in small_detector().named_parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_float32_whatever_the_head_computes_in(dtype: torch.dtype) -> None:
    net = small_detector()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = net(torch.rand(3, 3, 16, 16))
    assert (logits.shape, logits.dtype) == ((3,), torch.float32)


def test_an_image_s_logit_does_not_depend_on_its_batch() -> None:
    net, images = small_detector(), torch.rand(5, 3, 16, 16)
    alone = torch.cat([net(image[None]) for image in images])
    torch.testing.assert_close(net(images), alone)


def test_what_is_not_given_is_what_timm_says() -> None:
    backbone = timm_backbone("tf_efficientnet_lite0.in1k")
    half = (0.5, 0.5, 0.5)
    assert InputConfig().resolve(backbone) == ImageInput(224, half, half, "bicubic")
    assert InputConfig(160, std=(1, 1, 1)).resolve(backbone) == ImageInput(
        160, half, (1, 1, 1), "bicubic"
    )


@pytest.mark.parametrize("name", PLAIN)
def test_a_backbone_that_does_not_say_its_input_takes_plain_images(name: str) -> None:
    plain = {"size": 224, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear"}
    assert getattr(small_detector(**{name: None}).input, name) == plain[name]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"size": 0}, "a positive size in whole pixels, at most 4096"),
        ({"size": 16.5}, "a positive size"),
        ({"size": 4097}, "a positive size"),
        ({"mean": (0.5,)}, "three means from -1 to 1"),
        ({"mean": ("0", "0", "0")}, "three means"),
        ({"std": (1, 1)}, "three positive stds from 0.001 to 10"),
        ({"std": (1, 1, 0)}, "three positive stds"),
        ({"std": (1, 1, -1)}, "three positive stds"),
        ({"mode": "cut"}, "one of resize, crop, tiles"),
        ({"resize_to": 0, "mode": "crop"}, "a positive size"),
        ({"tiles": 6, "mode": "tiles"}, "4, 5, 9, 16 or 25"),
        ({"tiles": True, "mode": "tiles"}, "4, 5, 9, 16 or 25"),
        ({"tta": "rotate"}, "one of none, flip"),
        ({"resize_to": 256}, "changes nothing with mode=resize; take mode=crop or mode=tiles"),
        ({"tiles": 5, "mode": "crop"}, "changes nothing with mode=crop; take mode=tiles"),
        ({"resize_to": 15, "mode": "crop"}, "at least size = 16"),
    ],
)
def test_an_input_that_cannot_be_is_refused(changes: dict[str, Any], rule: str) -> None:
    message = rf"^{next(iter(changes))} = .* {rule}"
    for kind in (ImageInput, InputConfig):
        with pytest.raises(FaceproofError, match=message):
            kind(**PLAIN | changes)


def test_what_says_nothing_of_crops_resizes_and_is_stored_as_before() -> None:
    """Artifacts and runs of earlier versions are read alike, and written with the same bytes."""
    resolved = small_detector().input
    assert (resolved.mode, resolved.resize_to, resolved.tiles) == ("resize", None, None)
    assert (resolved.tta, resolved.num_passes) == ("none", 1)
    assert list(resolved.to_json()) == ["size", "mean", "std", "interpolation"]
    assert parse(ImageInput, resolved.to_json()) == resolved


def test_crops_are_stored_and_read_again() -> None:
    tiled = small_detector(mode="tiles", resize_to=20, tta="flip").input
    assert (tiled.tiles, tiled.num_passes) == (5, 10)
    stored = tiled.to_json()
    assert {name: stored[name] for name in ("mode", "resize_to", "tiles", "tta")} == {
        "mode": "tiles", "resize_to": 20, "tiles": 5, "tta": "flip"
    }  # fmt: skip
    assert parse(ImageInput, stored) == tiled
    assert "tiles" not in small_detector(mode="crop").input.to_json()
    with pytest.raises(FaceproofError, match="tiles is missing"):
        ImageInput(**PLAIN | {"mode": "tiles"})


def test_crops_of_more_pixels_than_the_largest_image_are_refused() -> None:
    """They would multiply what a stranger's artifact costs."""
    assert ImageInput(**PLAIN | {"size": 4096}).num_passes == 1
    tiles = {"mode": "tiles", "tiles": 4}
    assert ImageInput(**PLAIN | tiles | {"size": 2048}).tiles == 4
    with pytest.raises(FaceproofError, match=r"^tiles = 4 are 4 x 2049 x 2049 pixels .* 4096 x 4"):
        ImageInput(**PLAIN | tiles | {"size": 2049})
    with pytest.raises(FaceproofError, match=r"model\.input\.tiles = 25"):
        InputConfig(1024, mode="tiles", tiles=25).resolve(small_detector())


def test_a_side_that_only_the_backbone_says_is_compared_too() -> None:
    backbone = timm_backbone("tf_efficientnet_lite0.in1k")
    with pytest.raises(FaceproofError, match=r"model\.input\.resize_to = 200 .* size = 224"):
        InputConfig(mode="crop", resize_to=200).resolve(backbone)


def test_an_unknown_interpolation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FaceproofError, match=r"'cubic' must be one of bilinear, bicubic, nearest"):
        ImageInput(**PLAIN | {"interpolation": "cubic"})


def test_blocks_cover_the_backbone_once_and_leave_the_head() -> None:
    net = small_detector()
    names = [name for block in parameter_blocks(net) for name in block]
    assert sorted(names) == sorted(
        n for n, _ in net.named_parameters() if n.startswith("backbone.")
    )
    assert len(names) == len(set(names))


def test_blocks_are_in_the_order_of_their_numbers() -> None:
    layers: list[nn.Module] = []
    for width in range(3, 15):
        layers += [nn.Conv2d(width, width + 1, 3, padding=1), nn.MaxPool2d(1)]
    net = Detector(SmallBackbone(layers, 4), LinearHead, ImageInput(**PLAIN))
    order = [int(block[0].split(".")[2]) for block in parameter_blocks(net)]
    assert order == list(range(12))  # 2 comes before 10
