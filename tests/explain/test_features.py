"""The backbone's features."""

import pytest
import torch

from faceproof.explain.features import backbone_features
from faceproof.models.backbones import timm_backbone
from faceproof.models.detector import Detector
from faceproof.models.heads import SqueezeExciteHead
from tests.known_networks import PLAIN, patch_network, timm_network


def test_features_are_what_the_head_gets_averaged_over_places():
    images = torch.rand(2, 3, 64, 64)
    net = timm_network("test_resnet")
    with torch.no_grad():
        assert backbone_features(net, images) == pytest.approx(
            net.backbone(images).numpy(), abs=1e-6
        )
    unpooled = Detector(timm_backbone("test_efficientnet", pooled=False), SqueezeExciteHead, PLAIN)
    with torch.no_grad():
        wanted = unpooled.eval().backbone(images).mean((2, 3)).numpy()
    assert backbone_features(unpooled, images) == pytest.approx(wanted, abs=1e-6)
    assert backbone_features(patch_network(), torch.rand(2, 3, 28, 28)).shape == (2, 3)
