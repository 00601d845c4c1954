"""A network of absurd depth or width is refused before it takes time or memory."""

import time

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.models.build import build_of_file, network_shapes, read_model
from faceproof.models.limits import at_most
from tests.small_runs import description

WIDE = {"name": "hidden", "num_hidden": 2**20, "num_outputs": 1}


def described(**parts):
    return read_model({**description(), **parts})


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "best.ckpt"
    file.write_bytes(bytes(100_000))
    return file


@pytest.mark.parametrize(
    ("head", "backbone", "words"),
    [
        (WIDE, {"name": "face_cnn"}, "far more than its file of weights has"),
        (WIDE, {"name": "face_cnn", "size": 4096}, "far more than its file of weights has"),
        (
            {"name": "conv_tail", "widths": [1] * 1500},
            {"name": "timm", "model": "resnet10t", "pooled": False, "layers": [900] * 4},
            "far more than its file|more than 60,000 parts|more than 20,000 tensors",
        ),
        (
            {"name": "linear"},
            {"name": "timm", "model": "resnet10t", "layers": [2**20] * 4},
            "far more than its file|more than 60,000 parts|more than 20,000 tensors",
        ),
    ],
)
def test_a_network_beyond_its_weights_is_refused_at_once(weights, head, backbone, words):
    began = time.process_time()
    with pytest.raises(FaceproofError, match=words):
        build_of_file(described(head=head, backbone=backbone), weights)
    assert time.process_time() - began < 30


@pytest.mark.parametrize(
    "options",
    [
        {"num_hidden": 2**21}, {"num_hidden": -(2**21)}, {"x": float("inf")}, {"x": [0] * 3000},
        {"x": [[[[[[[[1]]]]]]]]}, {"x": "n" * 2000}, {"x": {"y": 10**30}}, {"x": b""},
    ],
)  # fmt: skip
def test_absurd_settings_are_refused_before_anything_is_built(options):
    with pytest.raises(FaceproofError, match=r"model\.head"):
        described(head={"name": "hidden", **options})


def test_a_network_of_its_weights_is_built(tmp_path):
    model = described()
    size = sum(
        torch.Size(shape).numel() * kind.itemsize for shape, kind in network_shapes(model).values()
    )
    (tmp_path / "best.ckpt").write_bytes(bytes(size))
    assert build_of_file(model, tmp_path / "best.ckpt").backbone.num_features == 1024
    assert build_of_file(model, None).backbone.num_features == 1024


def test_the_bound_ends_with_its_block():
    with pytest.raises(FaceproofError), at_most(0):
        torch.nn.Linear(10_000, 10_000)
    assert torch.nn.Linear(10_000, 4_000).out_features == 4_000
