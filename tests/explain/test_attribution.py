"""Maps against what is known of the network, and against formulas written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.explain.attribution import attribute, find_layer, removed, toward_called
from faceproof.explain.config import METHODS, Grain
from faceproof.models import build_network
from faceproof.models.backbones import cnn3_backbone, face_cnn_backbone, timm_backbone
from faceproof.models.detector import Detector
from faceproof.models.heads import HiddenHead, SqueezeExciteHead
from tests.known_networks import (
    PATCH,
    PLAIN,
    SIDE,
    patch_images,
    patch_mask,
    patch_network,
    timm_network,
)

LARGER = replace(PLAIN, size=64)


@pytest.mark.parametrize("removal", ["blur", "mean"])
@pytest.mark.parametrize("method", METHODS)
def test_a_map_points_at_the_one_patch_that_decides(method, removal):
    images = torch.from_numpy(patch_images(3))
    maps = attribute(patch_network(), images, method, removal=removal)
    assert maps.shape == (3, SIDE, SIDE)
    inside = patch_mask()
    assert (maps[:, inside].mean(1) > 4 * np.abs(maps[:, ~inside]).mean(1)).all()
    assert inside.ravel()[maps.reshape(3, -1).argmax(1)].all()


def test_a_dark_patch_speaks_against_the_positive_class():
    images = torch.from_numpy(patch_images(2))
    images[:, :, PATCH[0], PATCH[1]] = 0.0
    images[:, :, :3] = 1.0  # so that what is removed is brighter
    maps = attribute(patch_network(), images, "integrated_gradients", removal="mean")
    assert (maps[:, patch_mask()] < 0).all()
    turned = toward_called(maps, np.array([False, True]))
    assert (turned[0] == -maps[0]).all()
    assert (turned[1] == maps[1]).all()


def test_integrated_gradients_add_up_to_the_change_of_the_logit():
    torch.manual_seed(0)
    net = Detector(face_cnn_backbone(SIDE), lambda n: HiddenHead(n, 16), PLAIN)
    images = torch.from_numpy(patch_images(3))
    maps = attribute(net, images, "integrated_gradients", grain=Grain(8, 200))
    with torch.no_grad():
        change = (net(images) - net(removed(images, "blur"))).numpy()
    assert maps.sum((1, 2)) == pytest.approx(change, abs=0.05 * float(np.abs(change).max()))


def test_cam_is_the_weighted_feature_map_where_the_head_averages_it():
    net = timm_network("test_resnet")
    images = torch.rand(2, 3, 64, 64, generator=torch.manual_seed(1))
    with torch.no_grad():
        features = net.backbone.forward_features(images)  # type: ignore[operator]
        weights = net.head.logit.linear.weight[0]  # type: ignore[union-attr]
        coarse = torch.einsum("bchw,c->bhw", features, weights) / features[0, 0].numel()
        wanted = nn.functional.interpolate(coarse[:, None], (64, 64), mode="bilinear")[:, 0]
    assert attribute(net, images, "cam") == pytest.approx(wanted.numpy(), abs=1e-6)


def test_occlusion_is_what_the_logit_loses():
    net = patch_network()
    images = torch.from_numpy(patch_images(1))
    found = attribute(net, images, "occlusion", removal="mean")[0]
    step = round(SIDE / (8 + 0.6))
    side = SIDE - 7 * step  # eight windows end with the image
    total, count = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    starts = [number * step for number in range(8)]
    with torch.no_grad():
        whole = net(images).item()
        for top in starts:
            for left in starts:
                place = slice(top, top + side), slice(left, left + side)
                less = images.clone()
                less[:, :, place[0], place[1]] = images.mean((2, 3))[:, :, None, None]
                total[place] += whole - net(less).item()
                count[place] += 1
    assert found == pytest.approx(total / count, abs=1e-4)


@pytest.mark.parametrize("num_windows", [4, 5, 6, 8])
@pytest.mark.parametrize("side", [28, 48, 150, 224, 256])
def test_occlusion_asks_the_network_as_often_as_there_are_windows(num_windows, side):
    class Counting(nn.Module):
        num_images = 0

        def forward(self, images):
            self.num_images += len(images)
            return images.mean((1, 2, 3))

    net = Counting()
    net.input_mean = torch.zeros(1)
    maps = attribute(net, torch.rand(1, 3, side, side), "occlusion", grain=Grain(num_windows, 1))
    assert net.num_images == 1 + num_windows**2
    assert np.abs(maps).min() > 0  # no pixel is left out


def test_maps_do_not_depend_on_the_other_images_or_on_chance():
    net = timm_network("test_resnet")
    images = torch.rand(10, 3, 64, 64, generator=torch.manual_seed(1))
    for method in METHODS:
        together = attribute(net, images, method)
        again, alone = attribute(net, images, method), attribute(net, images[9:], method)
        assert (together == again).all()
        assert together[9:] == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    ("net", "layer"),
    [
        (
            lambda: Detector(cnn3_backbone(64), lambda n: HiddenHead(n, 4), LARGER),
            "backbone.blocks",
        ),
        (
            lambda: Detector(face_cnn_backbone(28), lambda n: HiddenHead(n, 4), PLAIN),
            "backbone.blocks",
        ),
        (lambda: timm_network("test_resnet"), "backbone.layer4"),
        (lambda: timm_network("test_efficientnet"), "backbone.bn2"),
        (lambda: timm_network("test_vit"), "backbone.blocks.5.norm1"),
        (lambda: timm_network("test_convnext"), "backbone.stages"),
    ],
)
def test_the_last_feature_map_is_found(net, layer):
    found = net()
    assert find_layer(found) == layer
    size = found.input.size
    maps = attribute(found, torch.rand(2, 3, size, size), "cam")
    assert maps.shape == (2, size, size)
    assert maps.std() > 0


def test_an_unpooled_backbone_is_its_own_feature_map():
    backbone = timm_backbone("test_efficientnet", pooled=False)
    assert find_layer(Detector(backbone, SqueezeExciteHead, LARGER)) == "backbone"


class Flat(nn.Module):
    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Identity()

    def forward(self, images):
        return self.scale(images.mean((2, 3)))


def test_a_backbone_without_feature_map_is_refused_with_what_it_has():
    net = Detector(Flat(), lambda n: HiddenHead(n, 4), PLAIN)
    with pytest.raises(
        FaceproofError, match=r"no last feature map.*backbone\.scale \(1, 3\).*--layer"
    ):
        find_layer(net)
    with pytest.raises(FaceproofError, match=r"output of backbone\.scale has the shape \(1, 3\)"):
        attribute(net, torch.rand(1, 3, SIDE, SIDE), "cam", layer="backbone.scale")


def test_a_layer_can_be_named():
    net = timm_network("test_resnet")
    images = torch.rand(1, 3, 64, 64)
    earlier = attribute(net, images, "cam", layer="backbone.layer2")
    assert not np.allclose(earlier, attribute(net, images, "cam"))
    with pytest.raises(FaceproofError, match=r"no module 'backbone\.layer9'"):
        attribute(net, images, "cam", layer="backbone.layer9")


def test_what_is_not_known_is_refused():
    images = torch.rand(1, 3, SIDE, SIDE)
    with pytest.raises(FaceproofError, match="'gradcam' must be one of cam, occlusion"):
        attribute(patch_network(), images, "gradcam")
    with pytest.raises(FaceproofError, match="'black' must be one of blur, mean"):
        removed(images, "black")  # type: ignore[arg-type]


def test_removing_leaves_the_mean_and_nothing_fine():
    images = torch.rand(2, 3, 64, 64, generator=torch.manual_seed(0))
    assert removed(images, "mean").flatten(2).std() < images.std()
    assert torch.allclose(removed(images, "mean").mean((2, 3)), images.mean((2, 3)))
    blurred = removed(images, "blur")
    assert blurred.std() < 0.1 * images.std()
    assert torch.allclose(blurred.mean(), images.mean(), atol=0.01)


def branched(**branch):
    torch.manual_seed(0)
    backbone = {"name": "timm", "model": "test_resnet"}
    return build_network({"backbone": backbone, "input": {"size": 64}, "branch": branch}).eval()


def test_maps_of_residuals_are_of_the_image_s_pixels():
    images = torch.rand(2, 3, 64, 64)
    net = branched(name="srm")
    assert find_layer(net) == find_layer(branched(name="dct", block=8))
    for method in METHODS:
        maps = attribute(net, images, method, grain=Grain(3, 4))
        assert maps.shape == (2, 64, 64)
        assert np.abs(maps).max() > 0


def test_a_feature_map_of_frequencies_is_no_map_of_the_image():
    images, net = torch.rand(1, 3, 64, 64), branched(name="dct")
    for refused in (
        lambda: find_layer(net),
        lambda: attribute(net, images, "cam", "backbone.layer4"),
    ):
        with pytest.raises(FaceproofError, match="frequencies and not of its places"):
            refused()
    assert np.abs(attribute(net, images, "occlusion", grain=Grain(3, 4))).max() > 0


def test_of_two_backbones_the_map_of_one_is_shown_only_where_it_is_named():
    images, net = torch.rand(1, 3, 64, 64), branched(name="dct", mode="beside")
    with pytest.raises(FaceproofError, match="this network has two backbones"):
        attribute(net, images, "cam")
    assert np.abs(attribute(net, images, "cam", "backbone.layer4")).max() > 0
    with pytest.raises(FaceproofError, match="frequencies"):
        attribute(net, images, "cam", "branch.backbone.layer4")
    residuals = branched(name="npr", mode="beside")
    assert np.abs(attribute(residuals, images, "cam", "branch.backbone.layer4")).max() > 0
    assert np.abs(attribute(residuals, images, "integrated_gradients")).max() > 0
