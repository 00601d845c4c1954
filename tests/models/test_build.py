"""Networks from plain data: the same as Hydra makes, and nothing else is run."""

import sys

import pytest
import torch
from omegaconf import OmegaConf

from faceproof import app
from faceproof.errors import FaceproofError
from faceproof.models.build import build_network, concrete_description, described_shapes
from tests.jobs import CHOICES, compose_job

HEAD = {"_target_": "faceproof.models.heads.LinearHead", "_partial_": True}
INPUT = {"size": 16, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}
CNN = {"_target_": "faceproof.models.backbones.face_cnn_backbone", "size": 16}
TIMM = {"_target_": "faceproof.models.backbones.timm_backbone", "name": "test_resnet"}


def description(backbone=CNN, head=HEAD, input=INPUT, target="faceproof.models.make_detector"):
    return {"_target_": target, "backbone": backbone, "head": head, "input": input}


@pytest.mark.parametrize("model", CHOICES["model"])
def test_every_model_is_built_as_hydra_builds_it(model, tmp_path):
    name = ["model.name=test_vit"] if model == "timm" else []
    config = compose_job("train", tmp_path, (f"model={model}", *name))
    OmegaConf.resolve(config)
    plain = OmegaConf.to_container(config.model.network)
    with torch.device("meta"):
        hydras = app.build(config.model.network)
        ours = build_network(plain)
    assert ours.input == hydras.input
    shapes = {key: (tuple(v.shape), v.dtype) for key, v in hydras.state_dict().items()}
    assert described_shapes(plain) == shapes


def test_a_built_network_computes_what_hydras_does(tmp_path):
    config = compose_job("train", tmp_path, ("model=face_cnn", "model.input.size=16"))
    OmegaConf.resolve(config)
    theirs = app.build(config.model.network).eval()
    ours = build_network(OmegaConf.to_container(config.model.network)).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(ours(images), theirs(images))


def test_what_the_description_leaves_to_timm_becomes_concrete():
    given = description(TIMM, input={"size": None, "mean": None, "std": None})
    found = concrete_description(given, build_network(given))
    assert found["input"]["size"] == 160
    assert found["input"]["mean"] == [0.5, 0.5, 0.5]
    assert build_network(found).input == build_network(given).input
    assert given["input"]["size"] is None


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.nn.Linear",
        "faceproof.models.weights.load_file",
        "builtins.eval",
        None,
        3,
    ],
)
def test_only_registered_names_are_called(target):
    with pytest.raises(FaceproofError, match=r"which is not run; known are .*timm_backbone"):
        build_network(description({"_target_": target, "command": "touch /tmp/x"}))


@pytest.mark.parametrize(
    "argument",
    [
        {"pretrained": True},
        {"checkpoint_path": "evil.pth"},
        {"pretrained_cfg_overlay": {"file": "evil.pth"}},
        {"cache_dir": "/"},
        {"_recursive_": False},
        {"_args_": ["resnet18"]},
    ],
)
def test_nothing_is_fetched_or_read(argument):
    with pytest.raises(FaceproofError, match=f"may not set {next(iter(argument))}"):
        build_network(description({**TIMM, **argument}))


def test_a_backbone_of_ones_own_is_allowed_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_backbones.py").write_text(
        "from faceproof.models.backbones import face_cnn_backbone\n"
        "def my_backbone(size): return face_cnn_backbone(size)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = description({"_target_": "my_backbones.my_backbone", "size": 16})
    with pytest.raises(FaceproofError, match=r"allow=\('my_backbones.my_backbone',\)"):
        build_network(own)
    assert "my_backbones" not in sys.modules
    assert build_network(own, allow=("my_backbones.my_backbone",)).input.size == 16
    gone = description({"_target_": "my_backbones.gone"})
    with pytest.raises(FaceproofError, match="is allowed but cannot be imported"):
        build_network(gone, allow=("my_backbones.gone",))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (description({**CNN, "width": 3}), "unexpected keyword argument"),
        (description({**TIMM, "name": "no_such"}), "timm has no model"),
        (description(head={**HEAD, "num_outputs": 7}), "1 or 2 outputs"),
        (description(input={**INPUT, "std": [0, 1, 1]}), "positive stds"),
        (description(input={**INPUT, "size": 100_000}), r"positive size.*\(1, 4096\)"),
        (description({"_target_": CNN["_target_"], "size": object()}), "holds a object"),
        (CNN, "names make_detector at its top"),
        ({}, "names make_detector at its top"),
        ([], "names make_detector at its top"),
    ],
)
def test_what_cannot_be_built_is_refused(given, message):
    with pytest.raises(FaceproofError, match=message):
        build_network(given)


def test_a_description_nested_without_end_is_refused():
    node = {"size": 3}
    for _ in range(50):
        node = {"inner": node}
    with pytest.raises(FaceproofError, match="nested too deeply"):
        build_network(node)


def test_shapes_take_no_memory():
    wide = {"_target_": "faceproof.models.heads.HiddenHead", "_partial_": True}
    shapes = described_shapes(description(head={**wide, "num_hidden": 10**10}))
    assert shapes["head.hidden.weight"][0] == (10**10, 1024)
