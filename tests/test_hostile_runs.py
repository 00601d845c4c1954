"""Runs from strangers: checkpoints that would run code, or are damaged, are refused by name."""

import copy
import errno
import itertools
import os
import pickle
import shutil
import struct
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from faceproof.data.table import read_parquet
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.models.state_dicts import load_plain
from tests.jobs import evaluate, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from tests.conftest import write_faces

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


def packed_again(
    file, compression, change=lambda name, data: data, more=(), rename=lambda name: name
):
    """Write the archive that torch.save made once more, with what it holds changed."""
    with zipfile.ZipFile(file) as archive:
        held = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in [*((rename(n), change(n, d)) for n, d in held.items()), *more]:
            archive.writestr(name, data)


def unpacks_to_much(checkpoint, file, witness):
    torch.save(checkpoint | {"callbacks": torch.zeros(30_000_000)}, file)
    packed_again(file, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 10_000_000


def shares_its_bytes(checkpoint, file, witness):
    """Let every name of the archive stand for the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
        first = archive.infolist()[0]
        for number in range(1000):
            entry = copy.copy(first)
            entry.filename = f"archive/data/{number}"
            archive.filelist.append(entry)


class EmptyBytes:
    """Asks for a hundred gigabytes when it is unpickled."""

    def __reduce__(self):
        return bytearray, (10**11,)


def with_empty_bytes(checkpoint, file, witness):
    torch.save(checkpoint | {"callbacks": EmptyBytes()}, file)


def with_empty_bytes_of_old(checkpoint, file, witness):
    data = checkpoint | {"callbacks": EmptyBytes()}
    torch.save(data, file, _use_new_zipfile_serialization=False)


def climbs_out(checkpoint, file, witness):
    packed_again(file, zipfile.ZIP_STORED, more=[(f"archive/../../{witness.name}", b"out")])


def declares_more_numbers_than_it_has(checkpoint, file, witness):
    torch.save(checkpoint | {"callbacks": torch.arange(1009.0)}, file)
    few, many = struct.pack("<H", 1009), struct.pack("<i", 2**30)  # pickled as M and J

    def change(name, data):
        return data.replace(b"M" + few, b"J" + many) if name.endswith("data.pkl") else data

    packed_again(file, zipfile.ZIP_STORED, change)


LONG_TEXT = b"X" + struct.pack("<I", 10_000) + bytes(10_000) + b"q\x01"
LONG_TUPLE = b"(" + b"K\x01" * 10_000 + b"tq\x01"
LONG_DICT = b"}q\x01(" + b"".join(b"M" + struct.pack("<H", n) + b"N" for n in range(10_000)) + b"u"
DICT = b"ccollections\nOrderedDict\n"


def tensor(key, sizes):
    """Return how a tensor is pickled whose numbers lie in the archive under a key."""
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\n" + key + b"X\3\0\0\0cpuK\x14tQ"
    end = b"\x89" + DICT + b")RtR"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + 2 * sizes + end


FIRST = tensor(b"X\1\0\0\0000", LONG_TUPLE) + b"q\x02"
AGAIN = {  # a long thing, and what is then made of it again and again
    "encode": (LONG_TEXT, b"c_codecs\nencode\nh\x01X\6\0\0\0latin1\x86R"),
    "set": (LONG_TUPLE, b"cbuiltins\nset\nh\x01\x85R"),
    "counter": (LONG_DICT, b"ccollections\nCounter\nh\x01\x85R"),
    "size": (LONG_TUPLE, b"ctorch\nSize\nh\x01\x85R"),
    "dict": (LONG_DICT, DICT + b"h\x01\x85R"),
    "attributes": (LONG_DICT, DICT + b")Rh\x01b"),
    "longer": (LONG_DICT, DICT + b")Rh\x01M\xff\xffNsb"),
    "tensor": (FIRST, tensor(b"X\1\0\0\0000", b"h\x01")),
    "parameter": (FIRST, b"ctorch._utils\n_rebuild_parameter\n(h\x02\x88" + DICT + b")RtR"),
}


def pickled_as(file, pickled, more=(), rename=lambda name: name):
    """Write an archive of torch.save whose pickle is a list of something else."""
    torch.save(torch.zeros(20), file)
    packed_again(
        file, zipfile.ZIP_STORED,
        lambda name, data: b"\x80\2](" + pickled + b"e." if name.endswith(".pkl") else data,
        more, rename,
    )  # fmt: skip


def copies(name):
    def spoil(checkpoint, file, witness):
        first, again = AGAIN[name]
        pickled_as(file, first + 300 * again)

    return spoil


def hides_its_pickle(checkpoint, file, witness):
    first, again = AGAIN["set"]
    pickled_as(file, first + 300 * again, rename=lambda name: name.replace("data.pkl", "Data.PKL"))


def calls_one_entry_by_many_names(checkpoint, file, witness):
    names = ["".join(letters) for letters in itertools.product("aA", repeat=8)]
    several = [tensor(b"X\x08\0\0\0" + name.encode(), b"K\1\x85") for name in names]
    pickled_as(file, b"".join(several), more=[(f"{file.stem}/data/{names[0]}", bytes(80))])


BOMBS = (
    unpacks_to_much, shares_its_bytes, with_empty_bytes, with_empty_bytes_of_old, climbs_out,
    hides_its_pickle, calls_one_entry_by_many_names,
)  # fmt: skip
HOSTILE = (
    with_code, in_bare_pickle, cut_short, a_web_page, empty, a_list,
    declares_more_numbers_than_it_has, *BOMBS[:5],
)  # fmt: skip


@pytest.mark.parametrize("spoil", [*BOMBS, *(pytest.param(copies(n), id=n) for n in AGAIN)])
def test_what_would_fill_the_memory_is_refused_before_it_is_opened(
    run, tmp_path, monkeypatch, spoil
):
    spoil(torch.load(run.best, weights_only=True), run.best, tmp_path / "witness")
    monkeypatch.setattr(torch, "load", lambda *given, **more: pytest.fail("was opened"))
    words = (
        r"would unpack to|holds \w+\.(bytearray|set|encode)|outside of itself|memory with copies|"
        "torch.save gives numbers"
    )
    with pytest.raises(FaceproofError, match=rf"best\.ckpt .*({words})"):
        load_plain(run.best)


LONG = "x" * 100_000


def many_rows():
    """Return a table of ten million rows that differ in nothing, some kilobytes as a file."""
    number = pa.array([0]).take(pa.nulls(10_000_000, pa.int64()).fill_null(0))
    return pa.table({"path": pa.DictionaryArray.from_arrays(number.cast(pa.int32()), ["a"])})


def long_words():
    """Return a table that says the same long word a hundred thousand times: ten gigabytes."""
    number = pa.array([0] * 100_000, pa.int32())
    return pa.table({"path": pa.DictionaryArray.from_arrays(number, [LONG])})


@pytest.mark.parametrize("make", [many_rows, long_words])
@pytest.mark.parametrize("name", ["samples", "seen", "validation"])
def test_tables_that_would_fill_the_memory_are_refused(run, make, name):
    file = getattr(run, name)
    pq.write_table(make(), file)
    assert file.stat().st_size < 100_000
    with pytest.raises(FaceproofError, match=rf"{name}\.parquet has .* would unpack to"):
        evaluate(run.path, "loader.num_workers=0", "threshold.criterion=f1")


def test_a_plain_column_of_long_words_is_refused_too(tmp_path):
    file = tmp_path / "words.parquet"
    pq.write_table(pa.table({"path": [LONG]}), file)
    assert read_parquet(file)["path"][0].as_py() == LONG  # once is no harm
    pq.write_table(pa.table({"path": [LONG] * 1000}), file)
    with pytest.raises(FaceproofError, match="would unpack to 100,"):
        read_parquet(file)


@pytest.mark.parametrize("spoil", HOSTILE)
def test_evaluation_refuses_a_hostile_checkpoint(run, tmp_path, spoil):
    spoil(torch.load(run.best, weights_only=True), run.best, tmp_path / "witness")
    with pytest.raises(FaceproofError, match=r"best\.ckpt"):
        evaluate(run.path, "loader.num_workers=0")
    assert not list(tmp_path.rglob("witness"))


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


@pytest.mark.parametrize("name", ["mean", "std"])
def test_weights_of_another_normalisation_are_refused(run, name):
    checkpoint = torch.load(run.best, weights_only=True)
    checkpoint["state_dict"][f"net.input_{name}"] += 0.01
    torch.save(checkpoint, run.best)
    words = rf"best\.ckpt was trained with input {name} \[.*config\.yaml says \["
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")


def test_weights_of_a_normalisation_that_is_rounded_are_refused(run):
    checkpoint = torch.load(run.best, weights_only=True)
    std = checkpoint["state_dict"]["net.input_std"]
    checkpoint["state_dict"]["net.input_std"] = (std + 1).to(torch.int64)
    torch.save(checkpoint, run.best)
    with pytest.raises(FaceproofError, match=r"best\.ckpt was trained with input std"):
        evaluate(run.path, "loader.num_workers=0")


def test_weights_without_names_are_refused(run):
    torch.save({"state_dict": {1: torch.zeros(1)}}, run.best)
    with pytest.raises(FaceproofError, match=r"best\.ckpt"):
        evaluate(run.path, "loader.num_workers=0")


@pytest.mark.parametrize("name", ["record", "operating_point"])
@pytest.mark.parametrize("text", [b'{"model": "face', b"[1, 2]", b"", b"\xff\xfe", b"[" * 100_000])
def test_notes_that_are_damaged_are_refused(run, name, text):
    getattr(run, name).write_bytes(text)
    words = rf"{name}\.json is damaged(?s:.*)copy the run again"
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")
    if name == "record":
        with pytest.raises(FaceproofError, match=words):
            train(run.path, f"resume={run.path}")


@pytest.mark.parametrize(
    "text",
    [
        b"epoch,val/loss\n0,half\n",
        b"epoch,val/loss\nfirst,0.5\n",
        b"epoch,val/loss\n0,0.5,0.6\n",
        b"val/loss\n0.5\n",
        b"epoch,val/loss\n\xff,0.5\n",
        b"epoch,val/loss\n,0.5\n",
    ],
)
def test_a_table_of_epochs_that_is_damaged_is_refused(run, text):
    run.metrics.write_bytes(text)
    words = r"metrics\.csv is damaged: (?s:.*)copy the run again"
    before = run.config.read_text()
    with pytest.raises(FaceproofError, match=words):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert run.config.read_text() == before
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")


def test_a_run_whose_configuration_names_a_command_is_refused(run, tmp_path):
    text = run.config.read_text()
    hostile = text.replace("faceproof.models.make_detector", "os.system", 1)
    assert hostile != text
    run.config.write_text(hostile)
    with pytest.raises(FaceproofError, match=r"names 'os\.system'"):
        evaluate(run.path, "loader.num_workers=0")


def test_a_scoring_is_noted_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    scored = RunFolder(tmp_path)
    scored.log_test_scoring(["lab"], "test", "lab-test", 3)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(FaceproofError, match="the disk is full"):
            scored.log_test_scoring(["lab"], "test", "lab-test", 3)
    assert scored.count_test_scorings(["lab"]) == 1
    scored.log_test_scoring(["lab", "other"], "test", "both-test", 3)
    assert scored.count_test_scorings(["lab"]) == 2
