"""Every model of conf/model: it builds, answers, and has the size its system says."""

import functools
from typing import Any

import pytest
import torch
from torch import nn

from faceproof import app
from faceproof.errors import FaceproofError
from faceproof.models import Detector, build_network, parameter_blocks
from tests.jobs import CHOICES, compose_job

# The side of the input in pixels, the features of the backbone, and the parameters in all.
EXPECTED = {
    "cnn3": (150, 36_992, 9_563_713),  # system G's own count
    "densenet121": (224, 1024, 6_955_906),
    "effnet_b0": (224, 1280, 4_010_110),
    "effnet_lite_se": (160, 1280, 3_579_730),
    "effnet_se": (256, 1280, 4_216_270),
    "face_cnn": (48, 9_216, 1_245_473),
    "face_resnet": (64, 48, 76_989),
    "own": (64, 4_608, 97_857),  # of cnn3, at another size
    "resnet18": (224, 512, 11_177_538),
    "resnet18_dct": (224, 512, 11_177_538),
    "resnet18_npr": (224, 512, 11_177_538),
    "resnet18_rgb_srm": (224, 512, 2 * 11_177_538 - 2),
    "resnet18_srm": (224, 512, 11_177_538),
    "resnet50": (224, 2048, 23_512_130),
    "resnet50_convtail": (224, 2048, 25_447_185),
    "timm": (224, 1024, 570_274),
    "vit_b16": (224, 768, 85_800_194),
}
MORE = {
    "timm": ("model.name=mobilenetv3_small_050",),
    "own": ("model.backbone.name=cnn3", "model.input.size=64"),  # one of ours needs no leave
}


def compose_model(tmp: Any, name: str, *overrides: str) -> Any:
    return compose_job("train", tmp, (f"model={name}", *MORE.get(name, ()), *overrides)).model


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return `build(name)`, which builds a model once."""
    folder = tmp_path_factory.mktemp("run")

    @functools.cache
    def cached(name: str) -> Detector:
        torch.manual_seed(0)
        return build_network(app.plain(compose_model(folder, name))).eval()

    return cached


def test_every_model_is_expected_here() -> None:
    assert set(EXPECTED) == set(CHOICES["model"])


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_gives_one_float32_logit_an_image(build: Any, name: str) -> None:
    net = build(name)
    size, num_features, num_parameters = EXPECTED[name]
    assert net.input.size == size
    images, widths = torch.rand(2, 3, size, size), []
    handle = net.backbone.register_forward_hook(lambda _, __, out: widths.append(out.shape[1]))
    with torch.inference_mode():
        logits = net(images)
    handle.remove()
    assert (logits.shape, logits.dtype) == ((2,), torch.float32)
    assert torch.isfinite(logits).all()
    assert logits[0] != logits[1]
    assert widths == [num_features]
    assert sum(parameter.numel() for parameter in net.parameters()) == num_parameters


@pytest.mark.parametrize("name", EXPECTED)
def test_blocks_cover_the_backbone_once_in_depth_order(build: Any, name: str) -> None:
    net = build(name)
    names = [name for block in parameter_blocks(net) for name in block]
    registered = [name for name, _ in net.named_parameters() if not name.startswith("head.")]
    names.sort(key=lambda name: name.startswith("branch."))  # of two backbones each in its order
    assert names == registered  # timm registers its layers from the input to the features
    assert all(parameter_blocks(net))


def test_the_convolutional_tail_has_system_d_s_numbers(build: Any) -> None:
    state = build("resnet50_convtail").head.state_dict()
    counted = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert sum(value.numel() for value in counted.values()) == 1_945_265


def test_the_squeeze_is_system_b_s(build: Any) -> None:
    head = build("effnet_se").head
    layers = (head.squeeze, head.excite, head.logit.linear)
    assert [(x.in_features, x.out_features) for x in layers] == [(1280, 80), (80, 1280), (1280, 2)]


def test_dropout_is_where_the_systems_have_it(build: Any) -> None:
    def rates(name: str) -> list[float]:
        return [x.p for x in build(name).head.modules() if isinstance(x, nn.Dropout)]

    assert rates("face_cnn") == [0.5]
    assert rates("cnn3") == [0]
    assert rates("resnet50_convtail") == [0.5] * 7
    assert rates("effnet_b0") == [0.2]


def test_inputs_are_what_the_systems_had(build: Any) -> None:
    for name in ("face_cnn", "cnn3", "effnet_se"):
        assert (build(name).input.mean, build(name).input.std) == ((0, 0, 0), (1, 1, 1))
    for name in ("resnet18", "resnet50", "resnet50_convtail", "densenet121", "effnet_b0"):
        assert build(name).input.mean == (0.485, 0.456, 0.406)


def test_a_timm_model_s_input_is_what_timm_says(build: Any) -> None:
    assert build("timm").input.interpolation == "bicubic"
    assert build("timm").input.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("name", ["vit_b16", "timm"])
def test_a_transformer_can_have_another_size(tmp_path: Any, name: str) -> None:
    small = "backbone.model=" if name == "vit_b16" else "name="
    config = compose_model(tmp_path, name, f"model.{small}test_vit", "model.input.size=64")
    with torch.inference_mode():
        assert build_network(app.plain(config))(torch.rand(2, 3, 64, 64)).shape == (2,)


def test_a_model_of_timm_s_needs_a_name_that_timm_knows(tmp_path: Any) -> None:
    config = compose_model(tmp_path, "timm", "model.name=resnet19")
    with pytest.raises(FaceproofError, match="timm has no model 'resnet19'"):
        build_network(app.plain(config))
