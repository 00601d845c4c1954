"""What takes several processes: FSDP, and batch norms that are synchronised among them."""

import os
import subprocess
import sys

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from tests.fsdp_on_cpu import allow_cpu
from tests.jobs import REPOSITORY, train
from tests.small_sources import write_sources

VIT = (
    "data=table", "data.allow_leaks=true", "model=timm", "model.name=test_vit",
    "model.input.size=64", "model.weights=none", "augment=none", "logger=csv",
    "loader.num_workers=0", "loader.batch_size=4", "optimizer=sgd", "scheduler=none",
    "optimizer.weight_decay=0", "trainer=ddp", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "trainer.max_epochs=1",
)  # fmt: skip
FSDP = "+trainer.strategy={name: fsdp}"
DDP = "trainer.devices=2"


@pytest.fixture
def words(tmp_path):
    return (*VIT, f"data.file={write_sources(tmp_path / 'data', 'a')}")


@pytest.mark.parametrize(
    "setting",
    [
        "ema=0.9",
        "swa=0.4",
        "optimizer.sam_rho=0.05",
        "adapter=lora",
        "trainer.gradient_clip_val=1",
        "optimizer.weight_decay=0.01",
    ],
)
def test_what_needs_whole_weights_is_refused_with_fsdp(words, tmp_path, monkeypatch, setting):
    allow_cpu(monkeypatch.setattr)
    name = setting.partition("=")[0]
    more = ("trainer.max_epochs=5",) if name == "swa" else ()
    with pytest.raises(FaceproofError, match=rf"fsdp divides .*, and {name} needs them whole"):
        train(tmp_path / "run", *words, FSDP, setting, *more)


def test_an_optimizer_that_may_need_whole_weights_is_refused_with_fsdp(
    words, tmp_path, monkeypatch, caplog
):
    allow_cpu(monkeypatch.setattr)
    with pytest.raises(FaceproofError, match=r"optimizer\.name = lars may need it whole; use"):
        train(tmp_path / "run", *words, FSDP, "optimizer.name=lars", "~optimizer.options.fused")
    assert "with trainer.strategy=fsdp a run that stops cannot be resumed" in caplog.text


def test_a_run_with_fsdp_is_not_resumed(words, tmp_path, monkeypatch):
    run = train(tmp_path / "run", *words, "trainer.devices=1")
    allow_cpu(monkeypatch.setattr)
    with pytest.raises(FaceproofError, match=r"trainer\.strategy=fsdp cannot be resumed"):
        train(run.path, f"resume={run.path}", FSDP, "trainer.max_epochs=2")


def test_fsdp_without_a_gpu_is_refused(words, tmp_path):
    with pytest.raises(FaceproofError, match="`fsdp` requires a GPU accelerator"):
        train(tmp_path / "run", *words, "trainer.strategy=fsdp")


def test_synchronised_batch_norms_on_the_cpu_are_refused(words, tmp_path):
    with pytest.raises(FaceproofError, match="sync_batchnorm = true takes a GPU for each process"):
        train(tmp_path / "run", *words, DDP, "trainer.sync_batchnorm=true")


@pytest.mark.long
def test_fsdp_trains_what_ddp_does(words, tmp_path):
    """Its checkpoints hold whole weights, so that everything reads them."""

    def run(folder, *more):
        done = subprocess.run(
            [sys.executable, "-m", "tests.fsdp_on_cpu", "train", *more, f"hydra.run.dir={folder}"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return RunFolder(folder)

    divided = run(tmp_path / "fsdp", *words, DDP, FSDP)
    whole = run(tmp_path / "ddp", *words, DDP)
    states = [torch.load(one.best, weights_only=True)["state_dict"] for one in (divided, whole)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[1].items():
        assert torch.allclose(states[0][name], tensor, atol=1e-5), name
    assert divided.operating_point.is_file()
