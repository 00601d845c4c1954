"""From runs to artifacts, with metrics, and ONNX held against PyTorch."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import faceproof
from faceproof import lookup
from faceproof.artifact import onnx
from faceproof.cli.main import main
from faceproof.data.run_tables import read_samples
from faceproof.errors import FaceproofError
from faceproof.evaluation.video_point import VideoPoint
from faceproof.io.run_folder import RunFolder
from faceproof.models import ImageInput
from faceproof.workflows import export_packing
from faceproof.workflows.export import ExportConfig, export_cascade, export_run
from tests.small_runs import (
    POINT,
    change_card,
    images_of,
    no_predictions,
    write_ensemble,
    write_evaluation,
    write_run,
)

INPUT = ImageInput(16, (0, 0, 0), (1, 1, 1), "bilinear")


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", gain=40.0)


def evaluation(run, name="tiny-test", **changes):
    point = RunFolder(run).read_operating_point()
    report = {
        "data": "tiny", "split": "test", "threshold": point["threshold"],
        "operating_point": point,
        "metrics": {"num_images": 24, "accuracy": 0.9, "roc_auc": None, "eer": 0.1},
        "intervals": {"metrics": {"accuracy": [0.71234, 0.95678], "eer": None}},
    }  # fmt: skip
    write_evaluation(RunFolder(run), name, no_predictions(), report | changes)


def test_the_rule_of_videos_is_in_the_card_and_an_older_card_has_none(run, tmp_path):
    own = replace(POINT, threshold=0.4, unsure=(0.4, 0.4))
    point = VideoPoint("median", "set by video.rule=median", own)
    RunFolder(run).write_operating_point(POINT.to_json(), point.to_json())
    artifact = tmp_path / "artifact"
    export_run(run, artifact)
    assert faceproof.load(artifact, "cpu").scorer.video == point
    said = (artifact / "README.md").read_text()
    assert "- Videos: by the median of the frames' calibrated probabilities (set by" in said
    assert "from probability 0.4000 on" in said
    change_card(artifact, lambda card: card["detector"].pop("video"))
    assert faceproof.load(artifact, "cpu").scorer.video is None
    change_card(artifact, lambda card: card["detector"].update(video={"rule": "mean"}))
    with pytest.raises(FaceproofError, match=r"detector\.video lacks or should not have"):
        faceproof.load(artifact, "cpu")


def test_of_a_column_of_many_words_the_worst_subgroups_are_stored_and_the_rest_counted(
    run, tmp_path
):
    """A name of each image's own would make the card larger than what is read."""
    rows = [
        {"value": f"name {n:03}", "num_images": 1, "few": True, "accuracy": 0.5,
         "accuracy_interval": None, "roc_auc": None, "roc_auc_interval": None}
        for n in range(300)
    ]  # fmt: skip
    parts = [
        {"column": "name", "rows": rows, "gaps": {"roc_auc": None}},
        {"column": "tone", "rows": rows[:2], "gaps": {"roc_auc": None}},
    ]
    evaluation(run, subgroups=parts)
    export_run(run, tmp_path / "artifact")
    card = json.loads((tmp_path / "artifact" / "card.json").read_text())
    many, few = card["detector"]["evaluations"][0]["subgroups"]
    assert many["rows"] == rows[:40]
    assert many["num_left"] == 260
    assert "num_left" not in few
    assert faceproof.load(tmp_path / "artifact", "cpu").card.to_json() == card
    text = (tmp_path / "artifact" / "README.md").read_text()
    assert text.count("more subgroups") == 1
    assert "- 260 more subgroups, which are more accurate or of few images" in text


def test_metrics_stand_with_their_intervals(run, tmp_path):
    evaluation(run)
    evaluation(run, "strict", threshold=0.9, operating_point=None)
    export_run(run, tmp_path / "artifact")
    text = (tmp_path / "artifact" / "README.md").read_text()
    first, second = (line for line in text.splitlines() if line.startswith("| tiny"))
    assert "tiny, test: 24 |" in second
    assert "0.900 (0.712 to 0.957)" in second
    assert "undefined" in second
    assert "0.100 (no interval)" in second
    assert "(at another threshold, 0.9000)" in first
    card = json.loads((tmp_path / "artifact" / "card.json").read_text())
    assert [one["same_operating_point"] for one in card["detector"]["evaluations"]] == [False, True]


def test_the_card_says_what_the_detector_does_in_use(run, tmp_path):
    measured = {"share_unsure": 0.52, "error_answered": 0.052}
    point = RunFolder(run).read_operating_point()
    evaluation(run, "other", operating_point=point | measured, data="other")
    evaluation(run, operating_point=point | measured | {"error_answered": 0.1})
    another = {"unsure": [0.2, 0.9], "share_unsure": 0.1, "error_answered": 0.3}
    evaluation(run, "another", operating_point=point | another)
    export_run(run, tmp_path / "artifact")
    card = faceproof.load(tmp_path / "artifact").card
    assert [one.share_unsure for one in card.detector.evaluations] == [None, 0.52, 0.52]
    said = (
        "In use it answers 48.0% of the images, 10.0% of those wrongly, and calls the others "
        "unsure (measured on tiny, test)."
    )
    assert card.detector.in_use == said
    assert f"- {said}" in (tmp_path / "artifact" / "README.md").read_text()


def test_a_card_of_an_earlier_version_does_not_say_it(run, tmp_path):
    evaluation(run)
    export_run(run, tmp_path / "artifact")
    file = tmp_path / "artifact" / "card.json"
    card = json.loads(file.read_text())
    for entry in card["detector"]["evaluations"]:
        del entry["share_unsure"], entry["error_answered"]
    file.write_text(json.dumps(card))
    assert faceproof.load(tmp_path / "artifact").card.detector.in_use is None


def test_what_was_not_measured_is_a_dash(run, tmp_path):
    export_run(run, tmp_path / "artifact")
    text = (tmp_path / "artifact" / "README.md").read_text()
    assert "| none scored | - |" in text
    for word in (
        "real", "fake", "threshold does not travel", "16 x 16 pixels", "temperature 0.5",
        "No evaluation was stored", 'faceproof.load("artifact")', "train 4 fake, 4 real",
    ):  # fmt: skip
        assert word in text, word


def test_the_fingerprint_is_of_the_images_not_of_where_they_lie(tmp_path):
    prints = []
    for place in ("here", "there"):
        export_run(write_run(tmp_path / place / "run"), tmp_path / place / "artifact")
        card = json.loads((tmp_path / place / "artifact" / "card.json").read_text())
        prints.append(card["detector"]["trained_on"]["fingerprint"])
    assert prints[0] == prints[1]
    export_run(write_run(tmp_path / "face" / "run", "face"), tmp_path / "face" / "artifact")


def test_nothing_is_overwritten_unasked(run, tmp_path):
    export_run(run, tmp_path / "artifact")
    before = (tmp_path / "artifact" / "card.json").read_text()
    with pytest.raises(FaceproofError, match="replace it by --overwrite"):
        export_run(run, tmp_path / "artifact")
    assert (tmp_path / "artifact" / "card.json").read_text() == before
    (tmp_path / "artifact" / "README.md").write_text("old")
    export_run(run, tmp_path / "artifact", overwrite=True)
    assert (tmp_path / "artifact" / "README.md").read_text() != "old"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(FaceproofError, match="is no detector artifact; name another folder"):
        export_run(run, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"format": "faceproof detector 2"}'])
def test_a_card_of_another_program_makes_no_artifact_to_replace(run, tmp_path, text):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "card.json").write_text(text)
    (mine / "thesis.tex").touch()
    with pytest.raises(FaceproofError, match=r"mine is there; name another folder: .*card\.json"):
        export_run(run, mine, overwrite=True)
    assert (mine / "card.json").read_text() == text
    assert (mine / "thesis.tex").exists()


def test_an_artifact_that_holds_files_of_someone_else_is_not_replaced(run, tmp_path):
    folder = tmp_path / "artifact"
    export_run(run, folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "model.safetensors").touch()
    (folder / "thesis.tex").touch()
    before = (folder / "card.json").read_text()
    named = "written there: notes/model.safetensors, thesis.tex; move that away"
    with pytest.raises(FaceproofError, match=named):
        export_run(run, folder, overwrite=True)
    assert (folder / "thesis.tex").exists()
    assert (folder / "card.json").read_text() == before


def test_a_report_that_is_being_written_is_not_among_the_evaluations(run, tmp_path):
    evaluation(run)
    evaluation(run, name=".tiny-test.partial-host-1")
    export_run(run, tmp_path / "artifact")
    card = json.loads((tmp_path / "artifact" / "card.json").read_text())
    (one,) = card["detector"]["evaluations"]
    assert one["name"] == "tiny-test"


@pytest.mark.parametrize(
    "file", ["best.ckpt", "config.yaml", "operating_point.json", "seen.parquet"]
)
def test_an_unfinished_run_is_refused(run, tmp_path, file):
    (run / file).unlink()
    with pytest.raises(FaceproofError, match=f"{file} is not there"):
        export_run(run, tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_a_backbone_of_ones_own_is_exported_if_it_is_allowed(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_backbones.py").write_text(
        "from faceproof.models.backbones import face_cnn_backbone as small\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(lookup, "_allowed", set())
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["backbone"] = {"name": "own_backbones.small"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    RunFolder(run).write_operating_point(POINT.to_json())
    command = ["export", str(run), "--to", str(tmp_path / "artifact")]
    assert main(command) == 2
    assert "--allow own_backbones with any command" in capsys.readouterr().err
    assert not (tmp_path / "artifact").exists()
    assert main([*command, "--allow", "own_backbones"]) == 0
    monkeypatch.setattr(lookup, "_allowed", set())
    with pytest.raises(FaceproofError, match=r"'own_backbones\.small' is code that is not facep"):
        faceproof.load(tmp_path / "artifact")
    predict = ["predict", images_of(run)[0], "--detector", str(tmp_path / "artifact")]
    assert main(predict) == 2
    assert main([*predict, "--allow", "own_backbones", "--device", "cpu", "--workers", "0"]) == 0
    monkeypatch.setattr(lookup, "_allowed", set())
    detector = faceproof.load(tmp_path / "artifact", allow=["own_backbones"])
    assert detector(images_of(run)[0]).called


@pytest.mark.parametrize(
    "parts", [{}, {"gate": "a"}, {"detector": "b"}, {"run": "a", "gate": "b", "detector": "c"}]
)
def test_either_a_run_or_both_parts_of_a_cascade_are_exported(parts, tmp_path):
    with pytest.raises(FaceproofError, match="either RUN, or both --gate and --detector"):
        ExportConfig(to=tmp_path, **{name: Path(part) for name, part in parts.items()})


def agree(folder, images):
    ours = faceproof.load(folder, "cpu").predict_batch(images)
    theirs = faceproof.load(folder, "cpu", "onnx").predict_batch(images)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.verdict, one.called) == (other.verdict, other.called)
        if one.logit is not None:
            assert one.logit == pytest.approx(other.logit, abs=1e-4)
    return ours


@pytest.mark.onnx_export
def test_onnx_gives_the_same_verdicts(run, tmp_path):
    export_run(run, tmp_path / "artifact", onnx=True)
    assert (tmp_path / "artifact" / "model.onnx").is_file()
    images = images_of(run)
    assert len({v.verdict for v in agree(tmp_path / "artifact", images)}) == 2
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 30, 30), np.uint8)
    detector = faceproof.load(tmp_path / "artifact", backend="onnx")
    assert detector(images[0]).called in ("real", "fake")
    file = tmp_path / "artifact" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FaceproofError, match="is not the file that the card was written for"):
        faceproof.load(tmp_path / "artifact", backend="onnx")
    os.truncate(file, onnx.MAX_BYTES + 1)  # takes no room
    with pytest.raises(
        FaceproofError, match=r"model\.onnx has 2,147,483,648 bytes; at most 2,147,"
    ):
        faceproof.load(tmp_path / "artifact", backend="onnx")


@pytest.mark.onnx_export
def test_each_network_of_a_cascade_of_an_ensemble_has_its_onnx(run, tmp_path):
    ensemble = write_ensemble(tmp_path / "ensemble", task="face")
    export_cascade(ensemble, run, tmp_path / "artifact", onnx=True)
    assert sorted(file.name for file in (tmp_path / "artifact").glob("*.onnx")) == [
        "detector-model.onnx", "gate-member-0.onnx", "gate-member-1.onnx",
    ]  # fmt: skip
    agree(tmp_path / "artifact", images_of(run))
    export_run(run, tmp_path / "plain")
    with pytest.raises(FaceproofError, match="was exported without ONNX"):
        export_cascade(ensemble, tmp_path / "plain", tmp_path / "other", onnx=True)


@pytest.mark.onnx_export
def test_an_onnx_model_that_disagrees_is_not_left_behind(run, tmp_path, monkeypatch):
    class Wrong(onnx.OnnxNetwork):
        def __call__(self, images):
            return super().__call__(images) + np.float32(3e-4)

    monkeypatch.setattr(onnx, "OnnxNetwork", Wrong)
    with pytest.raises(FaceproofError, match=r"disagree on model.onnx: on 8 .* 0.0003, more than"):
        export_run(run, tmp_path / "artifact", onnx=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "tiny"]


@pytest.mark.onnx_export
def test_onnx_needs_images_to_be_held_against_pytorch(run, tmp_path):
    for path in images_of(run):
        Path(path).unlink()
    with pytest.raises(FaceproofError, match="none of the run's validation images"):
        export_run(run, tmp_path / "artifact", onnx=True)
    assert not (tmp_path / "artifact").exists()


@pytest.mark.onnx_export
def test_images_that_parity_is_not_checked_on_are_counted(run, tmp_path, caplog):
    first = read_samples(RunFolder(run), "val")["path"][0].as_py()
    Path(first).write_bytes(b"no image")
    export_run(run, tmp_path / "artifact", onnx=True)
    assert "on 7 images; 1 validation images beside them cannot be read, " in caplog.text
    assert first in caplog.text


def test_what_is_no_model_of_ours_is_refused():
    with pytest.raises(FaceproofError, match="the ONNX model cannot be read"):
        onnx.OnnxNetwork(b"nonsense", INPUT)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[onnx\]'"):
        onnx.OnnxNetwork(b"", INPUT)


def test_an_ensemble_may_not_reach_outside_of_its_run(tmp_path):
    run = write_ensemble(tmp_path / "run")
    file = run / "ensemble.json"
    file.write_text(file.read_text().replace("members/m1", "../elsewhere"))
    with pytest.raises(FaceproofError, match="names a member outside of the run"):
        export_run(run, tmp_path / "artifact")


def change_weights_of_run(run):
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["net.head.logit.linear.bias"] += 1
    torch.save(checkpoint, run / "best.ckpt")


def test_an_evaluation_of_other_weights_never_stands_in_the_card(run, tmp_path):
    """As when a run is trained further after its evaluation."""
    evaluation(run)
    change_weights_of_run(run)
    RunFolder(run).write_operating_point(POINT.to_json())
    with pytest.raises(
        FaceproofError, match=r"tiny-test: it is of other weights .* faceproof evaluate"
    ):
        export_run(run, tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()
    evaluation(run)
    export_run(run, tmp_path / "artifact")


def test_weights_put_in_by_hand_are_not_exported_with_the_threshold_of_others(run, tmp_path):
    change_weights_of_run(run)
    with pytest.raises(FaceproofError, match=r"fitted to other weights .* put back what it was"):
        export_run(run, tmp_path / "artifact")


def test_weights_that_change_meanwhile_are_not_exported(run, tmp_path, monkeypatch):
    original = export_packing._evaluations

    def slowly(folder, *points):
        change_weights_of_run(folder.path)
        return original(folder, *points)

    monkeypatch.setattr(export_packing, "_evaluations", slowly)
    with pytest.raises(FaceproofError, match="were changed while they were used"):
        export_run(run, tmp_path / "artifact")
