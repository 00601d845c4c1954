"""State dicts of other people's files: read without executing anything, ordered, and matched."""

import mmap
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from faceproof.errors import FaceproofError

State = Mapping[str, Tensor]

# What frameworks put around a state dict, and before its keys.
WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.", "net.", "model.")
CLASSIFIERS = ("classifier", "fc", "head")
EMPTY_BYTES = re.compile(rb"(?:builtins|__builtin__)\nbytearray\n")
KINDS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def load_plain(path: Path, mapped: bool = False) -> Any:
    """Read a file of torch.save that holds tensors and plain data; nothing in it is executed.

    Args:
        path: the file.
        mapped: leave the tensors on disk until they are used.

    Raises:
        FaceproofError: it is damaged, would execute code when unpickled, or would take far more
            memory than it has bytes.
    """
    try:
        _refuse_bomb(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped or None)
    except FaceproofError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        if held := re.search(r"GLOBAL (\S+)", str(error)):
            raise FaceproofError(
                f"{path} holds {held[1]} beside tensors and is not loaded, because unpickling that "
                "could run code; save the model's state_dict() alone"
            ) from error
        raise FaceproofError(
            f"{path} is no readable file of tensors; it is damaged or of another type"
        ) from error


def _refuse_bomb(path: Path) -> None:
    """Refuse a file that would take far more memory than it has bytes, before it takes any.

    torch.save stores tensors in an archive as they are, under names within it.

    Raises:
        FaceproofError: an archive unpacks to more than itself, or a pickle asks for empty bytes.
    """
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:2] != b"PK":
            _refuse_empty_bytes(path, data)  # of an older torch: pickles one after the other
            return
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            declared = sum(entry.file_size for entry in entries)
            if declared > size:
                raise FaceproofError(
                    f"{path} has {size:,} bytes and would unpack to {declared:,}; torch.save "
                    "compresses nothing, so it is not loaded"
                )
            for entry in entries:
                if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
                    raise FaceproofError(f"{path} names {entry.filename!r}, outside of itself")
                if entry.filename.endswith("/data.pkl"):
                    _refuse_empty_bytes(path, archive.read(entry))


def _refuse_empty_bytes(path: Path, pickled: bytes | mmap.mmap) -> None:
    """Refuse a pickle that makes byte arrays, which may be of any size; checkpoints hold none."""
    if EMPTY_BYTES.search(pickled):
        raise FaceproofError(f"{path} holds bytearray beside tensors and is not loaded")


def read_state(path: Path) -> State:
    """Read the state dict in a file; nothing in it is executed.

    Raises:
        FaceproofError: the file is missing, of another type, or holds anything but tensors.
    """
    if not path.is_file():
        raise FaceproofError(
            f"there is no weights file {path}; set model.weights to auto, imagenet, none or a file"
        )
    if path.suffix == ".safetensors":
        try:
            return _in_order(safetensors.torch.load_file(path))
        except safetensors.SafetensorError as error:
            raise FaceproofError(f"{path} is no safetensors file: {error}") from error
    if path.suffix not in (".pth", ".pt", ".ckpt"):
        raise FaceproofError(f"{path} must be .safetensors, .pth, .pt or .ckpt")
    loaded = load_plain(path)
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise FaceproofError(f"{path} holds no state dict of tensors (a {type(loaded).__name__})")
    return loaded


def _in_order(state: State) -> State:
    """Order tensors by the numbers in their names, the classifier last.

    Safetensors files do not keep the order of the layers, and `by_position` goes by it.
    """

    def place(key: str) -> tuple[Any, ...]:
        module, _, kind = key.rpartition(".")
        words = re.findall(r"\d+|[^\d.]+", module)
        numbered = [(int(word), "") if word.isdigit() else (-1, word) for word in words]
        return (
            key.split(".")[0] in CLASSIFIERS,
            numbered,
            KINDS.index(kind) if kind in KINDS else len(KINDS),
        )

    return {key: state[key] for key in sorted(state, key=place)}


def by_position(state: State, own: State) -> dict[str, Tensor] | None:
    """Rename tensors by their order, or None unless number, shapes and kinds all agree.

    The kind is the last word of the key: weight, bias, running_mean and so on.
    """
    kinds_agree = len(state) == len(own) and all(
        theirs.rsplit(".", 1)[-1] == ours.rsplit(".", 1)[-1]
        and state[theirs].shape == own[ours].shape
        for theirs, ours in zip(state, own, strict=True)
    )
    return dict(zip(own, state.values(), strict=True)) if kinds_agree else None


def strip_prefixes(state: State) -> State:
    """Take off what wrappers put before every key (`module.`, `_orig_mod.`, `net.`, `model.`)."""
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if state and all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
