"""What other people save beside weights, as objects that do nothing.

`torch.load(weights_only=True)` makes objects of a fixed list of kinds only. The names below are
of plain values that training scripts save: a pickle that holds them gets an `Inert` in place of
each, so that nothing of theirs is imported, called or kept.
"""

import io
import pickletools
import re
from collections import OrderedDict
from contextlib import AbstractContextManager
from typing import Any

import torch

ENCODE = re.compile(rb"c_codecs\nencode\n")
SHORT = 64  # characters of a text that a pickle may use again and again
PUTS, GETS = ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")

Ops = list[tuple[str, Any]]


class Inert:
    """Stands for a value that is not needed."""

    def __new__(cls, *_: Any) -> "Inert":
        """Take any arguments, and forget them."""
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _dictionary(*_: Any) -> OrderedDict[Any, Any]:
    return OrderedDict()


_NUMPY = [
    f"numpy.{core}.{name}"
    for core in ("core", "_core")
    for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
]
_TYPES = ["float16", "float32", "float64", "int16", "int32", "int64", "uint8", "bool_", "str_"]
_DTYPES = ["Float16", "Float32", "Float64", "Int32", "Int64", "UInt8", "Bool", "Str", "Object"]
VALUES = (
    *_NUMPY, "numpy.dtype", "numpy.ndarray",
    *(f"numpy.{name}" for name in _TYPES), *(f"numpy.dtypes.{name}DType" for name in _DTYPES),
    "argparse.Namespace", "types.SimpleNamespace",
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(f"pathlib.{place}{name}" for place in ("", "_local.") for name in
      ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
    *("decimal.Decimal", "fractions.Fraction", "uuid.UUID", "typing.Any"),
    *(f"builtins.{name}" for name in
      ("int", "float", "str", "bool", "bytes", "list", "dict", "tuple", "frozenset", "slice",
       "range", "object")),
    *(f"omegaconf.{name}" for name in
      ("dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata", "base.Metadata",
       "nodes.AnyNode", "nodes.StringNode", "nodes.IntegerNode", "nodes.FloatNode",
       "nodes.BooleanNode")),
    *(f"{lightning}.callbacks.{name}" for lightning in ("pytorch_lightning", "lightning.pytorch")
      for name in ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping")),
)  # fmt: skip
DICTIONARIES = (
    "easydict.EasyDict", "yacs.config.CfgNode", "addict.addict.Dict", "munch.Munch",
    "ml_collections.config_dict.config_dict.ConfigDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
)  # fmt: skip


def inert_values() -> AbstractContextManager[None]:
    """Let `torch.load(weights_only=True)` pass over what `VALUES` and `DICTIONARIES` name."""
    named: list[Any] = [(Inert, name) for name in VALUES]
    named += [(OrderedDict, name) for name in DICTIONARIES]
    return torch.serialization.safe_globals([*named, (_dictionary, "collections.defaultdict")])


def encodes_plainly(pickled: bytes) -> bool:
    """Say whether pickles make bytes of texts only once each, as those of NumPy's numbers do.

    torch lets a pickle call `_codecs.encode`, by which a text that is used again and again could
    fill the memory. Only `encode(TEXT, "latin1")` with the text in place, or a short one, is plain.
    """
    stream, plain = io.BytesIO(pickled), 0
    try:
        while stream.tell() < len(pickled):  # in a file of old, several follow one another
            ops = [(op.name, argument) for op, argument, _ in pickletools.genops(stream)]
            if (number := _plain_encodes(ops)) is None:
                return False
            plain += number
    except (ValueError, IndexError, UnicodeDecodeError):
        pass  # the numbers of the tensors, or a damaged pickle
    return plain == len(ENCODE.findall(pickled))


def _plain_encodes(ops: Ops) -> int | None:
    """Return how often a pickle names `encode`; None if it uses it in any other way."""
    texts: dict[int, str] = {}
    encoders: set[int] = set()
    named = 0
    for place, (name, argument) in enumerate(ops):
        here = name == "GLOBAL" and argument == "_codecs encode"
        named += here
        if name in PUTS:
            before, value = ops[place - 1]
            texts.pop(argument, None)
            encoders.discard(argument)
            if before == "BINUNICODE":
                texts[argument] = value
            elif (before, value) == ("GLOBAL", "_codecs encode"):
                encoders.add(argument)
        used = here or (name in GETS and argument in encoders)
        if used and not _is_plain_call(ops[place + 1 : place + 10], texts):
            return None
    return named


def _is_plain_call(ops: Ops, texts: dict[int, str]) -> bool:
    """Say whether operations after `encode` are the call of it with a text and "latin1"."""
    rest = [op for op in ops if op[0] not in PUTS]
    if len(rest) < 4:
        return False
    (kind, text), (coded, coding), tuple_, reduce_, *_ = rest
    literal = kind == "BINUNICODE"
    again = kind in GETS and len(texts.get(text, SHORT * "  ")) <= SHORT
    latin = coding if coded == "BINUNICODE" else texts.get(coding) if coded in GETS else None
    names = (tuple_[0], reduce_[0])
    return (literal or again) and latin == "latin1" and names == ("TUPLE2", "REDUCE")
