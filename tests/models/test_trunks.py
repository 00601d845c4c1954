"""Trunks: features, blocks, and that building one touches neither network nor weights."""

import sys

import pytest
import timm
import torch

from faceproof.errors import FaceproofError
from faceproof.models import Detector, PictureInput, parameter_blocks
from faceproof.models.heads import LinearHead, SqueezeExciteHead
from faceproof.models.trunks import cnn3_trunk, face_cnn_trunk, timm_trunk

PLAIN = PictureInput(64, (0, 0, 0), (1, 1, 1), "bilinear")


def blocks_of(trunk: torch.nn.Module) -> list[list[str]]:
    net = Detector(trunk, LinearHead, PLAIN)
    return [[name.removeprefix("trunk.") for name in block] for block in parameter_blocks(net)]


def test_the_small_trunks_have_their_systems_features() -> None:
    assert face_cnn_trunk().num_features == 9_216
    assert cnn3_trunk().num_features == 36_992


def test_the_small_trunks_follow_the_size_of_the_input() -> None:
    trunk = face_cnn_trunk(20)
    assert trunk(torch.rand(2, 3, 20, 20)).shape == (2, trunk.num_features)


def test_a_block_of_a_small_trunk_ends_with_its_pooling() -> None:
    assert blocks_of(face_cnn_trunk()) == [
        [f"blocks.{block}.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
        for block in (0, 1)
    ]


def test_a_timm_trunk_is_the_model_without_its_classifier() -> None:
    torch.manual_seed(0)
    model, pictures = timm.create_model("test_resnet").eval(), torch.rand(2, 3, 64, 64)
    trunk = timm_trunk("test_resnet").eval()
    trunk.load_state_dict({key: model.state_dict()[key] for key in trunk.state_dict()})
    torch.testing.assert_close(trunk(pictures), model.forward_head(
        model.forward_features(pictures), pre_logits=True))  # fmt: skip


def test_unpooled_features_are_a_map_whose_mean_is_the_pooled_ones() -> None:
    trunk = timm_trunk("test_resnet").eval()
    unpooled = timm_trunk("test_resnet", pooled=False).eval()
    unpooled.load_state_dict(trunk.state_dict())
    pictures = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(unpooled(pictures).mean((2, 3)), trunk(pictures))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "lcnet_035", "ghostnet_050"])
def test_a_trunk_that_ends_with_one_more_layer_fits_its_head(name: str) -> None:
    net = Detector(timm_trunk(name), LinearHead, PLAIN).eval()
    assert net(torch.rand(2, 3, 64, 64)).shape == (2,)


def test_such_a_trunk_fits_a_head_on_its_map() -> None:
    trunk = timm_trunk("mobilenetv3_small_050", pooled=False)
    assert Detector(trunk, SqueezeExciteHead, PLAIN).eval()(torch.rand(2, 3, 64, 64)).shape == (2,)


def test_a_trunk_of_fixed_size_is_made_for_the_size_asked_for() -> None:
    trunk = timm_trunk("test_vit", size=96).eval()
    assert trunk(torch.rand(2, 3, 96, 96)).shape == (2, trunk.num_features)
    timm_trunk("test_resnet", size=96)  # takes any size and knows no such option


@pytest.mark.parametrize("name", ["resnet19", "resnett18", "mobilenetv3_smal_050"])
def test_an_unknown_name_is_refused_with_names_like_it(name: str) -> None:
    with pytest.raises(FaceproofError, match=rf"timm has no model '{name}'; names like it: \w+"):
        timm_trunk(name)


@pytest.mark.parametrize("name", ["", "not-a-model-at-all", "hf-hub:timm/resnet18.tv_in1k"])
def test_a_name_unlike_any_is_refused(name: str) -> None:
    with pytest.raises(FaceproofError, match="timm has no model"):
        timm_trunk(name)


def test_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FaceproofError, match=r"no weights 'resnet18.nope'.*resnet18\.tv_in1k"):
        timm_trunk("resnet18.nope")


def test_building_a_trunk_opens_no_file_and_no_connection() -> None:
    seen: list[str] = []
    listening = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and (event == "open" or event.startswith("socket.")):
            seen.append(f"{event} {arguments}")

    sys.addaudithook(hook)  # cannot be taken away again, so it is told when to listen
    timm_trunk("resnet18.tv_in1k")  # what is imported on first use
    try:
        listening = True
        timm_trunk("resnet18.tv_in1k")
        timm_trunk("mobilenetv3_small_050")
    finally:
        listening = False
    assert not seen


def test_the_last_block_of_a_transformer_holds_the_final_norm() -> None:
    blocks = blocks_of(timm_trunk("vit_tiny_patch16_224"))
    assert {"norm.weight", "norm.bias", "blocks.11.mlp.fc2.weight"} <= set(blocks[-1])
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= set(blocks[0])
    assert len(blocks) == 13


@pytest.mark.parametrize("name", ["poolformer_s12", "pit_ti_224", "rdnet_tiny"])
def test_a_trunk_without_coarse_groups_still_has_blocks(name: str) -> None:
    trunk = timm_trunk(name)
    blocks = blocks_of(trunk)
    assert [name for block in blocks for name in block] == [n for n, _ in trunk.named_parameters()]
    assert len(blocks) > 3


def test_those_blocks_are_its_children() -> None:
    firsts = [block[0].split(".")[:2] for block in blocks_of(timm_trunk("poolformer_s12"))]
    assert firsts == [["stem", "conv"], *(["stages", str(n)] for n in range(4))]


@pytest.mark.parametrize("name", ["densenet121", "convnext_atto", "poolformer_s12"])
def test_a_norm_that_follows_the_last_block_belongs_to_it(name: str) -> None:
    trunk = timm_trunk(name)
    sizes = {name: parameter.ndim for name, parameter in trunk.named_parameters()}
    assert max(sizes[name] for name in blocks_of(trunk)[-1]) > 1
