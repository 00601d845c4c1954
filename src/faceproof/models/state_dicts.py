"""Read the state dicts of other people's weights files, and match them to a network's names."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

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
KINDS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
MAX_PICKLE = 2**26  # bytes beside the tensors; 25,000 tensors with an optimizer's state take 2**23
# What torch lets a pickle make of a number or a short text, of any size.
GROWING = re.compile(rb"c\w+\n(bytearray|encode)\n")


def load_plain(path: Path, mapped: bool = False) -> Any:
    """Read a file of torch.save that holds tensors and plain data; nothing in it is executed.

    Tensors that are `mapped` stay on disk until they are used.

    Raises:
        FaceproofError: it is damaged, would execute code when unpickled, or declares more than it
            has bytes.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
            pickled = _pickle_in_archive(path, file) if zipped else path.read_bytes()
        if found := GROWING.search(pickled):
            raise _other_content(path, found[1].decode())
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped or None)
    except FaceproofError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        named = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
        if isinstance(error, pickle.UnpicklingError) and named:
            raise _other_content(path, named[1]) from error
        raise FaceproofError(
            f"{path} is no readable file of tensors; it is damaged or of another type"
        ) from error


def _other_content(path: Path, name: str) -> FaceproofError:
    return FaceproofError(
        f"{path} holds {name} beside tensors and is not loaded, because unpickling that could run "
        "code or fill the memory; save the model's state_dict() alone"
    )


def _pickle_in_archive(path: Path, file: IO[bytes]) -> bytes:
    """Return the pickle in an archive of torch.save, whose tensors lie beside it as they are."""
    size = path.stat().st_size
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        declared = sum(entry.file_size for entry in entries)
        if declared > size:
            raise FaceproofError(
                f"{path} has {size:,} bytes and would unpack to {declared:,}; torch.save "
                "compresses nothing, so it is not loaded"
            )
        for entry in entries:
            name = entry.filename
            if name.startswith("/") or ".." in name.split("/"):
                raise FaceproofError(f"{path} names {name!r}, outside of itself")
            # torch takes capitals for small letters: one entry would have many names.
            if re.search(r"/data/.*\D", name, re.IGNORECASE | re.DOTALL):
                raise FaceproofError(f"{path} names {name!r}, and torch.save gives numbers")
        pickles = [entry for entry in entries if entry.filename.lower().endswith("/data.pkl")]
        if (pickled := sum(entry.file_size for entry in pickles)) > MAX_PICKLE:
            raise FaceproofError(
                f"{path} has a pickle of {pickled:,} bytes beside its tensors; at most "
                f"{MAX_PICKLE:,} are loaded"
            )
        return b"".join(archive.read(entry) for entry in pickles)


def read_state(path: Path) -> State:
    """Return the state dict in a file; nothing in it is executed.

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
        order = KINDS.index(kind) if kind in KINDS else len(KINDS)
        return key.split(".")[0] in CLASSIFIERS, numbered, order

    return {key: state[key] for key in sorted(state, key=place)}


def by_position(state: State, own: State) -> dict[str, Tensor] | None:
    """Rename tensors by their order, or None unless number, shapes and kinds all agree.

    The kind is the last word of the key: weight, bias, running_mean and so on.
    """
    theirs, ours = (
        [(key.rpartition(".")[2], value.shape) for key, value in of.items()] for of in (state, own)
    )
    return dict(zip(own, state.values(), strict=True)) if theirs == ours else None


def strip_prefixes(state: State) -> State:
    """Remove what wrappers put before every key (`module.`, `_orig_mod.`, `net.`, `model.`)."""
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if state and all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
