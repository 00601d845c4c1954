"""Mixing, sharpness and a teacher in whole trainings: resumed exactly, reloaded, refused."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import faceproof
from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.seen import seen_images
from faceproof.data.run_tables import read_samples
from faceproof.data.table import concat_tables, table_from_columns, write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import read_predictions
from faceproof.io.run_folder import RunFolder
from faceproof.task import get_task
from faceproof.training.method_config import DistillConfig
from faceproof.workflows.ensemble import read_ensemble
from faceproof.workflows.export import export_run
from faceproof.workflows.methods import check_teacher, check_unseen, read_teacher
from tests.conftest import write_faces, write_images
from tests.jobs import evaluate, train
from tests.small_runs import images_of, write_ensemble, write_run
from tests.workflows.test_resuming import assert_same_run, train_until_killed, weights

# Dropout, batches that do not all have the same size, and a step of several batches.
WORDS = (
    "data=face_or_not", "model=face_cnn", "model.weights=none", "model.input.size=16",
    "trainer=cpu",
    "trainer.max_epochs=2", "loader.batch_size=5", "loader.num_workers=0", "logger=csv",
    "checkpoint.steps=1", "patience=5", "trainer.precision=32-true",
)  # fmt: skip
METHODS = {
    "mixup": ("mix=mixup",),
    "cutmix of focal loss": ("mix=cutmix", "loss=focal", "class_weights=balanced"),
    "sharpness of several batches": (
        "optimizer.sam_rho=0.1",
        "trainer.accumulate_grad_batches=2",
        "trainer.gradient_clip_val=1.0",
    ),
    "a teacher": ("distill=soft_targets", "distill.weight=0.9"),
    "all of them": ("mix=mixup", "optimizer=sam", "distill=soft_targets", "ema=0.5"),
}


@pytest.fixture
def words(small_faces, tmp_path):
    teacher = write_run(tmp_path / "teacher", task="face", size=20)
    return {
        name: (*WORDS, f"data.root={small_faces}", *more)
        + ((f"distill.teacher={teacher}",) if "distill=soft_targets" in more else ())
        for name, more in METHODS.items()
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the last weights of a training by none of them."""
    root = write_faces(tmp_path_factory.mktemp("small"), train=8, val=4, test=4)
    run = train(tmp_path_factory.mktemp("plain") / "run", *WORDS, f"data.root={root}")
    return weights(run)["state_dict"]


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_was_killed_goes_on_exactly(name, words, plain, tmp_path, monkeypatch):
    run = train(tmp_path / "run", *words[name])
    train_until_killed(monkeypatch, 5, tmp_path / "killed", *words[name])
    assert_same_run(run, train(tmp_path / "killed", f"resume={tmp_path / 'killed'}"))
    found = weights(run)["state_dict"]
    assert found.keys() == plain.keys()  # a teacher is no part of a checkpoint
    assert not all(torch.equal(value, plain[key]) for key, value in found.items())


def test_the_scores_of_a_run_by_all_of_them_are_those_of_its_artifact(words, tmp_path):
    run = train(tmp_path / "run", *words["all of them"])
    export_run(run.path, tmp_path / "artifact")
    scored = read_predictions(evaluate(run.path, "loader.num_workers=0") / "predictions.parquet")
    verdicts = faceproof.load(tmp_path / "artifact", "cpu").predict_batch(
        scored["path"].to_pylist()
    )
    served = [verdict.logit for verdict in verdicts]
    assert np.allclose(scored["logit"].to_numpy(), served, atol=1e-5)


def test_the_record_has_the_teacher_and_another_one_is_refused_when_a_run_is_resumed(
    words, tmp_path, monkeypatch
):
    train_until_killed(monkeypatch, 5, tmp_path / "run", *words["a teacher"])
    run, teacher = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "teacher")
    assert run.read_record()["teacher"] == teacher.detector_digest
    other = write_run(tmp_path / "other", task="face", seed=3, size=20)
    (other / "best.ckpt").replace(teacher.best)
    with pytest.raises(FaceproofError, match="holds another detector than when this run began"):
        train(run.path, f"resume={run.path}")


def images(side=16):
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_a_teacher_answers_as_its_artifact_and_as_its_run_do(tmp_path):
    run = write_run(tmp_path / "run", size=16)
    export_run(run, tmp_path / "artifact")
    pixels = (images() * 255).round()
    taught = [
        read_teacher(DistillConfig(str(tmp_path / name)))(pixels / 255)
        for name in ("run", "artifact")
    ]
    expected = faceproof.load(tmp_path / "artifact", "cpu").score_tensors(pixels.byte())
    for one in taught:
        torch.testing.assert_close(one.detach().double(), torch.from_numpy(expected), atol=1e-5,
                                   rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize("average", ["probability", "logit"])
def test_an_ensemble_teaches_by_its_average(average, tmp_path):
    folder = write_ensemble(tmp_path / "both", average)
    teacher = read_teacher(DistillConfig(str(folder)))
    singles = [
        read_teacher(DistillConfig(str(one.run.path)))(images()).double()
        for one in read_ensemble(RunFolder(folder)).members
    ]
    expected = read_ensemble(RunFolder(folder)).combine([one.numpy() for one in singles])
    torch.testing.assert_close(teacher(images()).double(), torch.from_numpy(expected))
    export_run(folder, tmp_path / "artifact")
    exported = read_teacher(DistillConfig(str(tmp_path / "artifact")))
    torch.testing.assert_close(exported(images()), teacher(images()))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("optimizer=sam", "trainer.precision=16-true"), "16-true has gradients in float16"),
        (("optimizer=sam", "optimizer.sam_rho=0"), "optimizer.sam_rho = 0 must be a number above"),
        (("mix=mixup", "loss=supervised_contrastive"), "mix makes each image one of two"),
        (("distill=soft_targets", "distill.teacher=nowhere"), "nowhere is neither a run"),
    ],
)
def test_what_cannot_work_is_refused(more, message, small_faces, tmp_path):
    plain = [word for word in WORDS if not word.startswith("trainer.precision")]
    with pytest.raises(FaceproofError, match=message):
        train(tmp_path / "run", *plain, f"data.root={small_faces}", *more)
    assert not RunFolder(tmp_path / "run").last.is_file()


def test_a_teacher_of_another_task_is_refused(tmp_path):
    teacher = read_teacher(DistillConfig(str(write_run(tmp_path / "run", task="face"))))
    check_teacher(teacher, get_task("face"), None)
    with pytest.raises(FaceproofError, match="for the task face, and this training is for deepf"):
        check_teacher(teacher, get_task("deepfake"), None)


@pytest.mark.parametrize("change", [{"tta": "flip"}, {"mode": "crop"}])
def test_a_teacher_that_judges_by_more_than_the_resized_image_is_refused(change, tmp_path):
    teacher = read_teacher(DistillConfig(str(write_run(tmp_path / "run", task="face"))))
    teacher.nets[0].input = replace(teacher.nets[0].input, **change)
    with pytest.raises(FaceproofError, match="name a teacher of mode=resize and tta=none"):
        check_teacher(teacher, get_task("face"), None)


def test_a_teacher_that_has_seen_what_is_left_out_is_refused(tmp_path, caplog):
    run = RunFolder(write_run(tmp_path / "run"))
    columns = read_samples(run).select(["path", "label", "split"]).to_pydict()
    listed = table_from_columns({**columns, "source": ["s"] * len(columns["path"])})
    write_table(seen_images(listed, file_statistics_of(listed)), run.seen)
    teacher = read_teacher(DistillConfig(str(run.path)))
    assert check_unseen(teacher, listed, listed) == {}
    with pytest.raises(FaceproofError, match="trained on or chosen by 6 of the 6 images that leav"):
        check_unseen(teacher, listed, listed.slice(6))
    copies = [shutil.copy(one, tmp_path / f"{n}.jpg") for n, one in enumerate(images_of(run.path))]
    renamed = table_from_columns({"path": list(map(str, copies)), "source": ["s"] * len(copies)})
    with pytest.raises(FaceproofError, match="trained on or chosen by 6 of the 6 images that leav"):
        check_unseen(teacher, renamed, renamed.slice(6))
    others = [str(one) for one in write_images(tmp_path / "other", ["a.jpg", "b.jpg"], seed=9)]
    strangers = table_from_columns({"path": others, "source": ["s", "s"]})
    found = check_unseen(teacher, concat_tables([listed, strangers]), listed)
    assert found == {"teacher_saw_left_out": False}
    assert "is not known" not in caplog.text
    export_run(run.path, tmp_path / "artifact")
    exported = read_teacher(DistillConfig(str(tmp_path / "artifact")))
    assert check_unseen(exported, listed, listed.slice(6)) == {"teacher_saw_left_out": None}
    assert "what distill.teacher was trained on is not known" in caplog.text


def test_a_training_asks_what_its_teacher_has_seen(tmp_path):
    run = RunFolder(write_run(tmp_path / "teacher", task="face", size=20))
    rows = read_samples(run).select(["path", "label", "split"]).to_pylist()
    lines = [f"{row['path']},{row['label']},{row['split']},{'ab'[n % 2]}"
             for n, row in enumerate(rows)]  # fmt: skip
    (tmp_path / "images.csv").write_text("\n".join(["path,label,split,source", *lines]) + "\n")
    words = ["data=table", f"data.file={tmp_path / 'images.csv'}", "data.task=face", *WORDS[1:]]
    teacher = ("distill=soft_targets", f"distill.teacher={run.path}")
    with pytest.raises(FaceproofError, match="8 of the 8 images that leave_out leaves out"):
        train(tmp_path / "run", *words, *teacher, "leave_out.source=b")
    assert not RunFolder(tmp_path / "run").last.is_file()


def test_a_frozen_backbone_s_features_are_not_cached_where_images_are_wanted(small_faces, tmp_path):
    words = (*WORDS, f"data.root={small_faces}", "freeze=head_only", "augment=none")
    run = train(tmp_path / "run", *words, "mix=mixup", "model.weights=none")
    assert "mix and distill want the images" in run.read_record()["features"]
