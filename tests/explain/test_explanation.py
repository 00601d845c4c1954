"""How much is computed: less for a larger network, and never more than is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.operating_point import DEFAULT
from faceproof.explain import explanation
from faceproof.explain.config import COARSE, EFFORTS, LEAST, STANDARD, THOROUGH, MapConfig
from faceproof.explain.explanation import explain_rows, measure_trust, planted_rows
from faceproof.explain.explanation_results import Stage
from faceproof.explain.loaded_detector import Subject
from faceproof.task import get_task
from faceproof.workflows.explain import ExplainConfig
from tests.known_networks import patch_network, timm_network

# What the module says that three methods take, passes backwards counted as forward ones.
PASSES = {"thorough": 7700, "standard": 3800, "coarse": 1030, "least": 380}


def subject_of(net):
    return Subject(net, get_task("deepfake"), DEFAULT, "x")


@pytest.mark.parametrize(
    ("multiply_adds", "chosen"),
    [
        (0.21e9, THOROUGH),  # cnn3
        (0.39e9, STANDARD),  # effnet_b0
        (1.81e9, STANDARD),  # resnet18
        (4.18e9, COARSE),  # resnet50_convtail
        (17.6e9, LEAST),  # vit_b16
        (200e9, LEAST),
    ],
)
def test_a_larger_network_is_given_less(monkeypatch, multiply_adds, chosen):
    counted = "faceproof.explain.loaded_detector.count_multiply_adds"
    monkeypatch.setattr(counted, lambda net: int(multiply_adds))
    assert subject_of(patch_network()).effort("auto") is chosen


def test_the_work_is_counted_and_a_name_is_obeyed():
    subject = subject_of(timm_network("test_vit"))
    assert subject.effort("auto") is THOROUGH
    assert subject.effort("least") is LEAST
    with pytest.raises(FaceproofError, match="must be one of auto, thorough, standard"):
        ExplainConfig(Path("x"), effort="most")


@pytest.mark.parametrize("name", ["coarse", "least"])
def test_no_more_images_go_through_the_network_than_is_said(name, tmp_path):
    """The network is asked in full: twelve images are more than these efforts take."""
    effort, net = EFFORTS[name], timm_network("test_vit", size=32, img_size=32)
    passes = {"forward": 0, "backward": 0}

    def count(module, inputs, output):
        passes["forward"] += len(output)
        if output.requires_grad:
            passes["backward"] += len(output)

    net.register_forward_hook(count)
    rows = _rows(tmp_path, 12)
    subject = subject_of(net)
    config = MapConfig(effort=effort)
    for section in ("missed", "alarm"):
        explain_rows(subject, rows.slice(0, effort.shown), config, section)
    found = measure_trust(subject, rows.slice(0, effort.sample), rows.slice(0, 0), "some", config)
    assert found.num_images == effort.sample
    assert found.num_randomised == effort.num_randomised
    (method, *_) = found.methods.values()
    assert len(method.stages) == effort.num_stages
    assert method.stages[-1].share == 1
    assert len(method.deletion_curve) == effort.num_steps + 1
    assert sum(passes.values()) <= 1.1 * PASSES[name]
    assert passes["backward"] > 0


def test_the_randomised_images_are_of_both_classes(tmp_path, monkeypatch):
    """A sample comes class by class; its first few would be of one."""
    seen = []
    monkeypatch.setattr(
        "faceproof.explain.explanation.randomisation_test",
        lambda net, images, *rest: seen.append(images.mean((1, 2, 3))) or _stages(),
    )  # fmt: skip
    rows = _rows(tmp_path, 6)
    subject = subject_of(patch_network())
    config = MapConfig(("cam",), effort=replace(LEAST, num_randomised=2))
    measure_trust(subject, rows, rows.slice(0, 0), "some", config)
    (means,) = seen
    wanted = [_noise(0).mean() / 255, _noise(5).mean() / 255]
    assert means.numpy() == pytest.approx(wanted, abs=0.02)


def _stages():
    return [Stage("all weights", 1.0, 0.1, 0.1)]


def _noise(number):
    shade = np.random.default_rng(number).integers(0, 256, (32, 32, 3))
    return (shade * (number + 1) / 8).astype(np.uint8)


def _rows(folder, number):
    for place in range(number):
        Image.fromarray(_noise(place)).save(folder / f"{place}.png")
    torch.manual_seed(0)
    return table_from_columns({"path": [str(folder / f"{n}.png") for n in range(number)]})


def test_planted_images_are_independent(monkeypatch):
    monkeypatch.setattr(explanation, "local_mask", lambda path, side: np.ones((side, side)))
    columns = {"path": [f"{n}.png" for n in range(12)], "label": ["fake"] * 12}
    rows = table_from_columns(columns | {"group": [f"v{n // 4}" for n in range(12)]})
    assert sorted(planted_rows(rows, 9, 0)["group"].to_pylist()) == ["v0", "v1", "v2"]
