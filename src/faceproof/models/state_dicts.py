"""State dicts of other people's files: read without executing anything, ordered, and matched."""

import io
import pickletools
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
# What a pickle of tensors may name. torch allows more, which may make much of little.
NAMEABLE = re.compile(
    r"collections (OrderedDict|Counter)|(__builtin__|builtins) (set|complex)"
    r"|torch (Size|device|bool|\w*(float|int|complex)\w+|\w+Storage)"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter Parameter|torch\.serialization _get_layout"
)
OLD_PICKLES = 5  # of a torch before 1.6, one after the other: the fourth holds what was saved
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
        raise FaceproofError(
            f"{path} is no readable file of tensors; it is damaged or of another type"
        ) from error


def _refuse_bomb(path: Path) -> None:
    """Refuse a file that would run code or take far more memory than it has bytes, unopened.

    torch.save stores tensors in an archive as they are, under numbers within it.

    Raises:
        FaceproofError: an archive unpacks to more than itself or names something outside of
            itself or no tensor's number, or a pickle is none of tensors and plain data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            for _ in range(OLD_PICKLES):
                _check_pickle(path, file)
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
                name = entry.filename
                if name.startswith("/") or ".." in name.split("/"):
                    raise FaceproofError(f"{path} names {name!r}, outside of itself")
                # torch takes capitals for small letters: one entry would have many names.
                if re.search(r"/data/.*\D", name, re.IGNORECASE | re.DOTALL):
                    raise FaceproofError(f"{path} names {name!r}, and torch.save gives numbers")
                if name.lower().endswith("/data.pkl"):
                    _check_pickle(path, io.BytesIO(archive.read(entry)))


def _check_pickle(path: Path, pickled: IO[bytes]) -> None:
    """Read a pickle without making what it holds; refuse it unless that is tensors and plain data.

    Torch's rebuilding functions copy what they are given, such as sizes, and a pickle can give
    the same again and again. In one that was written from objects each is given about once, so
    all copies together hold no more items than the pickle has bytes.

    Raises:
        FaceproofError: it names something else, or has much copied.
    """
    stack: list[list[Any]] = []  # for each thing the things in it
    marks: list[int] = []
    memo: dict[Any, list[Any]] = {}
    copied, began = 0, pickled.tell()
    for code, given, _ in pickletools.genops(pickled):
        if code.name == "GLOBAL" and not NAMEABLE.fullmatch(str(given)):
            raise FaceproofError(
                f"{path} holds {str(given).replace(' ', '.')} beside tensors and is not loaded, "
                "because unpickling that could run code or fill the memory; save the model's "
                "state_dict() alone"
            )
        if code.name == "MARK":
            marks.append(len(stack))
        elif code.name.endswith("PUT"):
            memo[given] = stack[-1]
        elif code.name.endswith("GET"):
            stack.append(memo[given])
        else:
            marked = pickletools.markobject in code.stack_before
            start = marks.pop() if marked else len(stack) - len(code.stack_before)
            items = stack[start:]
            del stack[start:]
            if code.name in ("APPENDS", "SETITEMS"):
                stack[-1].extend(items)
            elif code.name in ("APPEND", "SETITEM"):
                items[0].extend(items[1:])
                stack.append(items[0])
            elif code.name in ("REDUCE", "NEWOBJ", "BUILD"):  # a function or object, and for it
                copied += len(items[1]) + sum(map(len, items[1]))
                if copied > pickled.tell() - began:
                    raise FaceproofError(f"{path} would fill the memory with copies; not loaded")
                made = items[0] if code.name == "BUILD" else []
                made.extend([item for one in items[1] for item in one])
                stack.append(made)
            elif code.stack_after:
                stack.append(items)


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
