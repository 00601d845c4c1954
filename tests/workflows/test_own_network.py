"""A backbone of one's own: trained, evaluated, explained, exported and loaded where allowed."""

import sys

import pytest

import faceproof
from faceproof import lookup
from faceproof.cli.main import main
from faceproof.data.run_tables import read_samples
from faceproof.errors import FaceproofError
from faceproof.explain.loaded_detector import load_subject
from tests.jobs import evaluate, train

OWN = """
from faceproof.models.backbones import SmallBackbone
from torch import nn

def tiny(size, width=4):
    return SmallBackbone([nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)], size)
"""


@pytest.fixture
def another_process(tmp_path, monkeypatch):
    """Return what makes this process one in which nothing is allowed or imported yet."""
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def forget():
        monkeypatch.setattr(lookup, "_allowed", set())
        sys.modules.pop("own_networks", None)

    forget()
    yield forget
    sys.modules.pop("own_networks", None)


def test_a_backbone_of_ones_own_goes_all_the_way(small_faces, tmp_path, another_process, capsys):
    run = train(
        tmp_path / "run", "data=face_or_not", f"data.root={small_faces}", "model=face_cnn",
        "model.backbone.name=own_networks.tiny", "+model.backbone.width=5",
        "model.input.size=16", "trainer=smoke", "loader.batch_size=8", "loader.num_workers=0",
        "logger=csv",
    )  # fmt: skip
    refusal = r"model\.backbone\.name = 'own_networks\.tiny' is code that is not faceproof's"
    artifact = tmp_path / "artifact"
    export = ["export", str(run.path), "--to", str(artifact)]

    another_process()
    with pytest.raises(FaceproofError, match=refusal):
        evaluate(run.path, "loader.num_workers=0")
    with pytest.raises(FaceproofError, match=refusal):
        load_subject(run.path, "cpu")
    assert main(export) == 2
    assert "--allow own_networks with any command" in capsys.readouterr().err
    assert "own_networks" not in sys.modules

    assert evaluate(run.path, "loader.num_workers=0", "allow=[own_networks]").is_dir()
    another_process()
    assert main([*export, "--allow", "own_networks"]) == 0
    another_process()
    with pytest.raises(FaceproofError, match=refusal):
        faceproof.load(artifact)
    allow = ["own_networks"]
    logit = faceproof.load(artifact, "cpu", allow=allow)(_image(run)).logit
    another_process()
    assert load_subject(run.path, "cpu", allow).net.backbone.blocks[0][0].out_channels == 5
    assert isinstance(logit, float)


def _image(run):
    return read_samples(run)["path"][0].as_py()
