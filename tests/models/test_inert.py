"""What other people save beside weights is passed over; nothing of it can run or grow."""

import codecs
import pickle

import numpy as np
import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.models.inert import ENCODE, Inert, encodes_plainly, inert_values
from faceproof.models.state_dicts import load_plain


class Encoded:
    """Is pickled as a call of encode."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return codecs.encode, self.arguments


def test_values_become_objects_that_do_nothing(tmp_path):
    torch.save({"a": np.float64(1.5), "b": [np.arange(3)], "c": torch.ones(1)}, tmp_path / "a.pth")
    with inert_values():
        found = torch.load(tmp_path / "a.pth", weights_only=True)
    assert isinstance(found["a"], Inert)
    assert isinstance(found["b"][0], Inert)
    assert torch.equal(found["c"], torch.ones(1))


def test_a_run_s_own_checkpoints_hold_no_such_values(tmp_path):
    torch.save({"a": np.float64(1.5)}, tmp_path / "a.pth")
    with pytest.raises(FaceproofError, match="beside tensors"):
        load_plain(tmp_path / "a.pth")


def pickled(value, protocol=2):
    data = pickle.dumps(value, protocol)
    assert ENCODE.search(data)
    return data


def test_the_numbers_of_numpy_are_plain():
    values = [np.float64(1), np.uint8(3), np.uint8(3), np.arange(4), b"bytes"]
    assert encodes_plainly(pickled(values))
    assert encodes_plainly(2 * pickled(values))  # one pickle after another
    assert encodes_plainly(pickled(values) + b"numbers of tensors")


LONG = 100 * "a"
GROWING = {
    "another coding": [Encoded("a", "utf-32")],
    "a text used again": [Encoded(LONG, "latin1"), Encoded(LONG, "latin1")],
    "bytes of bytes": [Encoded(Encoded("a", "latin1"), "hex")],
    "no coding": [Encoded("a")],
    "the function itself": [codecs.encode],
}


@pytest.mark.parametrize("case", GROWING)
def test_what_could_grow_is_not_plain(case):
    data = pickled(GROWING[case])
    assert not encodes_plainly(data)
    assert not encodes_plainly(pickled([np.float64(1)]) + data)


def test_a_call_through_a_name_that_was_given_anew_is_not_plain():
    """The place of a short text may hold something else by the time that it is used."""
    call = b"c_codecs\nencode\n"
    data = b"\x80\x02]q\x00(X\x01\0\0\0aq\x01X\x06\0\0\0latin1q\x02"
    assert encodes_plainly(data + call + b"h\x01h\x02\x86Re.")
    replaced = data + b"]q\x01" + call + b"h\x01h\x02\x86Re."
    assert not encodes_plainly(replaced)


def test_a_file_that_could_grow_is_refused(tmp_path):
    torch.save({"a": torch.ones(1), "b": GROWING["a text used again"]}, tmp_path / "a.pth")
    with pytest.raises(FaceproofError, match="holds encode beside tensors"):
        load_plain(tmp_path / "a.pth", beside_values=True)
