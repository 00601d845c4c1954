"""Backbones: features, blocks, and that building one touches neither network nor weights."""

import sys

import pytest
import timm
import torch

from faceproof.errors import FaceproofError
from faceproof.models import Detector, ImageInput, parameter_blocks
from faceproof.models.backbones import cnn3_backbone, face_cnn_backbone, timm_backbone
from faceproof.models.heads import LinearHead, SqueezeExciteHead

PLAIN = ImageInput(64, (0, 0, 0), (1, 1, 1), "bilinear")


def blocks_of(backbone: torch.nn.Module) -> list[list[str]]:
    net = Detector(backbone, LinearHead, PLAIN)
    return [[name.removeprefix("backbone.") for name in block] for block in parameter_blocks(net)]


def test_the_small_backbones_have_their_systems_features() -> None:
    assert face_cnn_backbone().num_features == 9_216
    assert cnn3_backbone().num_features == 36_992


def test_the_small_backbones_follow_the_size_of_the_input() -> None:
    backbone = face_cnn_backbone(20)
    assert backbone(torch.rand(2, 3, 20, 20)).shape == (2, backbone.num_features)


def test_a_block_of_a_small_backbone_ends_with_its_pooling() -> None:
    assert blocks_of(face_cnn_backbone()) == [
        [f"blocks.{block}.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
        for block in (0, 1)
    ]


def test_a_timm_backbone_is_the_model_without_its_classifier() -> None:
    torch.manual_seed(0)
    model, images = timm.create_model("test_resnet").eval(), torch.rand(2, 3, 64, 64)
    backbone = timm_backbone("test_resnet").eval()
    backbone.load_state_dict({key: model.state_dict()[key] for key in backbone.state_dict()})
    torch.testing.assert_close(backbone(images), model.forward_head(
        model.forward_features(images), pre_logits=True))  # fmt: skip


def test_unpooled_features_are_a_map_whose_mean_is_the_pooled_ones() -> None:
    backbone = timm_backbone("test_resnet").eval()
    unpooled = timm_backbone("test_resnet", pooled=False).eval()
    unpooled.load_state_dict(backbone.state_dict())
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(unpooled(images).mean((2, 3)), backbone(images))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "lcnet_035", "ghostnet_050"])
def test_a_backbone_that_ends_with_one_more_layer_fits_its_head(name: str) -> None:
    net = Detector(timm_backbone(name), LinearHead, PLAIN).eval()
    assert net(torch.rand(2, 3, 64, 64)).shape == (2,)


def test_such_a_backbone_fits_a_head_on_its_map() -> None:
    backbone = timm_backbone("mobilenetv3_small_050", pooled=False)
    assert Detector(backbone, SqueezeExciteHead, PLAIN).eval()(torch.rand(2, 3, 64, 64)).shape == (
        2,
    )


def test_a_backbone_of_fixed_size_is_made_for_the_size_asked_for() -> None:
    backbone = timm_backbone("test_vit", size=96).eval()
    assert backbone(torch.rand(2, 3, 96, 96)).shape == (2, backbone.num_features)
    timm_backbone("test_resnet", size=96)  # takes any size and knows no such option


@pytest.mark.parametrize("name", ["resnet19", "resnett18", "mobilenetv3_smal_050"])
def test_an_unknown_name_is_refused_with_names_like_it(name: str) -> None:
    with pytest.raises(FaceproofError, match=rf"timm has no model '{name}'; names like it: \w+"):
        timm_backbone(name)


@pytest.mark.parametrize("name", ["", "not-a-model-at-all", "hf-hub:timm/resnet18.tv_in1k"])
def test_a_name_unlike_any_is_refused(name: str) -> None:
    with pytest.raises(FaceproofError, match="timm has no model"):
        timm_backbone(name)


def test_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FaceproofError, match=r"no weights 'resnet18.nope'.*resnet18\.tv_in1k"):
        timm_backbone("resnet18.nope")


def test_building_a_backbone_opens_no_file_and_no_connection() -> None:
    seen: list[str] = []
    listening = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and (event == "open" or event.startswith("socket.")):
            seen.append(f"{event} {arguments}")

    sys.addaudithook(hook)  # cannot be taken away again, so it is told when to listen
    timm_backbone("resnet18.tv_in1k")  # what is imported on first use
    try:
        listening = True
        timm_backbone("resnet18.tv_in1k")
        timm_backbone("mobilenetv3_small_050")
    finally:
        listening = False
    assert not seen


def test_the_last_block_of_a_transformer_holds_the_final_norm() -> None:
    blocks = blocks_of(timm_backbone("vit_tiny_patch16_224"))
    assert {"norm.weight", "norm.bias", "blocks.11.mlp.fc2.weight"} <= set(blocks[-1])
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= set(blocks[0])
    assert len(blocks) == 13


@pytest.mark.parametrize("name", ["poolformer_s12", "pit_ti_224", "rdnet_tiny"])
def test_a_backbone_without_coarse_groups_still_has_blocks(name: str) -> None:
    backbone = timm_backbone(name)
    blocks = blocks_of(backbone)
    assert [name for block in blocks for name in block] == [
        n for n, _ in backbone.named_parameters()
    ]
    assert len(blocks) > 3


def test_those_blocks_are_its_children() -> None:
    firsts = [block[0].split(".")[:2] for block in blocks_of(timm_backbone("poolformer_s12"))]
    assert firsts == [["stem", "conv"], *(["stages", str(n)] for n in range(4))]


@pytest.mark.parametrize("name", ["densenet121", "convnext_atto", "poolformer_s12"])
def test_a_norm_that_follows_the_last_block_belongs_to_it(name: str) -> None:
    backbone = timm_backbone(name)
    sizes = {name: parameter.ndim for name, parameter in backbone.named_parameters()}
    assert max(sizes[name] for name in blocks_of(backbone)[-1]) > 1
