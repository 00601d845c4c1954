import json
import shutil

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder, read_epochs
from faceproof.training import precision
from faceproof.training.module import DetectorModule
from faceproof.workflows import train as fit
from tests.jobs import evaluate, train

# Dropout still draws from the process's generator, so exactness is shown without it.
# The planned cosine ends at 0, at which nothing would be trained.
RESTART = ("scheduler.more_epochs=restart",)
TINY = (
    "data=face_or_not",
    "model=face_cnn",
    "model.weights=none",
    "model.input.size=16",
    "model.head.dropout=0",
    "trainer=cpu",
    "loader.batch_size=8",
    "loader.num_workers=0",
    "logger=csv",
)


@pytest.fixture
def tiny(small_faces):
    return (*TINY, f"data.root={small_faces}")


def weights(checkpoint):
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_run_leaves_what_its_folder_promises(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "trainer.max_epochs=3", "logger=tensorboard")
    run.require(run.config, run.record, run.samples, run.best, run.last, run.metrics)
    rows = read_epochs(run.metrics)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    names = {"loss", "accuracy", "precision", "recall", "f1", "jaccard", "roc_auc"}
    names |= {"average_precision", "eer"}
    for split in ("train", "val"):
        assert {f"{split}/{name}" for name in names} <= set(rows[0])
    assert rows[0]["train/images_per_second"] > 0
    assert rows[0]["lr/head"] > 0
    record = json.loads(run.record.read_text())
    best = min(rows, key=lambda row: row["val/loss"])
    assert record["status"] == "finished"
    assert record["best_epoch"] == best["epoch"]
    assert record["weights"] == "random initial weights"
    assert list(run.path.glob("events.*"))


def test_tensorboard_holds_figures_images_and_hyperparameters(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = train(tmp_path / "run", *tiny, "trainer.max_epochs=2", "logger=tensorboard")
    board = EventAccumulator(str(run.path))
    board.Reload()
    tags = board.Tags()
    assert {"train/loss", "val/roc_auc", "lr/head", "best/val/loss"} <= set(tags["scalars"])
    assert {"train/samples", "val/confusion", "val/roc"} <= set(tags["images"])
    assert "_hparams_/session_start_info" in board.summary_metadata
    (layout,) = board.Tensors("custom_scalars__config__")
    assert b"train/roc_auc" in layout.tensor_proto.string_val[0]
    assert b"val/roc_auc" in layout.tensor_proto.string_val[0]
    assert len(list(run.path.glob("events.*"))) == 1
    plugin = board.summary_metadata["_hparams_/experiment"].plugin_data
    shown = [
        info.name for info in HParamsPluginData.FromString(plugin.content).experiment.hparam_infos
    ]
    assert shown[:7] == [
        "model", "data", "freeze", "optimizer", "scheduler", "augment", "synthesis",
    ]  # fmt: skip
    best = min(row["val/loss"] for row in read_epochs(run.metrics))
    assert {"best/val/roc_auc", "best/val/f1", "best/val/jaccard"} <= set(tags["scalars"])
    assert board.Scalars("best/val/loss")[-1].value == pytest.approx(best)


def test_it_learns_and_the_evaluation_agrees_with_validation(tiny, tmp_path):
    plain = ("threshold.criterion=fixed", "calibration=none")  # the live figures know no other
    plain += ("trainer.precision=32-true",)  # as evaluations are computed
    run = train(tmp_path / "run", *tiny, *plain, "trainer.max_epochs=12", "optimizer.lr=0.003")
    folder = evaluate(run.path, "split=val", "loader.num_workers=0", "loader.batch_size=3")
    found = json.loads((folder / "report.json").read_text())["metrics"]
    best = json.loads(run.record.read_text())["best"]
    for name in ("loss", "accuracy", "roc_auc", "average_precision", "f1", "jaccard", "eer"):
        assert found[name] == pytest.approx(best[f"val/{name}"], abs=1e-4), name
    assert found["roc_auc"] > 0.9


def test_last_is_the_last_epoch_and_best_the_best(tiny, tmp_path):
    # a huge rate from the second epoch on makes the first the best
    run = train(
        tmp_path / "run", *tiny, "trainer.max_epochs=3", "scheduler=none", "optimizer=sgd",
        "optimizer.lr=0.5",
    )  # fmt: skip
    best = json.loads(run.record.read_text())["best_epoch"]
    assert torch.load(run.last, weights_only=True)["epoch"] == 2
    assert torch.load(run.best, weights_only=True)["epoch"] == best
    assert same(weights(run.best), weights(run.last)) == (best == 2)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(tiny, tmp_path, accumulate):
    options = (
        *tiny,
        "scheduler=plateau",
        "scheduler.patience=0",
        "scheduler.factor=0.5",
        "scheduler.min_lr=0",
        "optimizer.lr=0.02",
        "freeze=gradual",
        "augment=zoom",
        f"trainer.accumulate_grad_batches={accumulate}",
    )
    whole = train(tmp_path / "whole", *options, "trainer.max_epochs=5")
    halved = train(tmp_path / "halved", *options, "trainer.max_epochs=2")
    halved = train(halved.path, f"resume={halved.path}", "trainer.max_epochs=5")
    assert same(weights(whole.last), weights(halved.last))
    drop = "train/images_per_second"
    strip = [{k: v for k, v in row.items() if k != drop} for row in read_epochs(whole.metrics)]
    assert [
        {k: v for k, v in row.items() if k != drop} for row in read_epochs(halved.metrics)
    ] == strip
    assert len({row["lr/head"] for row in strip}) > 1  # the plateau was met
    assert weights(whole.best).keys() == weights(halved.best).keys()
    assert same(weights(whole.best), weights(halved.best))


def test_a_run_goes_on_in_the_numbers_that_it_began_in(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    run = train(tmp_path / "run", *tiny, "trainer.max_epochs=1")
    assert run.read_record()["precision"] == "32-true"
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)  # on another machine
    train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert run.read_record()["precision"] == "32-true"
    train(run.path, f"resume={run.path}", "trainer.max_epochs=3", "trainer.precision=auto")
    assert run.read_record()["precision"] == "bf16-mixed"


def test_a_run_resumed_after_its_unfreeze_epoch_is_unfrozen(tiny, tmp_path):
    first = train(tmp_path / "run", *tiny, "freeze=gradual", "trainer.max_epochs=4")
    before = weights(first.last)
    again = train(first.path, f"resume={first.path}", "trainer.max_epochs=6", *RESTART)
    changed = {k for k, v in weights(again.last).items() if not torch.equal(v, before[k])}
    assert "net.backbone.blocks.0.0.weight" in changed


def test_a_frozen_backbone_stays_what_it_was_through_epochs_and_validation(tiny, tmp_path):
    torch.manual_seed(0)
    model = ("model=timm", "model.name=resnet10t", "model.weights=none", "model.input.size=32")
    rest = [o for o in tiny if not o.startswith("model")]
    run = train(tmp_path / "run", *rest, *model, "freeze=head_only", "trainer.max_epochs=3")
    first = weights(run.last)
    again = train(run.path, f"resume={run.path}", "trainer.max_epochs=4", *RESTART)
    changed = {k for k, v in weights(again.last).items() if not torch.equal(v, first[k])}
    assert changed == {"net.head.logit.linear.weight", "net.head.logit.linear.bias"}


def test_early_stopping(tiny, tmp_path):
    run = train(
        tmp_path / "run", *tiny, "trainer.max_epochs=9", "patience=1", "optimizer.lr=1e-12",
        "scheduler=none",
    )  # fmt: skip
    assert len(read_epochs(run.metrics)) <= 4


def test_class_weights_balance_the_loss(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "class_weights=balanced", "trainer=smoke")
    negative, positive = json.loads(run.record.read_text())["class_weights"]
    assert negative == positive == 1.0  # as many faces as non-faces here
    run = train(tmp_path / "other", *tiny, "class_weights=[1,3]", "trainer=smoke")
    assert json.loads(run.record.read_text())["class_weights"] == [1.0, 3.0]
    with pytest.raises(FaceproofError, match="must be none, balanced, or two positive numbers"):
        train(tmp_path / "third", *tiny, "class_weights=[1,-3]", "trainer=smoke")


def test_weighted_loss_is_the_weighted_mean():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1), torch.nn.Flatten(0))
    module = DetectorModule(net, torch.optim.SGD, None, class_weights=(1.0, 3.0))
    module._is_logged_step = lambda: False  # there is no trainer to ask
    from faceproof.data.datasets import Batch

    batch = Batch(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 1, 0]), torch.arange(4))
    with torch.no_grad():
        logits = net(batch.image)
        each = torch.nn.functional.softplus(torch.where(batch.label == 1, -logits, logits))
        expected = (each * torch.tensor([1.0, 3, 3, 1])).mean()
        assert module.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(tiny, tmp_path):
    options = ("optimizer=sgd", "optimizer.lr=1e30", "scheduler=none", "trainer.max_epochs=3")
    with pytest.raises(
        FaceproofError,
        match=r"finite in epoch 1, step \d+.*\.jpg and 5 more, .*record\.json names.*optimizer.lr",
    ):
        train(tmp_path / "run", *tiny, *options)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["status"].startswith("stopped")
    assert record["stopped_at"]["why"] in record["status"]
    assert len(set(record["stopped_at"]["images"])) == 8
    assert not (tmp_path / "run" / "best.ckpt").exists()


def test_a_run_is_finished_when_its_threshold_is_there(tiny, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    def die(*given):
        raise KilledError

    words = (*tiny, "trainer.max_epochs=1")
    with monkeypatch.context() as patched:
        patched.setattr(fit, "store_operating_point", die)
        with pytest.raises(KilledError):
            train(tmp_path / "run", *words)
    run = RunFolder(tmp_path / "run")
    assert run.read_record()["status"] == "running"
    run = train(run.path, f"resume={run.path}")
    assert run.read_record()["status"] == "finished"
    assert run.read_record()["best_epoch"] == 0
    assert run.operating_point.is_file()


def test_a_validation_set_of_one_class_is_refused(tiny, small_faces, tmp_path):
    for image in (small_faces / "val" / "faces").iterdir():
        image.unlink()
    with pytest.raises(FaceproofError, match=r"no image of class face in its split val.*found"):
        train(tmp_path / "run", *tiny, "trainer=smoke")


def test_a_set_without_validation_is_told_how_to_take_it_from_training(tiny, small_faces, tmp_path):
    shutil.rmtree(small_faces / "val")
    advice = r"has no image in its split val; .*take some from train by data\.splits\.train=auto"
    with pytest.raises(FaceproofError, match=advice):
        train(tmp_path / "run", *tiny, "trainer=smoke")
    assert not (tmp_path / "run/config.yaml").exists()


def test_figures_that_may_not_choose_are_refused(tiny, tmp_path):
    with pytest.raises(FaceproofError, match="metrics of validation"):
        train(tmp_path / "run", *tiny, "monitor=test/loss")


def test_training_is_given_no_test_image(tiny, small_faces, tmp_path, monkeypatch):
    from faceproof.data import datasets

    read = []
    original = datasets.read_image
    monkeypatch.setattr(datasets, "read_image", lambda p: read.append(str(p)) or original(p))
    train(tmp_path / "run", *tiny, "trainer.max_epochs=1")
    assert read
    assert not [path for path in read if "/test/" in path]


def test_a_validation_that_is_not_finite_stops_the_run_too():
    from faceproof.training.finite import NonFiniteError

    module = DetectorModule(torch.nn.Flatten(), torch.optim.SGD, None)
    module.val_metrics.update(torch.tensor([0.5, float("nan")]), torch.tensor([0, 1]))
    with pytest.raises(NonFiniteError, match="the validation of epoch 1"):
        module.on_validation_epoch_end()
