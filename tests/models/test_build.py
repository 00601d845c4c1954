"""Networks from names and numbers: what is built, what is refused, and code of one's own."""

import sys
from typing import Any

import pytest
import torch

from faceproof import app, lookup
from faceproof.errors import FaceproofError
from faceproof.models.backbones import BACKBONES
from faceproof.models.branches import BRANCHES
from faceproof.models.build import build_network, network_shapes, read_model
from faceproof.models.heads import HEADS
from tests.jobs import CHOICES, compose_job

CNN = {"name": "face_cnn"}
TIMM = {"name": "timm", "model": "test_resnet"}
HEAD = {"name": "linear"}
INPUT = {"size": 16, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}
OWN = """
import torch
from faceproof.models.backbones import face_cnn_backbone
from torch import nn

def with_size(size, width=8):
    return face_cnn_backbone(size)

class WithoutSize(nn.Module):
    num_features = 3

    def forward(self, images):
        return images.mean((2, 3))

def make_head(num_features, gain):
    head = nn.Sequential(nn.Linear(num_features, 1), nn.Flatten(0))
    return head

def no_network():
    return nn.Identity()
"""


# What a choice asks for besides.
MORE = {"timm": ("model.name=test_vit",), "own": ("model.backbone.name=cnn3",)}


def model(backbone: Any = CNN, head: Any = HEAD, input: Any = INPUT, **more: Any) -> dict[str, Any]:
    return {"backbone": backbone, "head": head, "input": input, **more}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of the user's own, which nobody has allowed yet."""
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lookup, "_allowed", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_networks", None)


@pytest.mark.parametrize("choice", CHOICES["model"])
def test_shapes_are_those_of_the_network(choice, tmp_path):
    words = (f"model={choice}", *MORE.get(choice, ()))
    config = read_model(app.plain(compose_job("train", tmp_path, words).model))
    net = build_network(config)
    state = {key: (tuple(v.shape), v.dtype) for key, v in net.state_dict().items()}
    assert network_shapes(config) == state
    parts = {"backbone", "head", "input_mean", "input_std"}
    beside = {"branch"} if config.branch_mode == "beside" else set()
    assert {key.split(".")[0] for key in state} == parts | beside


def test_every_part_that_can_be_named_is_used_by_a_model(tmp_path):
    words = [(f"model={choice}", *MORE.get(choice, ())) for choice in CHOICES["model"]]
    used = [read_model(app.plain(compose_job("train", tmp_path, one).model)) for one in words]
    assert {config.backbone["name"] for config in used} == set(BACKBONES)
    assert {config.head["name"] for config in used} == set(HEADS)
    assert {config.branch["name"] for config in used} == {*BRANCHES, "none"}


def test_the_backbone_is_made_for_the_size_of_the_input():
    assert build_network(model()).backbone.num_features == 1024
    assert build_network(model({"name": "timm", "model": "test_vit"})).input.size == 16
    other = build_network(model(input={**INPUT, "size": None}))
    assert (other.input.size, other.backbone.num_features) == (48, 9216)  # its function's own
    assert build_network(model({**CNN, "size": 20})).backbone.num_features == 1600


def test_the_backbone_is_made_before_the_head():
    """So that the same seed gives the same weights, whatever the head."""
    found = []
    for head in (HEAD, {"name": "hidden", "num_hidden": 3}):
        torch.manual_seed(5)
        found.append(build_network(model(head=head)).backbone.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_what_the_settings_leave_to_timm_is_spelt_out():
    net = build_network(model(TIMM, input={"size": None, "mean": None, "std": None}))
    assert (net.input.size, net.input.mean) == (160, (0.5, 0.5, 0.5))
    config = read_model(model(TIMM, input={}))
    assert config.network["input"] == dict.fromkeys(INPUT)
    assert build_network(config).input == net.input


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "builtins.eval", "os.path.join"])
@pytest.mark.parametrize("part", ["backbone", "head"])
def test_code_that_nobody_has_allowed_is_not_called(name, part):
    message = rf"model\.{part}\.name = '{name}' is code.*--allow {name.rpartition('.')[0]}"
    with pytest.raises(FaceproofError, match=message):
        build_network(model(**{part: {"name": name, "command": "touch /tmp/x"}}))


@pytest.mark.parametrize(
    "option",
    [
        {"pretrained": True},
        {"checkpoint_path": "evil.pth"},
        {"pretrained_cfg_overlay": {"file": "evil.pth"}},
        {"cache_dir": "/"},
    ],
)
def test_nothing_is_fetched_or_read(option):
    with pytest.raises(FaceproofError, match=f"may not set {next(iter(option))}"):
        build_network(model({**TIMM, **option}))


@pytest.mark.usefixtures("own")
def test_a_backbone_and_a_head_of_ones_own_are_called_if_allowed():
    with_size = model({"name": "own_networks.with_size", "width": 4})
    with pytest.raises(FaceproofError, match=r"--allow own_networks.*FACEPROOF_ALLOW=own_netw"):
        build_network(with_size)
    assert "own_networks" not in sys.modules
    lookup.allow(["own_networks"])
    assert build_network(with_size).backbone.num_features == 1024
    plain = model(
        {"name": "own_networks.WithoutSize"}, {"name": "own_networks.make_head", "gain": 2}
    )
    assert build_network(plain)(torch.rand(2, 3, 16, 16)).shape == (2,)
    assert read_model(plain).is_own_code
    assert not read_model(model()).is_own_code


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "own_networks.gone"}, r"'own_networks\.gone' cannot be imported"),
        ({"name": "own_networks.with_size", "widht": 4}, r"did you mean model\.backbone\.width"),
        ({"name": "own_networks.no_network"}, "no attribute 'num_features'"),
    ],
)
def test_own_code_that_cannot_be_used_is_named(backbone, message):
    lookup.allow(["own_networks"])
    with pytest.raises(FaceproofError, match=message):
        build_network(model(backbone))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (model({**CNN, "width": 3}), r"there is no setting model\.backbone\.width"),
        (model({"name": "face_cmm"}), r"model\.backbone\.name = 'face_cmm'.*mean face_cnn"),
        (model({"name": "timm"}), r"model\.backbone\.model is missing"),
        (model({**TIMM, "model": "no_such"}), "timm has no model"),
        (model({**TIMM, "act_layr": "relu"}), "cannot be built"),
        (model(head={**HEAD, "num_outputs": 7}), "cannot be built: .*1 or 2 outputs"),
        (model(head={**HEAD, "droput": 0.5}), r"did you mean model\.head\.dropout"),
        (model(head={"name": "hidden"}), r"model\.head\.num_hidden is missing"),
        (model(input={**INPUT, "std": [0, 1, 1]}), "positive stds"),
        (model(input={**INPUT, "size": 100_000}), r"positive size in whole pixels, at most 4096"),
        (model(input={**INPUT, "sise": 3}), r"did you mean model\.input\.size"),
        (model(input=3), r"model\.input"),
        (model(CNN["name"]), r"model\.backbone = 'face_cnn' must be settings with a name"),
        (model({"name": 3}), r"model\.backbone = .* must be settings with a name"),
        (model(wieghts="none"), r"did you mean model\.weights"),
        (model(swap_classes="yes"), r"model\.swap_classes = 'yes' must be true or false"),
        ({}, r"model\.backbone is missing"),
        ([], "model = .. must be settings by name"),
    ],
)
def test_what_cannot_be_built_is_refused(given, message):
    with pytest.raises(FaceproofError, match=message):
        build_network(given)


def test_shapes_take_no_memory():
    config = read_model(model(head={"name": "hidden", "num_hidden": 2**20}))
    assert network_shapes(config)["head.hidden.weight"][0] == (2**20, 1024)


def test_a_backbone_of_ones_own_needs_no_more_than_its_name(own):
    lookup.allow(["own_networks"])
    net = build_network({"backbone": {"name": "own_networks.WithoutSize"}})
    assert (net.input.size, net.input.mean, net.input.std) == (224, (0, 0, 0), (1, 1, 1))
    assert net(torch.rand(2, 3, 224, 224)).shape == (2,)
