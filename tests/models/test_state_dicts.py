"""Files of torch.save: those that would run code or fill the memory are refused unopened."""

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.models import state_dicts
from faceproof.models.state_dicts import load_plain
from tests.hostile_checkpoints import BOMBS
from tests.small_networks import small


@pytest.fixture
def file(tmp_path):
    torch.save({"state_dict": small(0).state_dict(), "callbacks": {}}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


@pytest.mark.parametrize("spoil", BOMBS)
def test_what_would_fill_the_memory_is_refused_before_it_is_opened(
    file, tmp_path, monkeypatch, spoil
):
    spoil(load_plain(file), file, tmp_path / "witness")
    monkeypatch.setattr(torch, "load", lambda *given, **more: pytest.fail("was opened"))
    words = "would unpack to|holds bytearray|outside of itself|torch.save gives numbers"
    with pytest.raises(FaceproofError, match=rf"best\.ckpt .*({words})"):
        load_plain(file)


def test_a_pickle_of_absurd_size_is_refused_unopened(file, monkeypatch):
    monkeypatch.setattr(state_dicts, "MAX_PICKLE", 100)
    with pytest.raises(FaceproofError, match=r"has a pickle of \d.* bytes beside its tensors"):
        load_plain(file)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_in_either_format_of_torch_is_read(file, zipped):
    data = load_plain(file)
    torch.save(data, file, _use_new_zipfile_serialization=zipped)
    found = load_plain(file)["state_dict"]
    assert all(torch.equal(found[key], value) for key, value in data["state_dict"].items())
