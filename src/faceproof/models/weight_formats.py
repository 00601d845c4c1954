"""What a weights file is, by its content, and how one of a format that is not read is converted."""

import zipfile
from pathlib import Path
from typing import Literal

from faceproof.errors import FaceproofError

Format = Literal["torch", "safetensors"]

AGAIN = "fetch it again"
FROM_KERAS = (
    "copy each layer's get_weights() into a PyTorch network of the same layers (kernels of "
    "convolutions by .transpose(3, 2, 0, 1), of dense layers by .T), and save its state_dict()"
)
FROM_NUMPY = (
    "convert it by torch.save({key: torch.from_numpy(value) for key, value in "
    "numpy.load(FILE).items()}, 'weights.pth')"
)
FROM_ONNX = (
    "save the state_dict() of the network that it was exported from; or, where the graph has kept "
    "the names, torch.save({one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) "
    "for one in onnx.load(FILE).graph.initializer}, 'weights.pth')"
)
FROM_SCRIPT = "convert it by torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
# What a file begins with: what it is, and what to do.
BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file",
     "run git lfs pull where it is from, or fetch the file itself"),
    (b"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes it", FROM_KERAS),
    (b"\x93NUMPY", "an array of NumPy's, without names",
     "save the network's state_dict() by torch.save"),
    *((magic, "compressed", "unpack it, and name the file in it") for magic in
      (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!")),
)  # fmt: skip
PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script", b"<!--")
ONNX_SIGNS = (b"onnx", b"pytorch", b"tf2onnx", b"keras2onnx", b"ai.onnx")
HEAD = 4096  # bytes that are looked at


def format_of(path: Path) -> Format:
    """Return the format of a weights file; its ending says nothing.

    Raises:
        FaceproofError: it is of none that is read; the message says of which, and what to do.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    size = path.stat().st_size
    if not head:
        raise _other(path, "empty", AGAIN)
    for magic, what, advice in BEGINNINGS:
        if head.startswith(magic):
            raise _other(path, what, advice)
    if head.startswith(b"PK"):
        _check_archive(path)
        return "torch"
    if head[257:262] == b"ustar":
        advice = "unpack it, and name the file in it (a .pth.tar of torch.save is no archive)"
        raise _other(path, "a tar archive", advice)
    if head[4:8] == b"TFL3":
        raise _other(path, "TensorFlow Lite's", FROM_KERAS)
    if int.from_bytes(head[:8], "little") <= size - 8 and head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"\x80"):
        return "torch"
    _refuse_by_text(path, head)
    _refuse_by_name(path, head)
    return "safetensors" if path.suffix.lower() == ".safetensors" else "torch"


def _other(path: Path, what: str, advice: str) -> FaceproofError:
    advice = advice.replace("FILE", repr(str(path)))
    return FaceproofError(f"{path} is no weights file that is read: it is {what}; {advice}")


def _check_archive(path: Path) -> None:
    """Refuse a zip archive that is none of torch.save's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return  # damaged, which its reader says
    if any(name.endswith("/constants.pkl") or "/code/" in f"/{name}" for name in names):
        raise _other(path, "TorchScript, which is a program", FROM_SCRIPT)
    if any(name.endswith(".h5") for name in names):
        raise _other(path, "an archive of Keras", FROM_KERAS)
    if names and all(name.endswith(".npy") for name in names):
        raise _other(path, "an archive of NumPy's", FROM_NUMPY)
    if not any(name.lower().endswith("data.pkl") for name in names):
        raise _other(path, "a zip archive", "unpack it, and name the file in it")


def _refuse_by_text(path: Path, head: bytes) -> None:
    """Refuse text: a web page, an index, an answer of a server."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(PAGE):
        raise _other(path, "a web page, as servers send for an error or to be confirmed", AGAIN)
    if text.startswith(b"{") and b"weight_map" in head:
        raise _other(
            path, "the index of weights in several files",
            "join them: merge the mappings that safetensors.torch.load_file or torch.load gives "
            "of each, and save the whole by torch.save",
        )  # fmt: skip
    try:
        words = text.decode()
    except UnicodeDecodeError as error:
        if error.start < len(text) - 4:  # else the last character is cut
            return
        words = text[: error.start].decode()
    if words and all(one.isprintable() or one.isspace() for one in words):
        first = words.splitlines()[0][:60]
        raise _other(path, f"text that begins {first!r}", AGAIN)


def _refuse_by_name(path: Path, head: bytes) -> None:
    """Refuse what has no beginning of its own, by its name and its first bytes."""
    name = path.name.lower()
    if name.endswith(".onnx") or (head[0] == 8 and any(sign in head for sign in ONNX_SIGNS)):
        raise _other(path, "a graph of ONNX", FROM_ONNX)
    parts = name.endswith((".index", ".pb")) or ".data-0" in name
    if parts or path.with_name(f"{path.name}.index").is_file():
        raise _other(path, "of TensorFlow", FROM_KERAS)
    if name.endswith((".msgpack", ".pdparams", ".params", ".caffemodel", ".mlmodel")):
        raise _other(
            path, f"of another library ({path.suffix})",
            "save its arrays with PyTorch's names as tensors by torch.save",
        )  # fmt: skip
