"""The detector artifact: one folder that holds a detector and what is known of it, and no code.

    card.json           everything but the weights, see `faceproof.artifact.card`
    model.safetensors   the weights; of several networks each has its own file
    model.onnx          the same network for ONNX Runtime, if it was exported
    README.md           the card for people

An artifact may come from a stranger: nothing in it is executed, nothing outside of its folder is
read, and everything is checked before it is used.
"""

import glob
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from faceproof.artifact.card import Card, NetworkEntry, StoredFile
from faceproof.artifact.model_card import model_card
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_folder, restore_folder, write_json
from faceproof.io.folders import refuse_foreign_files
from faceproof.io.plain_files import read_bytes, read_json
from faceproof.models.build import Shapes, build_network, network_shapes, read_model, shapes_of
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.limits import at_most
from faceproof.models.novelty import Novelty, max_bytes, read_novelty

CARD = "card.json"
README = "README.md"
MAX_CARD = 10_000_000  # bytes
MAX_HEADER = 10_000_000  # bytes of a safetensors file beside its tensors


def write_artifact(
    folder: Path,
    card: Card,
    files: Mapping[str, bytes],
    check: Callable[[Path], None],
    overwrite: bool = False,
) -> None:
    """Write an artifact, with the weights and ONNX files that its card names, atomically.

    `check` is called with the folder before that gets its name; nothing is left if it raises.

    Raises:
        FaceproofError: the folder is there and is not an artifact that may be replaced, or the disk
            is full or cannot be written to.
    """
    refuse_occupied(folder, overwrite)
    with atomic_folder(folder) as partial:
        for name, data in files.items():
            (partial / name).write_bytes(data)
        write_json(partial / CARD, card.to_json())
        (partial / README).write_text(model_card(card, folder.name), "utf-8")
        check(partial)


def refuse_occupied(folder: Path, overwrite: bool) -> None:
    """Refuse to write where something else lies, or over files of others in an artifact."""
    restore_folder(folder)
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not is_artifact(folder):
        raise FaceproofError(f"{folder} is there and is no detector artifact; name another folder")
    try:
        card = read_card(folder)
    except FaceproofError as error:
        raise FaceproofError(f"{folder} is there; name another folder: {error}") from error
    named = [glob.escape(one.file) for part in card.parts.values() for one in part.files]
    refuse_foreign_files(folder, [CARD, README, *named])
    if not overwrite:
        raise FaceproofError(
            f"{folder} holds a detector artifact; name another folder, or replace it by --overwrite"
        )


def is_artifact(folder: Path) -> bool:
    """Say whether a folder claims to be an artifact."""
    return (folder / CARD).is_file()


def read_card(folder: Path) -> Card:
    """Read and check an artifact's card; `read_network` checks its weights.

    Raises:
        FaceproofError: the folder is no artifact, or its card is incomplete or contradicts itself.
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
    values = read_json(folder / CARD, "copy or export it again", MAX_CARD)
    try:
        return Card.read_json(values)
    except FaceproofError as error:
        raise FaceproofError(f"{folder / CARD} cannot be used: {error}") from error


def read_file(folder: Path, stored: StoredFile, limit: int | None = None) -> bytes:
    """Read a file that a card names, and compare its checksum before anything parses it.

    It may have `limit` bytes at most; None is any number.

    Raises:
        FaceproofError: it is missing, no plain file, too large, or not the one that the card was
            written for.
    """
    if not os.path.lexists(folder / stored.file):
        raise FaceproofError(f"{folder} is not whole: {stored.file} is not there")
    data = read_bytes(folder / stored.file, limit)
    found = hashlib.sha256(data).hexdigest()
    if found != stored.sha256:
        raise FaceproofError(
            f"{folder / stored.file} is not the file that the card was written for: its SHA-256 "
            f"is {found[:12]}... and not {stored.sha256[:12]}...; copy or export it again"
        )
    return data


def read_network(folder: Path, entry: NetworkEntry) -> Detector:
    """Load one network of an artifact's card, strictly.

    Raises:
        FaceproofError: the file is not that of the card, or does not fit.
    """
    path = folder / entry.weights.file
    model = read_model(entry.model)
    shapes, limit = None, None
    if not model.is_own_code:
        # Before a stranger's file or settings take any memory. The user's own code need not work
        # without memory, and the user has said that they trust it.
        size = path.lstat().st_size if os.path.lexists(path) else 0
        with at_most(size):
            shapes = network_shapes(model)
        limit = sum(math.prod(shape) * kind.itemsize for shape, kind in shapes.values())
    data = read_file(folder, entry.weights, None if limit is None else limit + MAX_HEADER)
    try:
        state = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise FaceproofError(f"{path} is no whole safetensors file: {error}") from error
    if shapes is not None:
        _check_shapes(path, state, shapes)
    net = build_network(model)
    _check_shapes(path, state, shapes_of(net))
    _check_values(path, state, entry.input)
    net.load_state_dict(state)
    return net.eval()


def read_network_novelty(folder: Path, entry: NetworkEntry, net: Detector) -> Novelty | None:
    """Load what measures novelty by the features of an artifact's network; None without it.

    Raises:
        FaceproofError: the file is not that of the card, or does not fit.
    """
    if entry.novelty is None:
        return None
    data = read_file(folder, entry.novelty, max_bytes(net))
    return read_novelty(folder / entry.novelty.file, data, net)


def _check_shapes(path: Path, state: Mapping[str, Tensor], wanted: Shapes) -> None:
    """Refuse missing and surplus tensors, and those of another shape or type."""
    if odd := sorted(set(state) ^ set(wanted)):
        raise FaceproofError(f"{path} lacks or should not have {len(odd)} tensors: {odd[0]}, ...")
    for key, value in state.items():
        if (tuple(value.shape), value.dtype) != wanted[key]:
            raise FaceproofError(
                f"{path}: {key} is {tuple(value.shape)} {value.dtype}, and the card's network has "
                f"{wanted[key][0]} {wanted[key][1]}"
            )


def _check_values(path: Path, state: Mapping[str, Tensor], input: ImageInput) -> None:
    """Refuse weights that are not finite, and a normalisation that is not the card's."""
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise FaceproofError(f"{path}: {key} holds numbers that are not finite")
    for name, values in (("mean", input.mean), ("std", input.std)):
        stored = state[f"input_{name}"].flatten()
        if not torch.equal(stored, torch.tensor(values).float()):
            raise FaceproofError(
                f"{path} was trained with input {name} {stored.tolist()}, and the card says "
                f"{list(values)}"
            )
