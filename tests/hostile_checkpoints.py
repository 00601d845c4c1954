"""Checkpoint files as a stranger may hand them on: each function spoils a file of torch.save."""

import copy
import itertools
import pickle
import struct
import zipfile

import torch


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


DICT = b"ccollections\nOrderedDict\n"


def tensor(key, sizes):
    """Return how a tensor is pickled whose numbers lie in the archive under a key."""
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\n" + key + b"X\3\0\0\0cpuK\x14tQ"
    end = b"\x89" + DICT + b")RtR"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + 2 * sizes + end


def pickled_as(file, pickled, more=()):
    """Write an archive of torch.save whose pickle is a list of something else."""
    torch.save(torch.zeros(20), file)
    packed_again(
        file, zipfile.ZIP_STORED,
        lambda name, data: b"\x80\2](" + pickled + b"e." if name.endswith(".pkl") else data,
        more,
    )  # fmt: skip


def hides_its_pickle(checkpoint, file, witness):
    with_empty_bytes(checkpoint, file, witness)
    packed_again(file, zipfile.ZIP_STORED, rename=lambda name: name.replace(".pkl", ".PKL"))


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
