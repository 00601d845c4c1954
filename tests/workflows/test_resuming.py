"""A run that was stopped anywhere and goes on is the run that never stopped, bit for bit."""

import hashlib
import json
import math
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from faceproof.augment.autoencoder import TinyAutoencoder
from faceproof.errors import FaceproofError
from faceproof.evaluation.stored_evaluations import evaluations_of, stale_evaluations
from faceproof.io.run_folder import RunFolder, read_epochs
from faceproof.training import checkpoints, face_places
from faceproof.training.checkpoints import AtomicCheckpointIO
from faceproof.training.module import DetectorModule
from faceproof.workflows import train as fit
from faceproof.workflows.export import export_run
from tests.conftest import write_faces, write_images
from tests.jobs import evaluate, train

# Four batches an epoch, three epochs; dropout, a freeze schedule that thaws, a plateau.
TINY = (
    "data=face_or_not", "model=face_cnn", "model.weights=none", "model.input.size=16",
    "trainer=cpu", "trainer.max_epochs=3", "loader.batch_size=4", "loader.num_workers=0",
    "logger=csv",
    "augment=colour", "checkpoint.minutes=null", "checkpoint.steps=1",
    "freeze.stages=[{from_epoch: 0, train: head}, {from_epoch: 1, train: all}]",
    "scheduler=plateau", "scheduler.patience=0", "patience=5",
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from tests.conftest import write_faces

    root = write_faces(tmp_path_factory.mktemp("faces"), train=8, val=4, test=4)
    return (*TINY, f"data.root={root}")


class CrashError(BaseException):
    """As sudden as a process that is killed."""


def crash_in_step(monkeypatch, number):
    """Let the given optimizer-independent training step never come to its end."""
    original, steps = DetectorModule.training_step, iter(range(1000))

    def training_step(self, batch, batch_idx):
        if next(steps) == number:
            raise CrashError
        return original(self, batch, batch_idx)

    monkeypatch.setattr(DetectorModule, "training_step", training_step)


def train_until_killed(monkeypatch, step, folder, *words):
    """Train until the given step, in which the process dies."""
    with monkeypatch.context() as patched:
        crash_in_step(patched, step)
        with pytest.raises(CrashError):
            train(folder, *words)


def weights(run, file="last"):
    return torch.load(getattr(run, file), weights_only=True)


def stopping(checkpoint):
    """Return the state of early stopping."""
    callbacks = checkpoint["callbacks"]
    (key,) = [key for key in callbacks if key.startswith("EarlyStopping")]
    return callbacks[key]


def assert_same_run(one, other):
    first, second = weights(one), weights(other)
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    moments = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (first, second)]
    for key, state in moments[0].items():
        for name, value in state.items():
            assert torch.equal(value, moments[1][key][name]), (key, name)
    assert first["lr_schedulers"] == second["lr_schedulers"]
    assert stopping(first) == stopping(second)
    best = [weights(run, "best")["state_dict"] for run in (one, other)]
    assert all(torch.equal(tensor, best[1][name]) for name, tensor in best[0].items())
    drop = "train/images_per_second"
    tables = [[{**row, drop: None} for row in read_epochs(run.metrics)] for run in (one, other)]
    assert tables[0] == tables[1]
    assert one.read_record()["best_epoch"] == other.read_record()["best_epoch"]


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole") / "run", *tiny)


@pytest.mark.parametrize("step", [1, 3, 4, 6, 7, 9, 11])
def test_a_run_killed_in_any_step_goes_on_exactly(tiny, whole, tmp_path, monkeypatch, step):
    train_until_killed(monkeypatch, step, tmp_path / "run", *tiny)
    assert_same_run(whole, train(tmp_path / "run", f"resume={tmp_path / 'run'}"))


def test_with_another_number_of_processes_too(tiny, whole, tmp_path, monkeypatch):
    train_until_killed(monkeypatch, 6, tmp_path / "run", *tiny, "loader.num_workers=2")
    words = (f"resume={tmp_path / 'run'}", "loader.num_workers=1")
    assert_same_run(whole, train(tmp_path / "run", *words))


def test_gradients_in_flight_are_computed_again(tiny, tmp_path, monkeypatch):
    words = (*tiny, "trainer.accumulate_grad_batches=3")  # four batches: the last is a step alone
    whole = train(tmp_path / "whole", *words)
    for step in (5, 6, 7):
        folder = tmp_path / str(step)
        train_until_killed(monkeypatch, step, folder, *words)
        assert_same_run(whole, train(folder, f"resume={folder}"))


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """The words of a training on fakes beside their originals: three batches an epoch."""
    root = tmp_path_factory.mktemp("pairs")
    lines = ["path,label,split,pair"]
    for split, number in (("train", 4), ("val", 4), ("test", 2)):
        for label, copies in (("real", 1), ("fake", 2 if split == "train" else 1)):
            for copy in range(copies):
                names = [f"{split}-{label}-{copy}-{n}.jpg" for n in range(number)]
                for n, path in enumerate(write_images(root, names, face=label == "fake")):
                    lines.append(f"{path},{label},{split},{split}{n}")
    (root / "table.csv").write_text("\n".join(lines))
    words = [word for word in TINY if not word.startswith(("data=", "loader.batch_size"))]
    table = ("data=table", f"data.file={root / 'table.csv'}", "data.allow_leaks=true")
    return (*words, *table, "loader.sampler=paired", "loader.batch_size=6")


@pytest.mark.parametrize("step", [1, 5])
def test_a_run_on_pairs_that_was_killed_goes_on_exactly(paired, tmp_path, monkeypatch, step):
    whole = train(tmp_path / "whole", *paired)
    train_until_killed(monkeypatch, step, tmp_path / "run", *paired)
    with pytest.raises(FaceproofError, match=r"inside an epoch with loader\.sampler = paired"):
        train(tmp_path / "run", f"resume={tmp_path / 'run'}", "loader.sampler=shuffled")
    run = train(tmp_path / "run", f"resume={tmp_path / 'run'}")
    assert_same_run(run, whole)


@pytest.mark.parametrize("step", [3, 7])
def test_a_run_on_pseudo_fakes_that_was_killed_goes_on_exactly(paired, tmp_path, monkeypatch, step):
    web = ("synthesis=both", "synthesis.share=0.4", "augment.web.jpeg=0.5")
    whole = train(tmp_path / "whole", *paired, *web)
    words = (*paired, *web, "loader.num_workers=2")
    train_until_killed(monkeypatch, step, tmp_path / "run", *words)
    assert_same_run(train(tmp_path / "run", f"resume={tmp_path / 'run'}"), whole)


def write_autoencoder(file, seed=0):
    """Write random weights of a tiny autoencoder."""
    torch.manual_seed(seed)
    safetensors.torch.save_file(TinyAutoencoder(4, 4).state_dict(), file)
    return file


def test_a_run_on_reconstructed_images_that_was_killed_goes_on_exactly(
    paired, tmp_path, monkeypatch
):
    file = write_autoencoder(tmp_path / "tiny.safetensors")
    words = (*paired, "synthesis=reconstructed", f"synthesis.autoencoder={file}")
    words += ("trainer.max_epochs=2", "model.input.size=17")  # no multiple of 8
    whole = train(tmp_path / "whole", *words)
    record, digest = whole.read_record(), hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["autoencoder"] == digest
    assert f"autoencoder={file}" in record["recipe"]["pseudo-fakes"]
    train_until_killed(monkeypatch, 4, tmp_path / "run", *words, "loader.num_workers=2")
    before = file.read_bytes()
    write_autoencoder(file, seed=1)
    with pytest.raises(FaceproofError, match=r"safetensors is another file than when this run"):
        train(tmp_path / "run", f"resume={tmp_path / 'run'}")
    file.write_bytes(before)
    assert_same_run(train(tmp_path / "run", f"resume={tmp_path / 'run'}"), whole)


@pytest.fixture
def some_faces(monkeypatch):
    """Let landmarks be stored for all images but one, as prepare would."""

    def ovals(paths):
        some = np.random.default_rng(0).uniform(0.2, 0.5, (len(paths), 6)).astype(np.float32)
        some[0] = np.nan
        return some

    monkeypatch.setattr(face_places, "stored_ovals", ovals)


@pytest.fixture
def on_faces(paired, some_faces, tmp_path, monkeypatch):
    """A whole run on pseudo-fakes of all kinds of such faces, and one that was killed."""
    kinds = "synthesis.kinds=[self_blended,blended,reconstructed]"
    words = (*paired, "synthesis=blended", kinds, "trainer.max_epochs=2")
    whole = train(tmp_path / "whole", *words)
    train_until_killed(monkeypatch, 4, tmp_path / "run", *words)
    return whole, RunFolder(tmp_path / "run")


def test_landmarks_that_are_gone_or_others_change_no_resumed_run(on_faces, monkeypatch):
    whole, run = on_faces

    def gone(paths):
        raise AssertionError("landmarks are looked up again")

    monkeypatch.setattr(face_places, "stored_ovals", gone)
    assert_same_run(train(run.path, f"resume={run.path}"), whole)


def test_a_run_whose_faces_are_gone_or_others_is_not_resumed(on_faces, some_faces):
    _, run = on_faces
    assert pq.read_table(run.faces)["centre_x"].null_count == 0
    table = pq.read_table(run.faces)
    pq.write_table(table.set_column(1, "centre_x", table["centre_y"]), run.faces)
    with pytest.raises(FaceproofError, match=r"faces\.parquet is not the file that this run began"):
        train(run.path, f"resume={run.path}")
    run.faces.unlink()
    with pytest.raises(FaceproofError, match=r"faces\.parquet is gone.*put it back, or train anew"):
        train(run.path, f"resume={run.path}")


def test_a_run_on_portraits_stays_one_where_landmarks_are_stored_later(
    paired, tmp_path, monkeypatch
):
    words = (*paired, "synthesis=self_blended", "trainer.max_epochs=1")
    train_until_killed(monkeypatch, 2, tmp_path / "run", *words)
    run = RunFolder(tmp_path / "run")
    assert run.read_record()["faces"] is None
    assert not run.faces.exists()
    monkeypatch.setattr(face_places, "stored_ovals", None)  # whoever looks them up fails
    assert train(run.path, f"resume={run.path}").operating_point.is_file()


def test_a_run_of_old_that_stored_no_faces_is_resumed_with_a_warning(on_faces, some_faces, caplog):
    whole, run = on_faces
    record = json.loads(run.record.read_text())
    del record["faces"]
    run.record.write_text(json.dumps(record))
    assert_same_run(train(run.path, f"resume={run.path}"), whole)
    assert "which did not store where the faces are" in caplog.text


def average(run):
    """Return the moving average in last.ckpt."""
    return weights(run)["callbacks"]["WeightAverage"]["average"]


@pytest.mark.parametrize("step", [5, 8])
def test_an_averaged_run_that_was_killed_goes_on_exactly(tiny, tmp_path, monkeypatch, step):
    words = (*tiny, "ema=0.9", "model.weights=none")
    whole = train(tmp_path / "whole", *words)
    train_until_killed(monkeypatch, step, tmp_path / "run", *words)
    run = train(tmp_path / "run", f"resume={tmp_path / 'run'}")
    assert_same_run(run, whole)
    for name, value in average(whole).items():
        assert torch.equal(value, average(run)[name]), name


@pytest.mark.parametrize("step", [5, 7, 10])
def test_a_run_that_averages_its_epochs_and_was_killed_goes_on_exactly(
    tiny, tmp_path, monkeypatch, step
):
    kept = [word for word in tiny if not word.startswith(("model", "freeze"))]
    words = (*kept, "model=timm", "model.name=test_resnet", "model.input.size=32", "swa=0.4")
    words += ("model.weights=none", "model.backbone.drop_rate=0.3")
    whole = train(tmp_path / "whole", *words)
    train_until_killed(monkeypatch, step, tmp_path / "run", *words, "loader.num_workers=2")
    run = train(tmp_path / "run", f"resume={tmp_path / 'run'}")
    assert_same_run(run, whole)
    states = [weights(one)["callbacks"]["EpochAverage"] for one in (run, whole)]
    assert [state["num_averaged"] for state in states] == [2, 2]  # of the second and the third
    for name, value in states[0]["average"].items():
        assert torch.equal(value, states[1]["average"][name]), name


def test_a_balanced_run_that_was_killed_goes_on_exactly(tiny, tmp_path, monkeypatch):
    words = (*tiny, "loader.sampler=balanced", "loader.source_weights={face_or_not: 2}")
    whole = train(tmp_path / "whole", *words)
    train_until_killed(monkeypatch, 6, tmp_path / "run", *words)
    assert_same_run(train(tmp_path / "run", f"resume={tmp_path / 'run'}"), whole)


@pytest.mark.parametrize("step", [2, 6])
def test_a_run_on_images_as_the_web_has_them_goes_on_exactly(tiny, tmp_path, monkeypatch, step):
    words = [word for word in tiny if not word.startswith("augment=")] + ["augment=web"]
    posterize = "augment.torchvision=[{name: RandomPosterize, bits: 3}]"
    whole = train(tmp_path / "whole", *words, posterize)
    train_until_killed(
        monkeypatch, step, tmp_path / "run", *words, posterize, "loader.num_workers=2"
    )
    assert_same_run(train(tmp_path / "run", f"resume={tmp_path / 'run'}"), whole)


@pytest.mark.parametrize("tables", [(), ("metrics", "best")])
def test_a_run_killed_before_its_first_checkpoint_is_begun_by_the_same_command(
    tiny, whole, tmp_path, monkeypatch, tables
):
    """The row of an epoch, and its weights if it is the best, are written before its checkpoint."""
    train_until_killed(monkeypatch, 0, tmp_path / "run", *tiny)
    run = RunFolder(tmp_path / "run")
    assert run.samples.is_file()
    assert not run.last.is_file()
    for name in tables:
        shutil.copy(getattr(whole, name), getattr(run, name))
    assert_same_run(whole, train(run.path, *tiny))


def test_a_run_killed_twice_goes_on_exactly(tiny, whole, tmp_path, monkeypatch):
    words = tiny
    for step in (5, 1):
        train_until_killed(monkeypatch, step, tmp_path / "run", *words)
        words = (f"resume={tmp_path / 'run'}",)
    assert_same_run(whole, train(tmp_path / "run", *words))


@pytest.mark.parametrize(
    ("number", "step", "done"),
    [
        (signal.SIGTERM, 5, 6),  # the step that was under way
        (signal.SIGINT, 5, 6),
        (signal.SIGTERM, 3, 4),  # the last of its epoch: after its validation
        (signal.SIGTERM, 7, 8),
    ],
)
def test_a_signal_writes_a_checkpoint_and_says_how_to_resume(
    tiny, whole, tmp_path, monkeypatch, number, step, done
):
    original, steps = DetectorModule.training_step, iter(range(1000))

    def training_step(self, batch, batch_idx):
        if next(steps) == step:
            os.kill(os.getpid(), number)
        return original(self, batch, batch_idx)

    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(DetectorModule, "training_step", training_step)
        with pytest.raises(FaceproofError, match=r"resume it by: faceproof train resume="):
            train(tmp_path / "run", *tiny, "checkpoint.steps=null")
    assert signal.getsignal(number) is before
    run = RunFolder(tmp_path / "run")
    assert run.read_record()["status"] == "interrupted"
    assert weights(run)["global_step"] == done
    assert_same_run(whole, train(tmp_path / "run", f"resume={run.path}", "checkpoint.steps=1"))


def test_a_run_that_had_stopped_early_stops_again_unless_it_is_told_more_patience(
    tiny, tmp_path, monkeypatch
):
    def die(*given):
        raise CrashError

    # So small a rate changes no weight, and no epoch is better than the first.
    words = (*tiny, "freeze.stages=[{from_epoch: 0, train: head}]", "optimizer.lr=1e-12")
    words += ("patience=1", "trainer.max_epochs=5")
    whole, folder = train(tmp_path / "whole", *words), tmp_path / "run"
    assert len(read_epochs(whole.metrics)) == 2
    with monkeypatch.context() as patched:
        patched.setattr(fit, "store_operating_point", die)  # after the last checkpoint
        with pytest.raises(CrashError):
            train(folder, *words)
    run = train(folder, f"resume={folder}")
    assert run.operating_point.is_file()
    assert_same_run(whole, run)
    patient = train(folder, f"resume={folder}", "patience=3")
    assert len(read_epochs(patient.metrics)) == 4
    assert stopping(weights(patient))["patience"] == 3


def test_inside_an_epoch_the_batches_must_stay(tiny, tmp_path, monkeypatch):
    train_until_killed(monkeypatch, 6, tmp_path / "run", *tiny)
    with pytest.raises(FaceproofError, match=r"loader\.batch_size = 4, and this is 8"):
        train(tmp_path / "run", f"resume={tmp_path / 'run'}", "loader.batch_size=8")
    assert len(read_epochs(RunFolder(tmp_path / "run").metrics)) == 1  # nothing was lost
    train(tmp_path / "run", f"resume={tmp_path / 'run'}")  # and the refused setting is forgotten


@pytest.mark.parametrize(
    "word", ["cache.views=2", "augment.rotation=5", "synthesis.share=1", "seed=1"]
)
def test_what_would_make_another_run_of_it_is_refused(whole, word):
    with pytest.raises(FaceproofError, match="cannot be changed when a run is resumed"):
        train(whole.path, f"resume={whole.path}", word)


def test_weights_that_are_not_finite_take_no_checkpoint_s_place(tiny, whole, tmp_path, monkeypatch):
    original = DetectorModule.optimizer_step

    def optimizer_step(self, epoch, batch_idx, *given):
        original(self, epoch, batch_idx, *given)
        if (epoch, batch_idx) == (1, 1):
            self.net.head.logit.linear.bias.data.fill_(float("inf"))

    with monkeypatch.context() as patched:
        patched.setattr(DetectorModule, "optimizer_step", optimizer_step)
        words = r"weights are not finite after step 6, in epoch 2.*resume it by: faceproof train"
        with pytest.raises(FaceproofError, match=words):
            train(tmp_path / "run", *tiny)
    run = RunFolder(tmp_path / "run")
    assert run.read_record()["status"].startswith("stopped: the weights are not finite")
    assert weights(run)["global_step"] == 5
    assert_same_run(whole, train(run.path, f"resume={run.path}"))


def optimizer(last):
    return last["optimizer_states"][0]


def groups(last):
    return optimizer(last)["param_groups"]


def moments(last):
    return optimizer(last)["state"][0]


BIAS = "net.head.logit.linear.bias"
OPTIMIZER = r"does not fit the run's own optimizer[\s\S]*optimizer_states: [\s\S]*"
MISFITS = {
    "a key less": (lambda last: last["state_dict"].popitem(), "Missing key"),
    "a key more": (lambda last: last["state_dict"].update(more=torch.ones(1)), "Unexpected key"),
    "no shape of ours": (lambda last: last["state_dict"].update({BIAS: torch.ones(3)}), "mismatch"),
    "no number": (lambda last: last["state_dict"][BIAS].fill_(torch.nan), "no numbers"),
    "no tensor": (lambda last: last["state_dict"].update({BIAS: 0}), "does not fit"),
    "an epoch of letters": (
        lambda last: last.update(epoch="x"),
        "its epoch is a str, and faceproof train writes",
    ),
    "no epoch": (lambda last: last.update(epoch=None), "its epoch is a NoneType"),
    "loops that are none": (lambda last: last.update(loops=[]), "its loops is a list"),
    "a place in a list": (lambda last: last.update(begun_epoch=[1]), "begun_epoch is a list"),
    "no place": (lambda last: last["begun_epoch"].pop("place"), "its place is a None"),
    "no optimizer": (lambda last: last.update(optimizer_states=[]), OPTIMIZER + "ValueError"),
    "no state of it": (lambda last: optimizer(last).pop("state"), OPTIMIZER + "KeyError: 'state'"),
    "a group less": (lambda last: groups(last).pop(), "different number of parameter groups"),
    "a smaller group": (lambda last: groups(last)[0]["params"].pop(), "size of optimizer's group"),
    "no rate": (lambda last: groups(last)[0].pop("lr"), OPTIMIZER + "KeyError: 'lr'"),
    "half a moment": (lambda last: moments(last).pop("exp_avg"), OPTIMIZER + "KeyError: 'exp_avg'"),
    "no moment": (lambda last: moments(last).update(exp_avg="x"), OPTIMIZER),
    "another's moment": (lambda last: moments(last).update(exp_avg=torch.ones(3, 7)), OPTIMIZER),
    "of no parameter": (lambda last: optimizer(last)["state"].update({99: {}}), OPTIMIZER),
    "other names": (
        lambda last: groups(last)[0].update(name="x"),
        OPTIMIZER + "ValueError",
    ),
    "an endless rate": (
        lambda last: groups(last)[-1].update(lr=torch.nan),
        "weights that are not finite",
    ),
    "moments gone": (
        lambda last: moments(last)["exp_avg"].fill_(torch.inf),
        "weights that are not finite",
    ),
    "no schedule": (lambda last: last.update(lr_schedulers=[]), "its schedule is a None"),
    "a list": (lambda last: last.update(optimizer_states=[[1]]), OPTIMIZER),
    "no loss": (lambda last: last["begun_epoch"].update(loss=1.0), "its loss is a fl"),
}


@pytest.mark.parametrize(("spoil", "message"), MISFITS.values(), ids=MISFITS)
def test_a_checkpoint_that_does_not_fit_is_refused_before_anything_is_lost(
    tiny, whole, tmp_path, monkeypatch, spoil, message
):
    run = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    last = weights(run)
    last["begun_epoch"] = {"place": 1, "batches": [4, 1]}
    last["begun_epoch"] |= dict.fromkeys(("logits", "labels", "loss", "weight"), torch.ones(1))
    spoil(last)
    torch.save(last, run.last)
    before = {file.name: file.read_bytes() for file in run.path.iterdir() if file.is_file()}
    with pytest.raises(FaceproofError, match=rf"last\.ckpt [\s\S]*{message}"):
        train(run.path, f"resume={run.path}")
    assert {f.name: f.read_bytes() for f in run.path.iterdir() if f.is_file()} == before


def test_a_run_limited_to_so_many_steps_is_not_gone_on_with(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "trainer.max_epochs=-1", "+trainer.max_steps=4")
    with pytest.raises(FaceproofError, match=r"trainer\.max_steps.*use trainer\.max_epochs"):
        train(run.path, f"resume={run.path}", "+trainer.max_steps=8")


def test_steps_that_end_within_the_first_epoch_are_refused_before_it(tiny, tmp_path):
    words = (*tiny, "trainer.max_epochs=1", "+trainer.max_steps=1")
    with pytest.raises(FaceproofError, match=r"of 4 steps.* trainer\.limit_train_batches=1"):
        train(tmp_path / "run", *words)
    assert not (tmp_path / "run/metrics.csv").exists()


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
@pytest.mark.parametrize("how", ["norm", "value"])
def test_gradients_are_clipped_in_every_precision(tiny, tmp_path, precision, how):
    words = (f"trainer.precision={precision}", f"+trainer.gradient_clip_algorithm={how}")
    words += ("optimizer=sgd", "trainer.max_epochs=1", "optimizer.lr=1", "optimizer.weight_decay=0")
    free = train(tmp_path / "free", *tiny, *words)
    held = train(tmp_path / "held", *tiny, *words, "trainer.gradient_clip_val=1e-9")
    first = train(tmp_path / "first", *tiny, *words, "optimizer.lr=0")
    moved = [
        max(
            (weights(run)["state_dict"][name] - tensor).abs().max()
            for name, tensor in start.items()
        )
        for start in [weights(first)["state_dict"]]
        for run in (free, held)
    ]
    assert moved[0] > 1e-4
    assert moved[1] < 1e-6


def test_steps_leave_nothing_behind_in_the_process(tiny, tmp_path):
    before = len(torch.cuda._queued_calls)
    train(tmp_path / "run", *tiny, "checkpoint.steps=null")
    # Lightning seeds once; twelve steps that did would be remembered for a GPU that never comes.
    assert len(torch.cuda._queued_calls) - before < 12


def test_what_a_killed_writer_has_left_is_removed(tiny, tmp_path, monkeypatch):
    train_until_killed(monkeypatch, 5, tmp_path / "run", *tiny)
    (tmp_path / "run" / "last.ckpt.partial-123").write_bytes(b"half")
    train(tmp_path / "run", f"resume={tmp_path / 'run'}")
    assert not list((tmp_path / "run").glob("*.partial-*"))


def test_a_checkpoint_is_whole_or_the_one_before_it(tmp_path, monkeypatch):
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": torch.tensor(1)}, file)
    original = torch.save

    def full(checkpoint, written):
        written.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(FaceproofError, match=r"the disk is full; the one before it is whole"):
        AtomicCheckpointIO().save_checkpoint({"step": torch.tensor(2)}, file)
    monkeypatch.setattr(torch, "save", original)
    assert torch.load(file, weights_only=True)["step"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_checkpoints_are_written_by_the_clock(tiny, whole, tmp_path, monkeypatch):
    """A step takes four minutes, so that ten have passed after the third of an epoch's four."""
    now, places = 0.0, []
    original, write = DetectorModule.training_step, AtomicCheckpointIO.save_checkpoint

    def training_step(self, batch, batch_idx):
        nonlocal now
        now += 240.0
        return original(self, batch, batch_idx)

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        write(self, checkpoint, path, storage_options)
        if "begun_epoch" in (found := torch.load(path, weights_only=True)):  # it is whole
            places.append((found["epoch"], found["begun_epoch"]["place"]))

    words = ("checkpoint.minutes=10", "checkpoint.steps=null")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: now))
        patched.setattr(DetectorModule, "training_step", training_step)
        patched.setattr(AtomicCheckpointIO, "save_checkpoint", save_checkpoint)
        train_until_killed(patched, 11, tmp_path / "run", *tiny, *words)
    assert places == [(0, 3), (1, 3), (2, 3)]
    assert_same_run(whole, train(tmp_path / "run", f"resume={tmp_path / 'run'}"))


@pytest.mark.parametrize("wrong", ["checkpoint.minutes=0", "checkpoint.steps=-1"])
def test_intervals_that_are_none_are_refused(tiny, tmp_path, wrong):
    with pytest.raises(
        FaceproofError, match=r"must be a (number above 0|count from 1 on), or null"
    ):
        train(tmp_path / "run", *tiny, wrong)


def test_the_checkpoint_holds_plain_data_only(whole):
    weights(whole)  # weights_only=True refuses anything else
    assert json.loads(whole.record.read_text())["status"] == "finished"


COSINE = ("scheduler=cosine", "scheduler.warmup=0", "trainer.max_epochs=2")


def epoch_rates(run):
    return [row["lr/head"] for row in read_epochs(run.metrics)]


@pytest.fixture(scope="module")
def two_epochs(tiny, tmp_path_factory):
    words = [word for word in tiny if not word.startswith(("scheduler", "trainer.max"))]
    return train(tmp_path_factory.mktemp("two") / "run", *words, *COSINE)


# Four steps an epoch, of which the first of a cycle is its warm-up.
HALF, LATE = ((1 + math.cos(math.pi * step)) / 2 for step in (3 / 7, 11 / 15))
MIDDLE = (1 + math.cos(math.pi * 7 / 15)) / 2


@pytest.mark.parametrize(
    ("word", "schedule", "rates"),
    [
        ("scheduler.more_epochs=keep", [[0, 2]], [1, HALF, 0, 0]),
        ("scheduler.more_epochs=restart", [[0, 2], [2, 4]], [1, HALF, 1, HALF]),
        ("scheduler.more_epochs=stretch", [[0, 4]], [1, HALF, MIDDLE, LATE]),
    ],
)
def test_more_epochs_after_a_finished_cosine_do_what_was_asked(
    two_epochs, tmp_path, caplog, word, schedule, rates
):
    run = RunFolder(shutil.copytree(two_epochs.path, tmp_path / "run"))
    train(run.path, f"resume={run.path}", "trainer.max_epochs=4", word)
    found = epoch_rates(run)
    assert [rate / found[0] for rate in found] == pytest.approx(rates, abs=1e-6)
    assert run.read_record()["schedule"] == schedule
    said = "scheduler.more_epochs=restart" in caplog.text
    assert said == word.endswith("keep")


def test_another_batch_size_is_said_to_shift_the_schedule(two_epochs, tmp_path, caplog):
    shutil.copytree(two_epochs.path, tmp_path / "run")
    words = (f"resume={tmp_path / 'run'}", "loader.batch_size=8", "trainer.max_epochs=3")
    train(tmp_path / "run", *words)
    assert "loader.batch_size is 8 and was 4: the cosine schedule counts" in caplog.text


def test_a_run_killed_in_its_second_cycle_keeps_to_it(two_epochs, tmp_path, monkeypatch):
    whole, killed = (shutil.copytree(two_epochs.path, tmp_path / name) for name in "ab")
    words = ("trainer.max_epochs=4", "scheduler.more_epochs=restart")
    train(whole, f"resume={whole}", *words)
    train_until_killed(monkeypatch, 5, killed, f"resume={killed}", *words)
    train(killed, f"resume={killed}")
    assert_same_run(RunFolder(whole), RunFolder(killed))
    assert RunFolder(killed).read_record()["schedule"] == [[0, 2], [2, 4]]


def test_what_was_evaluated_before_more_epochs_is_not_of_the_new_weights(tiny, tmp_path):
    """The evaluation of one epoch does not pass for that of three."""
    run = train(tmp_path / "run", *tiny, "trainer.max_epochs=1")
    evaluate(run.path, "loader.num_workers=0")
    assert evaluations_of(run) == ["face_or_not-test"]
    first = run.detector_digest
    train(run.path, f"resume={run.path}", "trainer.max_epochs=3")
    assert run.detector_digest != first
    assert list(stale_evaluations(run)) == ["face_or_not-test"]
    with pytest.raises(FaceproofError, match="of other weights"):
        export_run(run.path, tmp_path / "artifact")
    evaluate(run.path, "loader.num_workers=0")
    export_run(run.path, tmp_path / "artifact")


def test_a_run_is_not_resumed_on_images_that_have_changed(tmp_path):
    root = write_faces(tmp_path / "faces", train=8, val=4, test=4)
    run = train(tmp_path / "run", *TINY, f"data.root={root}", "trainer.max_epochs=1")
    changed = root / "train" / "faces" / "3.jpg"
    before = changed.read_bytes()
    changed.write_bytes((root / "train" / "faces" / "4.jpg").read_bytes())
    with pytest.raises(FaceproofError, match=r"1 images of .*, first .*3\.jpg; put them back"):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert run.operating_point.is_file()
    changed.write_bytes(before)
    train(run.path, f"resume={run.path}", "trainer.max_epochs=2")


def test_weights_put_in_by_hand_are_not_taken_for_the_best_epoch(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "trainer.max_epochs=1")
    torch.save(torch.load(run.best, weights_only=True) | {"epoch": 7}, run.best)
    with pytest.raises(FaceproofError, match=r"weights of epoch 8, and by metrics\.csv epoch 1 is"):
        train(run.path, f"resume={run.path}")
