"""Weights files: every form that loads, and every one that must not."""

import argparse
import collections
import datetime
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


def with_values(net: Detector) -> dict[str, Any]:
    """Return what training scripts save beside weights."""
    options = argparse.Namespace(lr=1e-3, out=Path("runs"), started=datetime.datetime(2024, 5, 1))
    counts = collections.defaultdict(list, {"train": [1, 2]})
    best = {"auc": np.float64(0.91), "f1": np.float32(0.5), "ok": np.bool_(True)}
    best |= {f"again {n}": np.uint8(7) for n in range(3)}
    values = {"args": options, "counts": counts, "best": best, "history": np.arange(5.0)}
    return {"epoch": np.int64(3), "model_state": net.state_dict(), **values}


def legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def beside_a_loss(net: Detector) -> dict[str, Any]:
    parts = {f"model.{key}": value for key, value in net.state_dict().items()}
    return {"state_dict": {**parts, "criterion.pos_weight": torch.ones(1)}}


FORMS |= {
    "bin": (".bin", lambda net: net.state_dict()),
    "pth_tar": (".pth.tar", lambda net: {"arch": "x", "state_dict": net.state_dict()}),
    "upper_case": (".PTH", lambda net: net.state_dict()),
    "upper_case_safetensors": (".SAFETENSORS", lambda net: net.state_dict()),
    "no_ending": ("", lambda net: net.state_dict()),
    **{name: (".pth", lambda net, name=name: {name: net.state_dict(), "epoch": 3})
       for name in ("net", "network", "model_state", "model", "ema", "my_detector")},
    **{f"{prefix}_before": (".pth", prefixed(f"{prefix}."))
       for prefix in ("net", "network", "model", "ema", "module.net", "my_detector")},
    "inner_data_parallel": (".pth", lambda net: {
        key.replace("backbone.", "backbone.module.", 1): value
        for key, value in net.state_dict().items()}),
    "inner_compiled": (".pth", lambda net: {
        key.replace("backbone.", "backbone._orig_mod.", 1): value
        for key, value in net.state_dict().items()}),
    "two_deep": (".pth", lambda net: {"checkpoint": {"model": net.state_dict()}, "step": 1}),
    "beside_values": (".pth", with_values),
    "beside_a_loss": (".ckpt", beside_a_loss),
    "number_among_tensors": (".pth", lambda net: {**net.state_dict(), "version": 2}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_network_loads_from_every_form_it_is_saved_in(tmp_path: Path, form: str) -> None:
    suffix, wrap = FORMS[form]
    saved, net = small(1), small(0)
    path = save(wrap(saved), tmp_path / f"weights{suffix}")
    by_order = " (matched by order and shape)" if form == "inner_data_parallel" else ""
    assert load_initial_weights(net, str(path)) == f"{path}: backbone and head loaded{by_order}"
    assert same(net, saved)


@pytest.mark.parametrize("wrap", [with_values, with_settings, lambda net: net.state_dict()])
def test_a_file_of_the_old_format_of_torch_loads_too(tmp_path: Path, wrap: Any) -> None:
    saved, net = small(1), small(0)
    legacy(wrap(saved), tmp_path / "old.pth")
    load_file(net, tmp_path / "old.pth")
    assert same(net, saved)


def test_an_ending_that_says_the_other_format_is_no_matter(tmp_path: Path) -> None:
    saved = small(1)
    torch.save(saved.state_dict(), tmp_path / "one.safetensors")
    save(saved.state_dict(), tmp_path / "other.safetensors").rename(tmp_path / "other.bin")
    for name in ("one.safetensors", "other.bin"):
        net = small(0)
        load_file(net, tmp_path / name)
        assert same(net, saved)


def test_what_is_beside_the_network_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_file(small(0), save(beside_a_loss(small(1)), tmp_path / "loss.ckpt"))
    assert "not of this network: criterion.pos_weight" in caplog.text


def test_of_several_networks_none_is_chosen(tmp_path: Path) -> None:
    both = {"generator": small(0).state_dict(), "discriminator": small(1).state_dict()}
    with pytest.raises(FaceproofError, match=r"several state dicts: generator, discriminator; sa"):
        read_state(save(both, tmp_path / "gan.pth"))


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"1")


def script(path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # torch's own advice not to make them
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 1), torch.zeros(1, 2)), path)


ONNX = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0"
OTHERS: dict[str, tuple[str, Any, str]] = {
    "script": ("net.pt", script, r"TorchScript.*torch\.save\(torch\.jit\.load\('.*net\.pt'\)"),
    "hdf5": ("net.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), r"HDF5.*get_weights\(\)"),
    "keras": ("net.keras", lambda p: write_zip(p, "config.json", "model.weights.h5"), "of Keras"),
    "onnx": ("net.onnx", ONNX, r"graph of ONNX.*onnx\.load"),
    "onnx_renamed": ("net.pth", ONNX, r"graph of ONNX.*onnx\.load"),
    "lite": ("net.tflite", b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
    "tensorflow": ("model.ckpt.index", b"\0\0\0\0\x01\xff" * 9, "of TensorFlow"),
    "pointer": ("net.pth", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "page": ("net.pth", b"\n <!DOCTYPE html><title>404</title>", "web page.*fetch it again"),
    "answer": ("net.pth", b"Not Found", "text that begins 'Not Found'"),
    "index": ("m.safetensors.index.json", b'{"weight_map": {}}', "index of weights in several"),
    "numbers": ("net.npz", lambda p: np.savez(p, a=np.ones(2)), r"NumPy's; .*from_numpy"),
    "array": ("net.npy", lambda p: np.save(p, np.ones(2)), "array of NumPy's"),
    "zip": ("net.zip", lambda p: write_zip(p, "a/b.pth"), "zip archive; unpack"),
    "gzip": ("net.pth.gz", b"\x1f\x8b" + bytes(20), "compressed; unpack"),
    "tar": ("net.pth.tar", bytes(257) + b"ustar" + bytes(250), "tar archive; unpack"),
    "empty": ("net.pth", b"", "empty; fetch it again"),
    "pickle": ("net.pkl", pickle.dumps({"a": 1}, 2), "not of torch.save"),
    "protocol": ("net.pth", lambda p: torch.save({"a": torch.ones(1)}, p, pickle_protocol=4),
                 "by a newer protocol.*without a pickle_protocol"),
    "module": ("net.pth", lambda p: torch.save(torch.nn.Linear(1, 1), p),
               r"holds torch\.nn\.modules\.linear\.Linear beside.*found\.state_dict\(\)"),
    "module_inside": ("net.pth", lambda p: torch.save({"model": torch.nn.Linear(1, 1)}, p),
                      r"Linear beside.*torch\.save\(found\[NAME\]"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_of_a_format_that_is_not_read_it_is_said_how_to_convert_it(
    tmp_path: Path, kind: str
) -> None:
    name, content, said = OTHERS[kind]
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    with pytest.raises(FaceproofError, match=said):
        read_state(path)


def test_a_folder_is_answered_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(FaceproofError, match=r"is a folder, which holds pytorch_model\.bin; name"):
        read_state(tmp_path)


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
    shuffled = {
        f"x.{key.replace('s.', '.')}": value
        for key, value in reversed(small(1).state_dict().items())
    }
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
