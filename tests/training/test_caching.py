"""Kept images and features change how long a run takes and nothing else."""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from faceproof.audit import file_statistics
from faceproof.augment.transforms import Augment
from faceproof.data.datasets import ImageDataset, ImageGoneError
from faceproof.data.image_io import read_image
from faceproof.data.loader_config import CacheConfig
from faceproof.data.model_input import fit_image
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder, read_epochs
from faceproof.models import build_network
from faceproof.models.detector import Detector
from faceproof.performance.memory import available_bytes
from faceproof.task import TASKS
from faceproof.training.caching import BackbonePass, cached_features
from faceproof.training.module import DetectorModule
from tests.jobs import REPOSITORY, train

TINY = (
    "data=face_or_not", "model=face_cnn", "model.weights=none", "model.input.size=16",
    "trainer=cpu",
    "trainer.precision=32-true", "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
    "model.head.dropout=0",
)  # fmt: skip
FROZEN = ("freeze=head_only", "augment=none", "trainer.max_epochs=3")


@pytest.fixture
def tiny(small_faces, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    return (*TINY, f"data.root={small_faces}")


def figures(run):
    drop = "train/images_per_second"
    return [{k: v for k, v in row.items() if k != drop} for row in read_epochs(run.metrics)]


def assert_alike(first, second):
    for one, other in zip(figures(first), figures(second), strict=True):
        assert one == pytest.approx(other, abs=1e-5, nan_ok=True)


def weights(run):
    return torch.load(run.last, weights_only=True)["state_dict"]


def test_with_and_without_cached_features_a_run_ends_the_same(tiny, tmp_path):
    kept = train(tmp_path / "kept", *tiny, *FROZEN)
    fresh = train(tmp_path / "fresh", *tiny, *FROZEN, "cache.features=none")
    assert "computed once and cached" in kept.read_record()["features"]
    assert fresh.read_record()["features"] == "not cached, because cache.features=none"
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2  # training and validation
    assert_alike(kept, fresh)
    for name, tensor in weights(kept).items():
        assert torch.allclose(tensor, weights(fresh)[name], atol=1e-5), name


def test_with_cached_features_no_epoch_reads_an_image(tiny, tmp_path, monkeypatch):
    read = []
    original = ImageDataset.image
    monkeypatch.setattr(
        ImageDataset, "image", lambda self, row, epoch: read.append(row) or original(self, row)
    )
    train(tmp_path / "one", *tiny, *FROZEN)
    first, read[:] = len(read), []
    train(tmp_path / "two", *tiny, *FROZEN, "trainer.max_epochs=6")
    fitted = 8  # validation again, in full, for the operating point
    assert first == 16 + 8 + 4 + 4 + fitted  # training, validation, and four of each to check
    assert len(read) == 4 + 4 + fitted


def test_a_new_run_looks_at_its_files_once(tiny, tmp_path, monkeypatch):
    looked = Counter()
    original = file_statistics.statistics_of_file
    monkeypatch.setattr(
        file_statistics, "statistics_of_file", lambda path: looked.update([path]) or original(path)
    )
    run = train(tmp_path / "run", *tiny, *FROZEN)
    assert "computed once" in run.read_record()["features"]
    assert set(looked.values()) == {1}


def test_views_come_round_and_are_the_same_cached_or_not(tiny, tmp_path):
    words = (*tiny, "freeze=head_only", "augment=shift", "trainer.max_epochs=4", "cache.views=2")
    kept = train(tmp_path / "kept", *words)
    fresh = train(tmp_path / "fresh", *words, "cache.features=none")
    assert "2 view(s)" in kept.read_record()["features"]
    assert_alike(kept, fresh)


def test_random_augmentation_keeps_nothing_and_says_what_would(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "freeze=head_only", "augment=flip", "trainer=smoke")
    assert "cache.views=4" in run.read_record()["features"]
    assert not (tmp_path / "cache" / "features").exists()


def test_a_limited_run_does_not_look_at_every_image(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "freeze=head_only", "augment=none", "trainer=smoke")
    assert "limited" in run.read_record()["features"]
    assert not (tmp_path / "cache" / "features").exists()


def test_an_image_that_has_gone_is_named_when_a_run_goes_on(tiny, small_faces, tmp_path):
    run = train(tmp_path / "run", *tiny, *FROZEN)
    gone = next((small_faces / "train" / "faces").iterdir())
    gone.unlink()
    with pytest.raises(FaceproofError, match=f"{gone} could be read when the run began"):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=4")


def test_a_backbone_that_will_train_is_not_cached(tiny, tmp_path):
    stages = "freeze.stages=[{from_epoch: 0, train: head}, {from_epoch: 1, train: all}]"
    run = train(tmp_path / "run", *tiny, "augment=none", stages, "trainer.max_epochs=2")
    assert run.read_record()["features"] == "not cached, because the backbone is being trained"
    short = train(tmp_path / "short", *tiny, "augment=none", stages, "trainer.max_epochs=1")
    assert "computed once" in short.read_record()["features"]


def test_without_room_a_run_goes_on_without(tiny, tmp_path, caplog):
    run = train(tmp_path / "run", *tiny, *FROZEN, "cache.max_gb=0.00001")
    assert "nothing is cached" in caplog.text
    assert run.read_record()["features"] == "not cached, because there was no room for them"
    assert_alike(run, train(tmp_path / "kept", *tiny, *FROZEN))


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_decoded_images_that_are_cached_change_nothing(tiny, tmp_path, where):
    words = (*tiny, "trainer.max_epochs=2", "augment=colour")
    plain = train(tmp_path / "plain", *words)
    kept = train(tmp_path / "kept", *words, f"cache.images={where}")
    assert figures(plain) == figures(kept)
    assert all(torch.equal(tensor, weights(kept)[name]) for name, tensor in weights(plain).items())
    assert (tmp_path / "cache" / "images").exists() == (where == "disk")


def test_images_beyond_the_memory_allowed_are_refused(tiny, tmp_path):
    with pytest.raises(FaceproofError, match=r"use cache\.images=disk"):
        train(tmp_path / "run", *tiny, "cache.images=memory", "cache.max_gb=0.000001")


def test_images_beyond_the_memory_there_is_are_refused(tiny, tmp_path, monkeypatch):
    assert available_bytes() > 2**20
    monkeypatch.setattr("faceproof.training.caching.available_bytes", lambda: 1000)
    with pytest.raises(FaceproofError, match=r"this machine has free 1e-06; use cache\.images="):
        train(tmp_path / "run", *tiny, "cache.images=memory")


def interrupted(monkeypatch, folder, *words):
    """Train, be told to end in the third of an epoch's four steps, and go on."""
    original = DetectorModule.training_step

    def training_step(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(DetectorModule, "training_step", training_step)
        with pytest.raises(FaceproofError, match="interrupted; resume it by"):
            train(folder, *words)
    found = torch.load(folder / "last.ckpt", weights_only=True)
    assert found["begun_epoch"]["place"] == 3
    return train(folder, f"resume={folder}")


KEPT = {
    "features": ("freeze=head_only", "augment=none"),
    "views of features": ("freeze=head_only", "augment=shift", "cache.views=2"),
    "images": ("augment=colour", "cache.images=disk"),
    "images in memory": ("augment=colour", "cache.images=memory"),
}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("words", KEPT.values(), ids=KEPT)
def test_a_run_goes_on_exactly_inside_an_epoch(tiny, tmp_path, monkeypatch, words, precision):
    more = ("loader.batch_size=4", "trainer.max_epochs=3", "model.head.dropout=0.5")
    words = (*tiny, *words, *more, f"trainer.precision={precision}")
    whole = train(tmp_path / "whole", *words)
    again = interrupted(monkeypatch, tmp_path / "run", *words)
    assert figures(whole) == figures(again)
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())
    assert ("computed once" in whole.read_record()["features"]) == ("freeze=head_only" in words)


def test_in_bfloat16_features_and_images_may_be_cached_too(tiny, tmp_path):
    words = (*tiny, "trainer.precision=bf16-mixed", "trainer.max_epochs=2")
    images = (*words, "augment=colour")
    plain = train(tmp_path / "plain", *images)
    kept = train(tmp_path / "kept", *images, "cache.images=disk")
    assert all(torch.equal(value, weights(kept)[name]) for name, value in weights(plain).items())
    frozen = (*words, "freeze=head_only", "augment=none")
    fresh = train(tmp_path / "fresh", *frozen, "cache.features=none")
    kept = train(tmp_path / "features", *frozen)
    # Features of another batch size than training's are rounded to bfloat16's eight bits anew.
    for name, value in weights(fresh).items():
        assert torch.allclose(value, weights(kept)[name], atol=5e-3), name
    for one, other in zip(figures(fresh), figures(kept), strict=True):
        assert one["val/loss"] == pytest.approx(other["val/loss"], abs=1e-2)


@pytest.mark.long  # of two processes, test_distributed.py has the short form
def test_two_processes_share_what_is_cached(tiny, tmp_path):
    """Each takes every second row, of the features that the first of them has computed."""
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "loader.batch_size=4")
    words = (*tiny, *FROZEN, "optimizer=sgd", "scheduler=none")
    runs = {}
    for name, cache in (("kept", "auto"), ("fresh", "none")):
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "train.py"), *words, *two, f"cache.features={cache}",
             f"hydra.run.dir={tmp_path / name}", "trainer.precision=32-true"],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        runs[name] = RunFolder(tmp_path / name)
    assert "computed once" in runs["kept"].read_record()["features"]
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2
    assert_alike(runs["kept"], runs["fresh"])
    for name, value in weights(runs["kept"]).items():
        assert torch.allclose(value, weights(runs["fresh"])[name], atol=1e-5), name


@pytest.fixture
def features(small_faces, tmp_path, monkeypatch):
    """Return what computes the features of four images, and counts how often it does."""
    from faceproof.models.backbones import face_cnn_backbone
    from faceproof.models.detector import ImageInput
    from faceproof.models.heads import HiddenHead

    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    how = ImageInput(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
    net = Detector(face_cnn_backbone(16), lambda n: HiddenHead(n, 4), how)
    paths = sorted(map(str, (small_faces / "train" / "faces").iterdir()))[:4]

    def compute(precision="32-true", views=1, augment=None, seed=0, size=16):
        rows = table_from_columns(
            {"path": paths, "label": ["face"] * 4, "split": ["train"] * 4, "source": ["s"] * 4}
        )
        dataset = ImageDataset(rows, TASKS["face"], size, "bilinear")
        backbone = BackbonePass(net, precision, nullcontext, augment or Augment(), seed, views)
        return cached_features(dataset, rows, backbone, CacheConfig(), 0)

    compute.net, compute.paths = net, paths
    compute.cached = lambda: len(list((tmp_path / "cache" / "features").glob("*.npy")))
    return compute


def test_features_are_cached_by_all_that_they_depend_on(features):
    features()
    features(seed=1)  # nothing is random, so the seed does not matter
    assert features.cached() == 1
    features(precision="bf16-mixed")
    features(views=2, augment=Augment(rotation=9))
    features(views=2, augment=Augment(rotation=9), seed=1)
    assert features.cached() == 4
    with torch.no_grad():
        next(features.net.head.parameters()).add_(1)
    features()
    assert features.cached() == 4  # the head has no part in them
    with torch.no_grad():
        next(features.net.backbone.parameters()).add_(1)
    features()
    assert features.cached() == 5
    shutil.copyfile(features.paths[1], features.paths[0])
    features()
    assert features.cached() == 6
    size, times = (status := os.stat(features.paths[0])).st_size, (0, status.st_mtime_ns)
    data = bytearray(Path(features.paths[0]).read_bytes())
    data[-20] ^= 1  # another image of the same size, at the same time
    Path(features.paths[0]).write_bytes(data)
    os.utime(features.paths[0], ns=times)
    assert (os.stat(features.paths[0]).st_size, os.stat(features.paths[0]).st_mtime_ns) == (
        size, times[1],
    )  # fmt: skip
    features()
    assert features.cached() == 7


def test_what_is_cached_is_of_the_decoding_as_it_is_written(features, monkeypatch):
    features()
    source = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda module: source(module) + "# changed")
    features()
    assert features.cached() == 2


def test_nothing_is_cached_of_an_image_that_changes_while_it_is_read(features, monkeypatch):
    original = BackbonePass.__call__

    def slowly(self, images, rows, view):
        if view == 1:
            shutil.copyfile(features.paths[1], features.paths[0])
        return original(self, images, rows, view)

    monkeypatch.setattr(BackbonePass, "__call__", slowly)
    with pytest.raises(ImageGoneError, match="was changed while it was read"):
        features(views=2, augment=Augment(rotation=9))
    assert features.cached() == 0


def test_features_are_the_backbones_and_training_goes_on_as_it_was(features):
    net = features.net.train()
    found = features(views=3, augment=Augment(horizontal_flip=0.5, rotation=20))
    assert found.shape[:2] == (3, 4)
    assert not np.allclose(found[0], found[1])
    assert net.training
    assert all(module.training for module in net.modules())
    images = torch.stack([fit_image(read_image(p), 16, "bilinear") for p in features.paths])
    with torch.no_grad():
        expected = net.eval().features(images / 255)
    np.testing.assert_allclose(features()[0], expected, atol=1e-5)


def test_a_frozen_prefix_runs_without_autograd(tiny, tmp_path, monkeypatch):
    from faceproof.models.backbones import SmallBackbone

    seen = []
    original = SmallBackbone.forward

    def forward(self, images):
        if torch.is_grad_enabled():
            first = self.blocks[0](images)
            seen.append((first.requires_grad, self.blocks[1](first).requires_grad))
        return original(self, images)

    monkeypatch.setattr(SmallBackbone, "forward", forward)
    stages = "freeze.stages=[{from_epoch: 0, train: [head, last_1]}]"
    train(tmp_path / "run", *tiny, stages, "trainer=smoke")
    assert set(seen) == {(False, True)}


def test_the_record_says_it_in_plain_values(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, *FROZEN)
    assert json.loads(run.record.read_text())["precision"] == "32-true"


def test_features_of_another_branch_are_not_taken_for_these():
    def key(branch):
        torch.manual_seed(0)
        backbone = {"name": "face_cnn"}
        net = build_network({"backbone": backbone, "input": {"size": 16}, "branch": branch})
        return repr(BackbonePass(net, "32", nullcontext, Augment(), 0, 1).key())

    branches = [{"name": "none"}, {"name": "srm"}, {"name": "srm", "truncate": 3}, {"name": "npr"}]
    assert len({key(branch) for branch in branches}) == len(branches)
    assert key(branches[1]) == key(branches[1])
