"""Networks with an input branch as artifacts: the card's words, and the same scores everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import faceproof
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.models import build_network
from faceproof.workflows.export import export_run
from tests.small_runs import change_card, finish_run, images_of, network_of, write_network

BRANCHES = {
    "srm": {"name": "srm", "mode": "replace", "truncate": 2.0},
    "npr": {"name": "npr", "mode": "replace"},
    "dct": {"name": "dct", "mode": "replace", "block": None},
    "blocks": {"name": "dct", "mode": "replace", "block": 8},
    "rgb_srm": {"name": "srm", "mode": "beside", "truncate": 2.0},
    "rgb_npr": {"name": "npr", "mode": "beside"},
}


def write_branched(folder: Path, branch):
    """Write a run whose network has a branch, with random weights."""
    write_network(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["branch"] = branch
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    net = build_network(config["model"])
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state}, folder / "best.ckpt")
    return finish_run(folder), net.eval()


@pytest.mark.onnx_export
@pytest.mark.parametrize("name", BRANCHES)
def test_an_artifact_scores_as_its_network_by_either_backend(name, tmp_path):
    run, net = write_branched(tmp_path / "run", BRANCHES[name])
    export_run(run, tmp_path / "artifact", onnx=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), np.uint8)
    with torch.no_grad():
        wanted = net(torch.from_numpy(images) / 255).numpy()
    assert np.ptp(wanted) > 1e-3
    for backend in ("torch", "onnx"):
        detector = faceproof.load(tmp_path / "artifact", "cpu", backend)
        found = [one.logit for one in detector.predict_batch(list(images))]
        assert found == pytest.approx(wanted, abs=1e-4)


def test_the_card_holds_the_branch_and_says_it(tmp_path):
    run, _ = write_branched(tmp_path / "run", BRANCHES["rgb_srm"])
    export_run(run, tmp_path / "artifact")
    card = json.loads((tmp_path / "artifact" / "card.json").read_text())
    assert network_of(card)["branch"] == BRANCHES["rgb_srm"]
    said = (tmp_path / "artifact" / "README.md").read_text()
    assert "Beside the image it sees the branch srm, truncate 2.0." in said


def test_a_card_of_an_earlier_version_has_no_branch(tmp_path):
    export_run(finish_run(write_network(tmp_path / "run")), tmp_path / "artifact")
    image = images_of(tmp_path / "run")[0]
    before = faceproof.load(tmp_path / "artifact", "cpu")(image).logit
    change_card(tmp_path / "artifact", lambda card: network_of(card).pop("branch"))
    assert faceproof.load(tmp_path / "artifact", "cpu")(image).logit == before


@pytest.mark.parametrize("branch", [{"name": "os.system"}, {"name": "smr"}, {"block": 8}])
def test_a_card_with_a_branch_that_is_none_of_ours_is_refused(branch, tmp_path):
    export_run(finish_run(write_network(tmp_path / "run")), tmp_path / "artifact")
    change_card(tmp_path / "artifact", lambda card: network_of(card).update(branch=branch))
    with pytest.raises(FaceproofError, match=r"model\.branch|its input branch has no name"):
        faceproof.load(tmp_path / "artifact", "cpu")


def test_a_run_s_digest_is_as_before_without_a_branch_and_another_with_one(tmp_path):
    folder = finish_run(write_network(tmp_path / "run"))
    before = RunFolder(folder).detector_digest
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for branch, same in (({"name": "none", "mode": "replace"}, True), (BRANCHES["npr"], False)):
        config["model"]["branch"] = branch
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        assert (RunFolder(folder).detector_digest == before) is same
