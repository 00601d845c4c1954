"""compile=true: the same run, to rounding, by names that do not change."""

from functools import partial

import pytest
import torch

from faceproof.errors import FaceproofError
from tests.jobs import train

OPTIONS = (
    "data=face_or_not",
    "model=face_cnn",
    "model.input.size=16",
    "model.head.dropout=0",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=1",
    "loader.batch_size=8",
    "loader.num_workers=0",
    "logger=csv",
)


@pytest.fixture
def options(small_faces):
    return (*OPTIONS, f"data.root={small_faces}")


def state(run):
    return torch.load(run.last, weights_only=True)["state_dict"]


def test_a_compiled_run_is_the_plain_one_to_rounding(options, tmp_path, monkeypatch):
    plain = state(train(tmp_path / "plain", *options))
    # The capture is torch.compile's own; its compiler for a CPU wants a C++ compiler, and minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    compiled = state(train(tmp_path / "compiled", *options, "compile=true"))
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_compiled_is_said(options, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    with pytest.raises(FaceproofError, match=r"no C\+\+ compiler.*train with compile=false"):
        train(tmp_path / "run", *options, "compile=true")
