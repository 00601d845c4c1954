"""Runs from strangers: checkpoints that would run code, or are damaged, are refused by name."""

import pickle
import shutil

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.run import RunFolder
from jobs import evaluate, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from conftest import write_faces

    root = write_faces(tmp_path_factory.mktemp("faces"), train=8, val=4, test=4)
    return train(
        tmp_path_factory.mktemp("runs") / "run", "data=face_or_not", f"data.root={root}",
        "model=face_cnn", "model.input.size=16", "trainer=cpu", "trainer.max_epochs=1",
        "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
    )  # fmt: skip


@pytest.fixture
def run(trained, tmp_path):
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


class Harm:
    """Touches a file when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return open, (str(self.witness), "w")


def with_code(checkpoint, file, witness):
    torch.save(checkpoint | {"callbacks": Harm(witness)}, file)


def in_bare_pickle(checkpoint, file, witness):
    file.write_bytes(pickle.dumps(Harm(witness)))


def cut_short(checkpoint, file, witness):
    file.write_bytes(file.read_bytes()[:-1000])


def a_web_page(checkpoint, file, witness):
    file.write_text("<!doctype html><title>404</title>")


def empty(checkpoint, file, witness):
    file.write_bytes(b"")


def a_list(checkpoint, file, witness):
    torch.save([1, 2], file)


HOSTILE = (with_code, in_bare_pickle, cut_short, a_web_page, empty, a_list)


@pytest.mark.parametrize("spoil", HOSTILE)
def test_evaluation_refuses_a_hostile_checkpoint(run, tmp_path, spoil):
    spoil(torch.load(run.best, weights_only=True), run.best, tmp_path / "witness")
    with pytest.raises(FaceproofError, match=r"best\.ckpt"):
        evaluate(run.path, "loader.num_workers=0")
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize("spoil", HOSTILE)
def test_resuming_refuses_a_hostile_checkpoint(run, tmp_path, spoil):
    spoil(torch.load(run.last, weights_only=True), run.last, tmp_path / "witness")
    before = run.record.read_text()
    with pytest.raises(FaceproofError, match=r"last\.ckpt"):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert not (tmp_path / "witness").exists()
    assert run.record.read_text() == before  # nothing was begun


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("net.head.hidden.weight"), "Missing key"),
        (lambda state: state.update(more=torch.zeros(1)), "Unexpected key"),
        (lambda state: state.update({"net.head.hidden.bias": torch.zeros(3)}), "size mismatch"),
        (lambda state: state["net.head.hidden.bias"].fill_(float("nan")), "no numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(run, change, words):
    checkpoint = torch.load(run.best, weights_only=True)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, run.best)
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")


def test_a_run_whose_configuration_names_a_command_is_refused(run, tmp_path):
    text = run.config.read_text()
    hostile = text.replace("faceproof.models.make_detector", "os.system", 1)
    assert hostile != text
    run.config.write_text(hostile)
    with pytest.raises(FaceproofError, match=r"names 'os\.system'"):
        evaluate(run.path, "loader.num_workers=0")
