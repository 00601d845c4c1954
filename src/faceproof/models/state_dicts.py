"""Read the state dicts of other people's weights files, and match them to a network's names."""

import contextlib
import logging
import os
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from faceproof.errors import FaceproofError
from faceproof.lookup import check_weights_file
from faceproof.models.inert import encodes_plainly, inert_values
from faceproof.models.weight_formats import format_of

log = logging.getLogger(__name__)

State = Mapping[str, Tensor]

# What frameworks put around a state dict, and before its keys.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "net_state_dict",
    "weights", "params", "module", "model_ema", "state_dict_ema", "ema_state_dict", "ema",
    "params_ema", "teacher", "student",
)  # fmt: skip
PREFIXES = (
    "module.", "net.", "network.", "model.", "model_state.", "state_dict.", "ema.", "ema_model.",
    "_forward_module.",
)  # fmt: skip
# What torch puts around a part of a network, wherever that stands.
INSIDE = re.compile(r"(^|\.)(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+")
OTHER_STATES = re.compile(r"optim|sched|scaler|loops|callbacks", re.IGNORECASE)
NEWER = {*b"BC", *range(0x8C, 0x99)}  # operations that pickles have from protocol 3 on
MAX_DEPTH = 3  # of mappings in one another that are searched
MAX_NAMED = 8
CLASSIFIERS = ("classifier", "fc", "head")
CONVERT = (
    "in the program that it is from, and only if you trust it, found = torch.load({str}, "
    "weights_only=False), then torch.save(found.state_dict(), 'weights.pth') where it is a whole "
    "model, or torch.save(found[NAME], 'weights.pth') of the entry with the weights"
).replace("{str}", "'{path}'")
KINDS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
MAX_PICKLE = 2**26  # bytes beside the tensors; 25,000 tensors with an optimizer's state take 2**23
# What torch lets a pickle make of a number or a short text, of any size.
GROWING = re.compile(rb"c\w+\n(bytearray|encode)\n")


def load_plain(path: Path, mapped: bool = False, beside_values: bool = False) -> Any:
    """Read a file of torch.save that holds tensors and plain data; nothing in it is executed.

    Tensors that are `mapped` stay on disk until they are used. With `beside_values`, what other
    people's scripts save beside tensors is passed over; see `inert`.

    Raises:
        FaceproofError: it is damaged, would execute code when unpickled, or declares more than it
            has bytes.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
            pickled = _pickle_in_archive(path, file) if zipped else path.read_bytes()
        growing = {found[1] for found in GROWING.finditer(pickled)}
        if growing == {b"encode"} and beside_values and encodes_plainly(pickled):
            growing = set()
        if growing:
            raise _other_content(path, min(growing).decode())
        passing = inert_values() if beside_values else contextlib.nullcontext()
        options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
        with passing, warnings.catch_warnings(action="ignore"):
            if mapped and os.name != "nt":  # Windows replaces no file that is mapped
                return torch.load(path, mmap=True, **options)
            with path.open("rb") as file:  # by its path, torch would go by the ending
                return torch.load(file, **options)
    except FaceproofError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise _unloadable(path, error) from error


def _unloadable(path: Path, error: Exception) -> FaceproofError:
    """Return the message for a file that torch does not load as tensors and plain data."""
    text = str(error)
    named = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module \S+ is blocked)", text)
    if isinstance(error, pickle.UnpicklingError) and named:
        return _other_content(path, named[1])
    operand = re.search(r"Unsupported operand (\d+)", text)
    if operand and int(operand[1]) in NEWER:
        return FaceproofError(
            f"{path} is pickled by a newer protocol, which is not read safely; "
            f"{CONVERT.format(path=path)}, without a pickle_protocol of your own"
        )
    if "Invalid magic number" in text or "was not an allowed" in text:
        return FaceproofError(
            f"{path} is no readable file of tensors: it is a pickle, but not of torch.save; "
            "save the model's state_dict() by torch.save in the program that it is from"
        )
    return FaceproofError(
        f"{path} is no readable file of tensors; it is damaged or of another type"
    )


def _other_content(path: Path, name: str) -> FaceproofError:
    return FaceproofError(
        f"{path} holds {name} beside tensors and is not loaded, because unpickling that could run "
        f"code or fill the memory; save the model's state_dict() alone: {CONVERT.format(path=path)}"
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
    """Return the state dict in a file of other people's; nothing in it is executed.

    Raises:
        FaceproofError: the file is missing, of a format that is not read, or holds no state dict;
            the message says how it can be converted.
    """
    if path.is_dir():
        held = ", ".join(sorted(one.name for one in path.iterdir())[:MAX_NAMED]) or "nothing"
        raise FaceproofError(f"{path} is a folder, which holds {held}; name the weights file in it")
    check_weights_file(path)
    if format_of(path) == "safetensors":
        try:
            return _in_order(safetensors.torch.load_file(path))
        except safetensors.SafetensorError as error:
            raise FaceproofError(f"{path} is no whole safetensors file: {error}") from error
    loaded = load_plain(path, beside_values=True)
    where, state = _find_state(path, loaded)
    if where and len(others := [name for name, _ in _states(loaded)]) > 1:
        log.info("%s holds %s; %s is used", path, ", ".join(others), where)
    return state


def _find_state(path: Path, loaded: Any) -> tuple[str, State]:
    """Return the state dict among what a file holds, and the name it stands under."""
    if _is_state(loaded):
        return "", _tensors(loaded)
    found = list(_states(loaded))
    for wrapper in WRAPPERS:
        for name, state in found:
            if name.split(".")[-1] == wrapper:
                return name, state
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(name for name, _ in found)
        raise FaceproofError(
            f"{path} holds several state dicts: {names}; save one alone by "
            f"torch.save(torch.load({str(path)!r})[NAME], 'weights.pth')"
        )
    what = type(loaded).__name__
    if isinstance(loaded, Mapping):
        what += f" of {', '.join(str(key) for key in list(loaded)[:MAX_NAMED]) or 'nothing'}"
    raise FaceproofError(
        f"{path} holds no state dict of tensors (a {what}); save the model's state_dict()"
    )


def _is_state(value: Any) -> bool:
    """Say whether a value is tensors by name, perhaps with plain numbers among them."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    tensors = [isinstance(one, Tensor) for one in value.values()]
    return any(tensors) and not any(isinstance(one, Mapping | list) for one in value.values())


def _tensors(state: Mapping[str, Any]) -> State:
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _states(loaded: Any, within: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Yield the state dicts inside a mapping with their names, but those of optimizers."""
    if not isinstance(loaded, Mapping) or depth > MAX_DEPTH:
        return
    for key, value in loaded.items():
        name = f"{within}.{key}" if within else str(key)
        if not isinstance(key, str) or OTHER_STATES.search(key):
            continue
        if _is_state(value):
            yield name, _tensors(value)
        else:
            yield from _states(value, name, depth + 1)


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
    """Remove what wrappers put before every key (`module.`, `net.`, `model.` and the like)."""
    state = {INSIDE.sub(r"\1", key): value for key, value in state.items()}
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if state and all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def other_readings(state: State) -> Iterator[tuple[State, str]]:
    """Yield what else a state dict may mean, and what is left out of it then.

    A name of one's own may stand before every key, `module.` within them, and another part of the
    same program, such as a loss, beside those of the network.
    """
    if any(".module." in key for key in state):
        inner = {key.replace(".module.", "."): value for key, value in state.items()}
        yield strip_prefixes(inner), ""
    heads = Counter(key.split(".")[0] for key in state if "." in key)
    for head, number in heads.most_common():
        start = f"{head}."
        if head != "backbone" and number > len(state) / 4:
            rest = [key for key in state if not key.startswith(start)]
            inner = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            yield strip_prefixes(inner), ", ".join(rest[:MAX_NAMED])
