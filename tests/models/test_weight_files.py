"""Weights files: every form that loads, and every one that must not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.models import Detector, load_initial_weights
from faceproof.models.backbones import timm_backbone
from faceproof.models.heads import LinearHead, SqueezeExciteHead
from faceproof.models.state_dicts import by_position, read_state
from faceproof.models.weights import load_backbone, load_file
from faceproof.training.module import DetectorModule
from tests.small_networks import State, join, of_timm, resnet, same, save, small


def test_float16_files_load_as_float32(tmp_path: Path) -> None:
    halved = {key: value.half() for key, value in small(1).state_dict().items()}
    net = small(0)
    load_file(net, save(halved, tmp_path / "half.safetensors"))
    assert same(net, {key: value.float() for key, value in halved.items()})
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}


def lightning(net: Detector) -> dict[str, Any]:
    module = DetectorModule(net, lambda _: None, lambda _, __: None)  # type: ignore[arg-type]
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.6",
        "state_dict": module.state_dict(),
        "optimizer_states": [torch.optim.Adam(net.parameters()).state_dict()],
        "loops": {"fit_loop": {"state_dict": {}}},
    }


def with_settings(net: Detector) -> dict[str, Any]:
    """Return what other people's scripts save beside the weights."""
    optimizer = torch.optim.SGD(net.parameters())
    return {
        "model": net.state_dict(),
        "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20]).state_dict(),
        "args": {"device": torch.device("cpu"), "tags": {"a", "b"}, "layout": torch.strided},
    }


def prefixed(prefix: str) -> Callable[[Detector], State]:
    return lambda net: {prefix + key: value for key, value in net.state_dict().items()}


FORMS: dict[str, tuple[str, Callable[[Detector], Any]]] = {
    "safetensors": (".safetensors", lambda net: net.state_dict()),
    "plain": (".pth", lambda net: net.state_dict()),
    "state_dict": (".pth", lambda net: {"state_dict": net.state_dict(), "epoch": 3}),
    "beside_optimizer": (".pt", lambda net: {
        "epoch": 8, "best_loss": 0.5, "model_state_dict": net.state_dict(),
        "optimizer_state_dict": torch.optim.Adam(net.parameters()).state_dict()}),
    "data_parallel": (".pth", prefixed("module.")),
    "compiled": (".pth", prefixed("_orig_mod.")),
    "compiled_data_parallel": (".pth", prefixed("module._orig_mod.")),
    "lightning": (".ckpt", lightning),
    "with_settings": (".pth", with_settings),
    "named_twice": (".pth", lambda net: dict.fromkeys(("ema", "model"), net.state_dict())),
    "parameters": (".pth", lambda net: net.state_dict() | dict(net.named_parameters())),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_network_loads_from_every_form_it_is_saved_in(tmp_path: Path, form: str) -> None:
    suffix, wrap = FORMS[form]
    saved, net = small(1), small(0)
    path = save(wrap(saved), tmp_path / f"weights{suffix}")
    assert load_initial_weights(net, str(path)) == f"{path}: backbone and head loaded"
    assert same(net, saved)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_timm_s_classifier_is_skipped_and_said(tmp_path: Path, suffix: str) -> None:
    net, state = resnet(0), of_timm(1000)
    path = save(state, tmp_path / f"timm{suffix}")
    assert load_file(net, path) == "backbone loaded, fc.weight and fc.bias skipped"
    assert same(net.backbone, state)
    assert same(net.head, resnet(0).head)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_classifier_of_two_outputs_is_the_head(tmp_path: Path, suffix: str) -> None:
    net, state = resnet(0), of_timm(2)
    load_file(net, save(state, tmp_path / f"timm{suffix}"))
    assert same(net.backbone, state)
    assert torch.equal(net.head.logit.linear.weight, state["fc.weight"])


def test_both_classifiers_of_a_distilled_model_are_skipped() -> None:
    name = "deit_tiny_distilled_patch16_224"
    net = join(timm_backbone(name), LinearHead)
    assert "head.weight and head.bias and head_dist.weight" in load_backbone(
        net, of_timm(1000, name)
    )


def test_a_head_of_another_size_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, saved = small(0, num_outputs=1), small(1, num_outputs=2)
    said = load_file(net, save(saved.state_dict(), tmp_path / "two.pth"))
    assert "head at random" in said
    assert "head does not fit and is skipped: head.logit.linear.weight" in caplog.text
    assert same(net.backbone, saved.backbone)
    assert same(net.head, small(0, num_outputs=1).head)


def test_a_head_of_another_kind_is_skipped(tmp_path: Path) -> None:
    net, saved = resnet(0, SqueezeExciteHead, pooled=False), resnet(1)
    assert "head at random" in load_file(net, save(saved.state_dict(), tmp_path / "linear.pth"))
    assert same(net.backbone, saved.backbone)


def test_another_normalisation_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net, saved = small(0), small(1, mean=(0.5, 0.5, 0.5))
    load_file(net, save(saved.state_dict(), tmp_path / "other.pth"))
    assert "trained with input_mean [0.5, 0.5, 0.5]; this model has [0.0, 0.0, 0.0]" in caplog.text
    assert net.input_mean.flatten().tolist() == [0, 0, 0]


def change_shape(state: State) -> State:
    return state | {"layer1.0.conv1.weight": torch.zeros(2, 2)}


MISMATCHES: dict[str, tuple[Callable[[State], State], str]] = {
    "missing": (lambda s: {k: v for k, v in s.items() if k != "bn1.bias"}, "missing 1: bn1.bias"),
    "surplus": (lambda s: s | {"neck.weight": torch.zeros(1)}, "left over 1: neck.weight"),
    "shape": (change_shape, r"of another shape 1: layer1.0.conv1.weight \(2, 2\) for \(\d+, .*\)"),
}


@pytest.mark.parametrize("own_names", [False, True])
@pytest.mark.parametrize("kind", MISMATCHES)
def test_a_backbone_that_does_not_fit_is_refused_by_its_keys(
    tmp_path: Path, kind: str, own_names: bool
) -> None:
    change, message = MISMATCHES[kind]
    state = change(of_timm(1000))
    if own_names:
        state = {f"backbone.{key}": value for key, value in state.items() if "fc." not in key}
    net = resnet(0)
    with pytest.raises(FaceproofError, match=rf"timm\.pth does not fit: .*{message}"):
        load_file(net, save(state, tmp_path / "timm.pth"))
    assert same(net, resnet(0))


def test_order_alone_never_makes_a_fit(tmp_path: Path) -> None:
    own: State = {"a.weight": torch.zeros(3), "a.bias": torch.zeros(3)}
    other = {"x.weight": torch.ones(3), "x.bias": torch.ones(3)}
    renamed = by_position(other, own)
    assert renamed is not None
    assert list(renamed) == list(own)
    assert by_position(dict(reversed(other.items())), own) is None  # kinds
    assert by_position(other | {"x.weight": torch.ones(1, 3)}, own) is None  # shapes
    assert by_position(other | {"y.weight": torch.ones(3)}, own) is None  # number
    shuffled = {f"x.{key}": value for key, value in reversed(small(1).state_dict().items())}
    net = small(0)
    with pytest.raises(FaceproofError, match=r"missing 8: .*; left over"):
        load_file(net, save(shuffled, tmp_path / "shuffled.pth"))
    assert same(net, small(0))


class Trap:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("wrap", [lambda trap: trap, lambda trap: {"state_dict": {}, "x": trap}])
def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path, wrap: Any) -> None:
    mark = tmp_path / "it ran"
    path = save(wrap(Trap(mark)), tmp_path / "trap.pth")
    with pytest.raises(FaceproofError, match=r"holds \S+ beside.*save the model's state_dict\(\)"):
        load_initial_weights(small(0), str(path))
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # the trap was one


@pytest.mark.parametrize("value", [small(0), [torch.zeros(1)], {"epoch": 3}, torch.zeros(2)])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(FaceproofError, match=r"holds \S+Detector beside|no state dict of tensors"):
        read_state(save(value, tmp_path / "odd.pth"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt"])
@pytest.mark.parametrize("content", [b"", b"\x80", b"version https://git-lfs", b"\xff" * 100])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(FaceproofError, match=r"damaged\.\w+ is no"):
        read_state(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = save(small(0).state_dict(), tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FaceproofError, match=r"cut\.\w+ is no"):
        read_state(path)


def test_a_missing_file_is_refused_with_the_other_choices(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"no weights file .*none\.pth; .*auto, imagenet"):
        load_initial_weights(small(0), str(tmp_path / "none.pth"))


def test_a_file_of_another_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").touch()
    with pytest.raises(FaceproofError, match=r"weights\.h5 must be \.safetensors, \.pth, \.pt"):
        read_state(tmp_path / "weights.h5")
