"""A detector that knows what is unlike its training images, from the training to the answers."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

import faceproof
from faceproof.data.datasets import label_numbers
from faceproof.data.run_tables import read_samples
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation.novelty import novelties_of, read_novelty_point
from faceproof.evaluation.operating_point import ThresholdConfig
from faceproof.evaluation.predictions import read_predictions
from faceproof.inference.predictor import stack_fitted, to_rgb
from faceproof.inference.scoring import Scoring, features_of, score_with_novelty
from faceproof.inference.video import Clip
from faceproof.inference.video_verdict import judge_clip
from faceproof.io.run_folder import RunFolder
from faceproof.models.novelty import DetectorWithNovelty, save_novelty
from faceproof.models.weights import load_network
from faceproof.task import get_task
from faceproof.words import percent
from faceproof.workflows.ensemble import make_ensemble
from faceproof.workflows.export import export_cascade, export_run
from faceproof.workflows.novelty import Wanted, load_novelty, score_validation
from faceproof.workflows.predict import PredictConfig, predict
from tests.conftest import write_faces
from tests.jobs import evaluate, train
from tests.small_runs import change_card, images_of, network_of, write_run

TINY = (
    "data=face_or_not", "model=face_resnet", "model.input.size=32", "model.head.dropout=0",
    "trainer=cpu", "trainer.max_epochs=1", "loader.batch_size=8", "loader.num_workers=0",
    "logger=csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("novelty")
    faces = write_faces(folder / "faces", train=20, val=12, test=4)
    return train(folder / "run", *TINY, f"data.root={faces}", "novelty.rate=0.2")


@pytest.fixture(scope="module")
def artifact(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "artifact"
    export_run(run.path, folder)
    return folder


@pytest.fixture
def noise(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    pixels[::2] = 255
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return str(tmp_path / "noise.png")


def test_the_limit_keeps_the_rate_on_validation(run):
    predictions, point = read_predictions(run.validation), read_novelty_point(run)
    novelties = novelties_of(predictions)
    assert point.rate == 0.2
    assert (point.num_images, point.num_training) == (24, 40)
    assert np.mean(novelties > point.limit) <= 0.2
    assert np.median(novelties) == pytest.approx(1, abs=1e-6)


def test_what_is_stored_gives_the_stored_novelties(run):
    """The predictor computes what training has stored, from the images' files."""
    net, val = load_network(run), read_samples(run, "val")
    wanted = Wanted(read_samples(run, "train"), 0.2)
    task = get_task("face")
    _, novelties, novelty = score_validation(net, val, task, 0, wanted)
    assert save_novelty(novelty) == run.novelty.read_bytes()
    assert save_novelty(load_novelty(run, net)) == run.novelty.read_bytes()
    stored = read_predictions(run.validation)
    order = dict(zip(stored["path"].to_pylist(), novelties_of(stored), strict=True))
    assert [order[path] for path in val["path"].to_pylist()] == novelties.tolist()


def test_a_predictor_says_what_training_has_measured(run, artifact):
    stored = read_predictions(run.validation)
    detector, point = faceproof.load(artifact, "cpu"), read_novelty_point(run)
    assert detector.knows_novelty
    assert detector.scorer.novelty == point
    verdicts = detector.predict_batch(stored["path"].to_pylist())
    assert [one.novelty for one in verdicts] == pytest.approx(novelties_of(stored), rel=1e-5)
    assert [one.logit for one in verdicts] == pytest.approx(stored["logit"].to_pylist(), abs=1e-5)
    for one in verdicts:
        assert one.is_strange == (one.novelty > point.limit)
        usual = "the probability lies in the unsure band" if one.verdict == "unsure" else None
        assert one.reason == ("unlike the training images" if one.is_strange else usual)


def test_an_image_unlike_them_is_unsure_and_says_why(artifact, noise, tmp_path, capsys):
    verdict = faceproof.load(artifact, "cpu")(noise)
    assert verdict.verdict == "unsure"
    assert verdict.is_strange
    assert verdict.called in ("face", "non_face")
    assert verdict.to_json()["reason"] == "unlike the training images"
    tally = predict(PredictConfig((noise,), detector=artifact, workers=0))
    assert tally.verdicts == {"unsure": 1}
    assert "unsure (unlike the training images)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_files_of_verdicts_have_columns_for_it(run, artifact, noise, tmp_path, suffix):
    out = tmp_path / f"verdicts{suffix}"
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = (noise, images_of(run.path)[0], str(tmp_path / "broken.png"))
    config = PredictConfig(paths, detector=artifact, out=out, workers=0, keep_going=True)
    predict(config)
    if suffix == ".parquet":
        rows = pq.read_table(out).to_pylist()
        assert [row["is_strange"] for row in rows] == [True, False, None]
        assert rows[2]["novelty"] is None
        assert rows[0]["novelty"] > rows[1]["novelty"] > 0
    else:
        text = out.read_text()
        assert "novelty" in text.splitlines()[0]
        assert "is_strange" in text.splitlines()[0]


def test_without_a_rate_nothing_is_stored_and_nothing_said(run, tmp_path):
    """As of runs and artifacts of earlier versions."""
    plain = shutil.copytree(run.path, tmp_path / "run")
    point = json.loads((plain / "operating_point.json").read_text())
    del point["novelty"], point["fitted_to"]["novelty"]
    (plain / "operating_point.json").write_text(json.dumps(point))
    (plain / "novelty.safetensors").unlink()
    export_run(plain, tmp_path / "artifact")
    card = json.loads((tmp_path / "artifact" / "card.json").read_text())
    assert card["detector"].pop("novelty") is None
    assert network_of(card).pop("novelty") is None
    (tmp_path / "artifact" / "card.json").write_text(json.dumps(card))
    detector = faceproof.load(tmp_path / "artifact", "cpu")
    verdict = detector(images_of(run.path)[0])
    assert not detector.knows_novelty
    assert verdict.novelty is verdict.is_strange is None
    assert "training images" not in (verdict.reason or "")
    assert "novelty" not in verdict.to_json()
    out = tmp_path / "verdicts.parquet"
    predict(PredictConfig((images_of(run.path)[0],), detector=tmp_path / "artifact", out=out))
    assert not {"novelty", "is_strange"} & set(pq.read_schema(out).names)


def test_a_cascade_knows_it_by_its_detector(run, artifact, tmp_path, noise):
    """Its gate is not asked: what shows no face gets no other answer."""
    write_run(tmp_path / "fakes", "deepfake", gain=20.0)
    export_cascade(artifact, tmp_path / "fakes", tmp_path / "cascade")
    detector = faceproof.load(tmp_path / "cascade", "cpu")
    assert not detector.knows_novelty
    verdict = detector(noise)
    assert verdict.verdict == "no face" or verdict.novelty is None
    assert (tmp_path / "cascade" / "gate-model-novelty.safetensors").is_file()


def damaged(artifact, tmp_path, change):
    folder = shutil.copytree(artifact, tmp_path / "damaged")
    change(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "model-novelty.safetensors").unlink(), "is not there"),
        (lambda folder: (folder / "model-novelty.safetensors").write_bytes(b"x"), "not the file"),
        (
            lambda folder: (folder / "model-novelty.safetensors").write_bytes(bytes(10**7)),
            "bytes",
        ),
        (
            lambda folder: change_card(folder, lambda card: network_of(card).update(novelty=None)),
            "not by what each of its networks measures",
        ),
        (
            lambda folder: change_card(
                folder, lambda card: card["detector"]["novelty"].update(limit=-1.0)
            ),
            "limit",
        ),
        (
            lambda folder: change_card(
                folder, lambda card: card["detector"]["novelty"].update(rate=2.0)
            ),
            "between 0 and 1",
        ),
        (
            lambda folder: change_card(
                folder, lambda card: network_of(card)["novelty"].update(file="a.pkl")
            ),
            "only safetensors",
        ),
    ],
)  # fmt: skip
def test_a_damaged_artifact_is_refused(artifact, tmp_path, change, reason):
    with pytest.raises(FaceproofError, match=reason):
        faceproof.load(damaged(artifact, tmp_path, change), "cpu")


def test_another_runs_file_is_refused(run, tmp_path):
    copied = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    net = load_network(copied)
    copied.novelty.write_bytes(save_novelty(load_novelty(copied, net).scaled(7.0)))
    with pytest.raises(FaceproofError, match=r"is not what operating_point\.json was fitted to"):
        export_run(copied.path, tmp_path / "artifact")


def test_collapsed_features_are_an_error_that_says_what_to_do(run):
    net, val = load_network(run), read_samples(run, "val")
    for parameter in net.backbone.parameters():
        torch.nn.init.zeros_(parameter)
    wanted = Wanted(read_samples(run, "train"), 0.2)
    with pytest.raises(FaceproofError, match=r"cannot be had: the backbone .* novelty\.rate=null"):
        score_validation(net, val, get_task("face"), 0, wanted)


def test_a_run_whose_fit_failed_is_not_finished_and_fits_again(run, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise FaceproofError("no")

    copied = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    with monkeypatch.context() as changed:
        changed.setattr("faceproof.workflows.novelty.fit_novelty", fail)
        with pytest.raises(FaceproofError, match=r"novelty\.rate=0\.2 cannot be had: no"):
            train(copied.path, f"resume={copied.path}")
    assert copied.read_record()["status"] != "finished"
    assert not copied.operating_point.exists()
    train(copied.path, f"resume={copied.path}")
    assert copied.novelty.read_bytes() == run.novelty.read_bytes()
    assert read_novelty_point(copied) == read_novelty_point(run)


def test_a_training_image_that_cannot_be_read_is_an_error(run, tmp_path):
    """A run that was asked for a limit does not end without it; resumed, it tries again."""
    rows = read_samples(run, "train")
    paths = ["gone.jpg", *rows["path"].to_pylist()[1:]]
    place = rows.schema.get_field_index("path")
    wanted = Wanted(rows.set_column(place, rows.schema.field("path"), pa.array(paths)), 0.2)
    with pytest.raises(FaceproofError, match=r"gone\.jpg"):
        score_validation(load_network(run), read_samples(run, "val"), get_task("face"), 0, wanted)


def test_too_few_images_are_refused_before_a_training(tmp_path):
    faces = write_faces(tmp_path / "faces", train=4, val=4)
    words = (*TINY, f"data.root={faces}", "novelty.rate=0.2")
    with pytest.raises(FaceproofError, match=r"novelty\.rate=0\.2 takes 10 .* there are 8"):
        train(tmp_path / "run", *words)
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_the_sample_is_spread_over_the_table(run, monkeypatch):
    train_rows = read_samples(run, "train")
    monkeypatch.setattr("faceproof.workflows.novelty.MAX_FITTED", 10)
    sample = Wanted(train_rows, 0.1).sample
    assert sample.num_rows == 10
    assert set(label_numbers(sample, get_task("face"))) == {0, 1}
    assert sample["path"][0] == train_rows["path"][0]
    monkeypatch.setattr("faceproof.workflows.novelty.MAX_VIEWS", 30)
    assert Wanted(train_rows, 0.1, num_views=6).sample.num_rows == 5


def test_a_resumed_run_has_the_same(run, tmp_path):
    """One that is resumed after its end fits it again, to the same bytes."""
    copied = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    before = copied.novelty.read_bytes(), read_novelty_point(copied)
    train(copied.path, f"resume={copied.path}")
    assert (copied.novelty.read_bytes(), read_novelty_point(copied)) == before


def test_a_run_that_has_ended_learns_it_without_training(run, tmp_path):
    """Also one of an earlier version, whose configuration says nothing of it."""
    plain = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    config = yaml.safe_load(plain.config.read_text())
    del config["novelty"]
    plain.config.write_text(yaml.safe_dump(config))
    weights = plain.best.read_bytes()
    train(plain.path, f"resume={plain.path}")
    assert not plain.novelty.exists()
    assert read_novelty_point(plain) is None
    train(plain.path, f"resume={plain.path}", "novelty.rate=0.3")
    assert read_novelty_point(plain).rate == 0.3
    assert plain.novelty.read_bytes() == run.novelty.read_bytes()
    assert plain.best.read_bytes() == weights


def test_a_video_is_as_novel_as_the_median_of_its_frames(artifact, run, noise):
    detector, usual = faceproof.load(artifact, "cpu"), images_of(run.path)[:2]
    for paths, strange in (([noise, noise, usual[0]], True), ([noise, *usual], False)):
        fitted = stack_fitted([detector.fit(to_rgb(path)) for path in paths])
        said = judge_clip(detector, Clip(1.0, 3, [0.0, 0.3, 0.6], fitted, []))
        assert said.is_strange is strange
        assert said.novelty == pytest.approx(np.median([one.novelty for one in said.frames]))
        usual = "the probability lies in the unsure band" if said.verdict == "unsure" else None
        assert said.to_json()["reason"] == ("unlike the training images" if strange else usual)
        if strange:
            assert said.verdict == "unsure"


def test_an_ensemble_averages_what_its_members_know(run, tmp_path):
    root = json.dumps(str(run.read_config()["data"]["root"]))
    other = train(tmp_path / "other", *TINY, f"data.root={root}", "novelty.rate=0.2", "seed=1")
    config = ThresholdConfig(calibration="none")
    both = RunFolder(tmp_path / "both")
    make_ensemble(both, [run, other], get_task("face"), config)
    export_run(both.path, tmp_path / "artifact")
    detector, point = faceproof.load(tmp_path / "artifact", "cpu"), read_novelty_point(both)
    stored = read_predictions(both.validation)
    verdicts = detector.predict_batch(stored["path"].to_pylist())
    assert [one.novelty for one in verdicts] == pytest.approx(novelties_of(stored), rel=1e-4)
    assert np.mean(novelties_of(stored) > point.limit) <= 0.2
    tables = [read_predictions(one.validation).sort_by("path") for one in (run, other)]
    mean = np.mean([novelties_of(table) for table in tables], 0)
    assert novelties_of(stored) == pytest.approx(mean, rel=1e-6)


def test_members_of_different_rates_are_refused(run, tmp_path):
    other = RunFolder(shutil.copytree(run.path, tmp_path / "other"))
    train(other.path, f"resume={other.path}", "novelty.rate=0.3")
    config = ThresholdConfig(calibration="none")
    with pytest.raises(FaceproofError, match=r"run: 0\.2; .*other: 0\.3"):
        make_ensemble(RunFolder(tmp_path / "both"), [run, other], get_task("face"), config)
    assert not (tmp_path / "both").exists()


@pytest.mark.onnx_export
def test_tiles_and_mirror_images_have_the_same_novelty_everywhere(tmp_path):
    """The distance is fitted to the views of an image, and averaged over them like the logit."""
    faces = write_faces(tmp_path / "faces", train=6, val=12, test=4)
    views = ("model.input.mode=tiles", "model.input.tta=flip")
    tiled = train(tmp_path / "run", *TINY, *views, f"data.root={faces}", "novelty.rate=0.2")
    assert read_novelty_point(tiled).num_training == 12
    net, rows, task = load_network(tiled), read_samples(tiled, "train"), get_task("face")
    both = DetectorWithNovelty(net, load_novelty(tiled, net))
    assert both.novelty.layer == "layer3"
    features = features_of(net, rows, task, Scoring(num_workers=0), both.novelty.layer)
    assert len(features) == 12 * 5 * 2
    _, novelties = score_with_novelty(both, rows, task, Scoring(num_workers=0))
    with torch.inference_mode():
        of_views = both.novelty(torch.from_numpy(features)).view(12, 10)
    assert novelties == pytest.approx(of_views.mean(1).numpy(), rel=1e-4)
    folder = evaluate(tiled.path)
    scored = read_predictions(folder / "predictions.parquet")
    export_run(tiled.path, tmp_path / "artifact", onnx=True)
    for backend in ("torch", "onnx"):
        detector = faceproof.load(tmp_path / "artifact", "cpu", backend)
        said = detector.predict_batch(scored["path"].to_pylist())
        assert [one.novelty for one in said] == pytest.approx(novelties_of(scored), rel=1e-4)
        assert [one.logit for one in said] == pytest.approx(scored["logit"].to_pylist(), abs=1e-4)
    page = (tmp_path / "artifact" / "README.md").read_text()
    assert "the means of their logits and novelties are taken outside" in page


@pytest.mark.onnx_export
def test_onnx_says_what_pytorch_says(run, tmp_path, noise):
    export_run(run.path, tmp_path / "artifact", onnx=True)
    torchs, runtimes = (
        faceproof.load(tmp_path / "artifact", "cpu", one) for one in ("torch", "onnx")
    )
    images = [noise, *images_of(run.path)[:5]]
    pairs = zip(torchs.predict_batch(images), runtimes.predict_batch(images), strict=True)
    for ours, theirs in pairs:
        assert ours.verdict == theirs.verdict
        assert ours.is_strange == theirs.is_strange
        assert theirs.novelty == pytest.approx(ours.novelty, rel=1e-4)
        assert theirs.logit == pytest.approx(ours.logit, abs=1e-4)
    assert runtimes.backend == "onnx"
    assert "gives `logit`, (B,) and `novelty`" in (tmp_path / "artifact" / "README.md").read_text()
    change_card(tmp_path / "artifact", lambda card: network_of(card).update(novelty=None))
    change_card(tmp_path / "artifact", lambda card: card["detector"].update(novelty=None))
    with pytest.raises(FaceproofError, match="by the card it takes"):
        faceproof.load(tmp_path / "artifact", "cpu", "onnx")


def test_the_card_says_in_use_what_was_measured_with_this_limit(run, tmp_path):
    copied = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    shutil.rmtree(copied.evaluations, ignore_errors=True)
    file = evaluate(copied.path) / "report.json"
    report = json.loads(file.read_text())
    other = report["novelty"] | {"limit": 2 * report["novelty"]["limit"]}
    for number, (novelty, known) in enumerate(
        [(report["novelty"], True), (other, False), (None, False)]
    ):
        file.write_text(json.dumps(report | {"novelty": novelty}))
        export_run(copied.path, tmp_path / f"artifact{number}")
        (one,) = faceproof.load(tmp_path / f"artifact{number}", "cpu").card.detector.evaluations
        assert one.same_operating_point
        assert (one.share_unsure is not None) is known


def test_home_are_the_sources_of_training_alone(run, tmp_path):
    copied = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    rows = read_samples(copied)
    pairs = zip(rows["split"].to_pylist(), rows["path"].to_pylist(), strict=True)
    sources = ["away" if split == "test" and "/0." in path else "home" for split, path in pairs]
    place = rows.schema.get_field_index("source")
    column = pa.array(sources).cast(rows.schema.field("source").type)
    write_table(rows.set_column(place, rows.schema.field("source"), column), copied.samples)
    report = json.loads((evaluate(copied.path) / "report.json").read_text())
    found = {row["source"]: row["is_home"] for row in report["novelty"]["by_source"]}
    assert found == {"home": True, "away": False}


def test_an_evaluation_says_what_it_changes(run):
    folder = evaluate(run.path, "split=all", "name=everything")
    report = json.loads((folder / "report.json").read_text())
    found, page = report["novelty"], (folder / "report.html").read_text()
    predictions = read_predictions(folder / "predictions.parquet")
    strange = novelties_of(predictions) > found["limit"]
    (row,) = found["by_source"]
    assert row["is_home"]
    assert row["num_images"] == predictions.num_rows
    assert row["share"] == pytest.approx(strange.mean())
    assert row["by_novelty"]["coverage"] <= row["without"]["coverage"]
    assert report["operating_point"]["share_unsure"] == pytest.approx(
        1 - found["everything"]["by_novelty"]["coverage"]
    )
    assert "<h2>Unlike the training images</h2>" in page
    point = report["operating_point"]
    usual, rest = found["everything"]["without"]["risk"], found["everything"]["by_novelty"]["risk"]
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert f"% of the {row['num_images']:,} images of {row['source']} (a source it was" in text
    assert " are unlike the training images, and so unsure; " in text
    assert "An image is called unsure, being unlike the training images, if its novelty is" in text
    if point["unsure"][0] < point["unsure"][1]:
        assert f"Wrong answers on the other images {percent(rest)} (" in text
        assert f"Wrong answers if only the band were unsure {percent(usual)} " in text
    export_run(run.path, folder.parent / "exported")
    shutil.rmtree(folder.parent / "exported")
