"""The detector artifact: one folder that holds a detector and what is known of it, and no code.

    card.json           everything but the weights, see `faceproof.artifact.card`
    model.safetensors   the weights; of several networks each has its own file
    model.onnx          the same network for ONNX Runtime, where that was asked for
    README.md           the card for people

Three kinds: a `detector` is one network with an operating point; an `ensemble` several networks,
whose combined score has one; a `cascade` two of these, a gate that finds faces and a detector that
judges them.

An artifact may come from a stranger: nothing in it is executed, nothing is read outside of its
folder, and everything is checked before it is used.
"""

import glob
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from faceproof.artifact.card import FORMAT, Card, check_card, networks_of
from faceproof.artifact.card import card_task as card_task  # for those who read a card here
from faceproof.artifact.model_card import model_card
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_folder, restore_folder
from faceproof.io.folders import refuse_foreign_files
from faceproof.models.build import build_network, described_shapes
from faceproof.models.detector import Detector

CARD = "card.json"
README = "README.md"
MAX_CARD = 10_000_000  # bytes
MAX_HEADER = 10_000_000  # bytes of a safetensors file beside its tensors


@dataclass(frozen=True)
class Package:
    """What goes into an artifact.

    Attributes:
        card: the card without format, date and versions of this export.
        files: the weights and ONNX files that the card names.
    """

    card: Card
    files: Mapping[str, bytes]


def write_artifact(
    folder: Path,
    package: Package,
    facts: Card,
    check: Callable[[Path], None],
    overwrite: bool = False,
) -> None:
    """Write an artifact beside `folder` and rename it, so that it is never half there.

    Args:
        folder: where it goes.
        package: what it holds.
        facts: `made` and `versions`.
        check: called with the folder before it gets its name; nothing is left if it raises.
        overwrite: replace an artifact that is there.

    Raises:
        FaceproofError: the folder is there and is not an artifact that may be replaced, or the disk
            is full or cannot be written to.
    """
    refuse_occupied(folder, overwrite)
    card = check_card({"format": FORMAT, **facts, **package.card})
    with atomic_folder(folder) as partial:
        for name, data in package.files.items():
            (partial / name).write_bytes(data)
        text = json.dumps(card, indent=2, allow_nan=False) + "\n"
        (partial / CARD).write_text(text, "utf-8")
        (partial / README).write_text(model_card(card, folder.name), "utf-8")
        check(partial)


def refuse_occupied(folder: Path, overwrite: bool) -> None:
    """Refuse to write where something else lies, or where an artifact holds files of someone else.

    Raises:
        FaceproofError: the folder is there and is not an artifact that may be replaced.
    """
    restore_folder(folder)
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not is_artifact(folder):
        raise FaceproofError(f"{folder} is there and is no detector artifact; name another folder")
    try:
        card = read_card(folder)
    except FaceproofError as error:
        raise FaceproofError(f"{folder} is there; name another folder: {error}") from error
    refuse_foreign_files(folder, [CARD, README, *_named_files(card)])
    if not overwrite:
        raise FaceproofError(
            f"{folder} holds a detector artifact; name another folder, or replace it by --overwrite"
        )


def _named_files(card: Card) -> list[str]:
    """Return the names of the files that a card names."""
    entries = [part[key] for part in networks_of(card) for key in ("weights", "onnx")]
    return [glob.escape(str(entry["file"])) for entry in entries if entry is not None]


def is_artifact(folder: Path) -> bool:
    """Say whether a folder claims to be an artifact."""
    return (folder / CARD).is_file()


def read_card(folder: Path) -> Card:
    """Read and check an artifact's card; its weights are checked by `read_network`.

    Raises:
        FaceproofError: the folder is no artifact, or its card is not whole.
    """
    if folder.is_file():
        raise FaceproofError(
            f"{folder} is a file, and a detector is a folder with card.json and safetensors; "
            "checkpoints and pickles, which can run code, are not loaded: make an artifact of a "
            "run by faceproof export RUN --to FOLDER"
        )
    if not is_artifact(folder):
        is_run = (folder / "best.ckpt").is_file()
        raise FaceproofError(
            f"{folder} is {'a run and no' if is_run else 'no'} detector artifact: there is no "
            f"{CARD} in it; make one by faceproof export RUN --to FOLDER"
        )
    try:
        text = _read(folder, CARD, MAX_CARD)
        card = json.loads(text, parse_constant=_refuse_constant)
        # Half a character or a number beyond all would only fail when the card is shown.
        json.dumps(card, ensure_ascii=False, allow_nan=False).encode()
    except FaceproofError:
        raise
    except (ValueError, RecursionError) as error:
        raise FaceproofError(f"{folder / CARD} is no JSON: {error}") from error
    try:
        return check_card(card)
    except FaceproofError as error:
        raise FaceproofError(f"{folder / CARD} cannot be used: {error}") from error
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise FaceproofError(f"{folder / CARD} holds a value of a wrong kind: {error}") from error


def _refuse_constant(word: str) -> None:
    raise FaceproofError(f"a card holds {word}, which is no number")


def _read(folder: Path, name: str, limit: int | None = None) -> bytes:
    """Read a plain file of an artifact's own folder."""
    path = folder / name
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise FaceproofError(f"{folder} names the file {name!r}, which is not one of its own")
    if not os.path.lexists(path):
        raise FaceproofError(f"{folder} is not whole: {name} is not there")
    status = path.lstat()
    if not S_ISREG(status.st_mode):
        raise FaceproofError(f"{path} is a link or no plain file; an artifact holds its own files")
    if limit is not None and status.st_size > limit:
        raise FaceproofError(f"{path} has {status.st_size:,} bytes; at most {limit:,} are sensible")
    return path.read_bytes()


def read_entry(folder: Path, entry: Mapping[str, str], limit: int | None = None) -> bytes:
    """Read a file that a card names, and compare its checksum before anything looks at it.

    Args:
        folder: the artifact.
        entry: its name and checksum.
        limit: how many bytes it may have at most; None for any number.

    Raises:
        FaceproofError: it is missing, no plain file, too large, or not the one that the card was
            written for.
    """
    data = _read(folder, str(entry["file"]), limit)
    found = hashlib.sha256(data).hexdigest()
    if found != entry["sha256"]:
        raise FaceproofError(
            f"{folder / entry['file']} is not the file that the card was written for: its SHA-256 "
            f"is {found[:12]}... and not {str(entry['sha256'])[:12]}...; copy or export it again"
        )
    return data


def read_network(folder: Path, entry: Card, allow: Sequence[str] = ()) -> Detector:
    """Load one network of an artifact, strictly.

    Args:
        folder: the artifact.
        entry: what `card.networks_of` yields.
        allow: backbones and heads of one's own, see `build_network`.

    Raises:
        FaceproofError: the file is not that of the card, or does not fit.
    """
    path = folder / entry["weights"]["file"]
    # Before a stranger's file or description takes any memory.
    wanted = None if allow else described_shapes(entry["architecture"])
    sizes = [math.prod(shape) * kind.itemsize for shape, kind in (wanted or {}).values()]
    data = read_entry(folder, entry["weights"], None if allow else sum(sizes) + MAX_HEADER)
    try:
        state = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise FaceproofError(f"{path} is no whole safetensors file: {error}") from error
    if wanted is not None:
        _check_shapes(path, state, wanted)
    net = build_network(entry["architecture"], allow)
    _check_shapes(
        path, state, {key: (tuple(v.shape), v.dtype) for key, v in net.state_dict().items()}
    )
    _check_values(path, state, entry["input"])
    spelt = json.loads(json.dumps(asdict(net.input)))
    if spelt != entry["input"]:
        raise FaceproofError(f"{folder / CARD}: the network's input is {spelt}, not the card's")
    net.load_state_dict(state)
    return net.eval()


def _check_shapes(
    path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, tuple[tuple[int, ...], Any]]
) -> None:
    """Refuse missing and surplus tensors, and those of another shape or type."""
    if odd := sorted(set(state) ^ set(wanted)):
        raise FaceproofError(f"{path} lacks or should not have {len(odd)} tensors: {odd[0]}, ...")
    for key, value in state.items():
        if (tuple(value.shape), value.dtype) != wanted[key]:
            raise FaceproofError(
                f"{path}: {key} is {tuple(value.shape)} {value.dtype}, and the card's architecture "
                f"has {wanted[key][0]} {wanted[key][1]}"
            )


def _check_values(path: Path, state: Mapping[str, Tensor], input: Card) -> None:
    """Refuse weights that are not finite, and a normalisation that is not the card's."""
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise FaceproofError(f"{path}: {key} holds numbers that are not finite")
    for name in ("mean", "std"):
        stored = state[f"input_{name}"].flatten()
        if not torch.equal(stored, torch.tensor(input[name]).float()):
            raise FaceproofError(
                f"{path} was trained with input {name} {stored.tolist()}, and the card says "
                f"{input[name]}"
            )
