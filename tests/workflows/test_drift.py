"""`faceproof drift`, from an exported detector and what it has judged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceproof.cli.main import main
from faceproof.data.shards.paths import Member
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.json_values import plain
from faceproof.evaluation.novelty import NoveltyPoint
from faceproof.evaluation.predictions import predictions_table, sigmoid, write_predictions
from faceproof.io.run_folder import RunFolder
from faceproof.prepare.cropping import CropConfig, StoredCrop
from faceproof.workflows.drift import OF_FILES, DriftConfig, drift, pack_reference
from faceproof.workflows.export import export_run
from tests.small_runs import POINT, change_card, network_of, write_run

NUM = 40


def write_set(folder: Path, size: int, seed: int) -> list[str]:
    """Write small pictures of noise."""
    folder.mkdir(parents=True)
    draw, paths = np.random.default_rng(seed), []
    for number in range(NUM):
        pixels = draw.integers(0, 256, (size, size, 3), np.uint8)
        paths.append(str(folder / f"{number:02}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


def predicted(paths, shift=0.0, seed=0, novelties=None, **columns):
    logits = np.random.default_rng(seed).normal(shift, size=len(paths))
    rows = table_from_columns({"path": paths, **columns})
    return predictions_table(rows, logits, sigmoid(logits), novelties)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    run = RunFolder(write_run(folder / "run"))
    write_predictions(predicted(write_set(folder / "val", 24, 0)), run.validation)
    run.write_operating_point(POINT.to_json())
    export_run(run.path, folder / "artifact")
    return folder / "artifact"


def test_other_scores_and_other_files_are_found(artifact, tmp_path, capsys):
    paths = write_set(tmp_path / "now", 48, 1)
    write_predictions(predicted(paths, 2.0, seed=1), tmp_path / "now.parquet")
    out = tmp_path / "drift"
    words = ["drift", str(tmp_path / "now.parquet"), "--detector", str(artifact), "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "logit: has changed" in said
    assert "width: has changed (median 24 in validation, 48 now" in said
    assert "brightness: no change that counts" in said
    found = json.loads((out / "drift.json").read_text())
    assert {one["name"] for one in found["changes"] if one["counts"]} >= {"logit", "width"}
    assert found["strange"] is None
    with Image.open(out / "drift.png") as drawn:
        assert drawn.width > 1000


def test_the_same_kind_of_images_has_not_changed(artifact, tmp_path):
    paths = write_set(tmp_path / "now", 24, 1)
    write_predictions(predicted(paths, seed=3), tmp_path / "now.parquet")
    config = DriftConfig(tmp_path / "now.parquet", detector=artifact, out=tmp_path / "drift")
    assert not [one.name for one in drift(config) if one.counts]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_predict_writes_is_read(artifact, tmp_path, suffix):
    paths = write_set(tmp_path / "now", 24, 1)
    out = tmp_path / f"verdicts.{suffix}"
    (tmp_path / "now" / "broken.png").write_bytes(b"none")
    words = [str(tmp_path / "now"), "--detector", str(artifact), "--out", str(out)]
    assert main(["predict", *words, "--keep-going"]) == 0
    found = drift(DriftConfig(out, detector=artifact, out=tmp_path / "drift", files=False))
    assert [(one.name, one.num_images) for one in found] == [("logit", len(paths))]


def test_no_store_is_asked_that_only_a_strangers_table_names(artifact, tmp_path):
    paths = [Member("s3://theirs/set", "a.tar", n, 9, 1).path(f"{n}.jpg") for n in range(NUM)]
    table = predicted(paths)
    write_predictions(table, file := tmp_path / "now.parquet")
    config = DriftConfig(file, detector=artifact, out=tmp_path / "drift")
    for ask in (lambda: drift(config), lambda: pack_reference(table, file)):
        with pytest.raises(FaceproofError, match=r"now\.parquet names images in s3://theirs/set"):
            ask()
    without = DriftConfig(file, detector=artifact, out=tmp_path / "drift", files=False)
    assert [one.name for one in drift(without)] == ["logit"]


def test_files_are_not_compared_with_faces_that_were_cut_out_of_them(artifact, tmp_path, capsys):
    of_faces = shutil.copytree(artifact, tmp_path / "artifact")
    crop = plain(StoredCrop(CropConfig(), "an onnx"))
    change_card(of_faces, lambda card: card["detector"].update(crop=crop))
    paths = write_set(tmp_path / "now", 48, 1)
    file = tmp_path / "now.csv"
    for faces, expected in (("1", {"logit"}), ("", {"logit", *OF_FILES})):
        lines = [f"{path},{n / NUM - 0.5},{faces}" for n, path in enumerate(paths)]
        file.write_text("\n".join(["path,logit,faces", *lines]) + "\n")
        found = drift(DriftConfig(file, detector=of_faces, out=tmp_path / "drift"))
        assert {one.name for one in found} == expected
        left_out = json.loads((tmp_path / "drift" / "drift.json").read_text())["left_out"]
        assert (left_out is not None) == bool(faces)
        assert ("files: not compared" in capsys.readouterr().out) == bool(faces)


def test_frames_of_one_video_count_as_one_for_the_share_of_strange_images(artifact, tmp_path):
    knowing = shutil.copytree(artifact, tmp_path / "artifact")
    point = NoveltyPoint(2.0, 0.05, NUM, NUM)

    def add(card):
        card["detector"]["novelty"] = plain(point)
        network_of(card)["novelty"] = {"file": "n.safetensors", "sha256": ""}

    change_card(knowing, add)
    novelties = np.repeat([3.0, 1.0, 1.0, 3.0], NUM // 4)
    widths = []
    for groups in ([None] * NUM, [f"v{n // 10}" for n in range(NUM)]):
        table = predicted([f"{n}.png" for n in range(NUM)], novelties=novelties, group=groups)
        write_predictions(table, tmp_path / "now.parquet")
        out = tmp_path / "drift"
        drift(DriftConfig(tmp_path / "now.parquet", detector=knowing, out=out, files=False))
        strange = json.loads((out / "drift.json").read_text())["strange"]
        assert strange["share"] == 0.5
        widths.append(np.ptp(strange["interval"]))
    assert widths[1] > 2 * widths[0]


def test_what_is_no_such_thing_is_told_in_words(artifact, tmp_path):
    (tmp_path / "other.csv").write_text("path,label\na.jpg,real\n")
    config = DriftConfig(tmp_path / "other.csv", detector=artifact, out=tmp_path / "drift")
    with pytest.raises(FaceproofError, match="path and logit are needed"):
        drift(config)
    (tmp_path / "words.csv").write_text("path,logit\na.jpg,many\n")
    with pytest.raises(FaceproofError, match="no number"):
        drift(DriftConfig(tmp_path / "words.csv", detector=artifact, out=tmp_path / "drift"))


def test_an_artifact_that_stores_nothing_says_so(artifact, tmp_path):
    """As those of earlier versions, which are loaded all the same."""
    old = shutil.copytree(artifact, tmp_path / "old")
    change_card(old, lambda card: card["detector"].pop("reference"))
    (tmp_path / "now.csv").write_text("path,logit\na.jpg,1\n")
    with pytest.raises(FaceproofError, match="stores nothing that images could be compared with"):
        drift(DriftConfig(tmp_path / "now.csv", detector=old, out=tmp_path / "drift"))
    (artifact.parent / "damaged").mkdir()
    damaged = shutil.copytree(artifact, artifact.parent / "damaged" / "artifact")
    (damaged / "reference.json").write_text("{}")
    with pytest.raises(FaceproofError, match="not the file that the card was written for"):
        drift(DriftConfig(tmp_path / "now.csv", detector=damaged, out=tmp_path / "drift"))
