"""Bounds on the networks that settings from elsewhere describe, kept before memory is taken.

A few bytes of settings can describe a network of a million layers. Whoever has its weights has a
file that is as large as they are, and a network that is larger than its file is no network of it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module

from faceproof.errors import FaceproofError
from faceproof.settings import is_count, is_number

# timm's largest networks have some 4,000 tensors and 8,000 modules.
MAX_TENSORS, MAX_MODULES = 20_000, 60_000
# Parameters that are registered twice, or before a layer is taken away again.
SPARE_GROWTH, SPARE_BYTES = 2, 2**26
MAX_NUMBER = 2**20
MAX_VALUES = 2_000  # in the settings of a backbone or a head
MAX_DEPTH = 6
MAX_TEXT = 1_000


@contextlib.contextmanager
def at_most(num_bytes: int) -> Iterator[None]:
    """Refuse a network, built meanwhile, that is far larger than `num_bytes` of weights.

    Raises:
        FaceproofError: it has more parameters, or more parts than any network of use.
    """
    count = _Count(SPARE_GROWTH * num_bytes + SPARE_BYTES)
    with contextlib.ExitStack() as stack:
        for register, hook in (
            (module.register_module_parameter_registration_hook, count.parameter),
            (module.register_module_buffer_registration_hook, count.buffer),
            (module.register_module_module_registration_hook, count.module),
        ):
            stack.callback(_registered(register, hook).remove)
        yield


def _registered(register: Callable[..., Any], hook: Callable[..., None]) -> Any:
    return register(hook)


class _Count:
    """Counts what modules register, in the form of torch's hooks."""

    def __init__(self, most: int) -> None:
        self.most, self.bytes, self.tensors, self.modules = most, 0, 0, 0

    def parameter(self, module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        self.bytes += 0 if value is None else value.numel() * value.element_size()
        if self.bytes > self.most:
            raise FaceproofError(
                f"the settings describe a network of more than {self.most:,} bytes, far more than "
                "its file of weights has; they are not of one network"
            )
        self.buffer(module, name, value)

    def buffer(self, module: nn.Module, name: str, value: Tensor | None) -> None:
        self.tensors += value is not None
        self._refuse(self.tensors, MAX_TENSORS, "tensors")

    def module(self, module: nn.Module, name: str, value: nn.Module | None) -> None:
        self.modules += 1
        self._refuse(self.modules, MAX_MODULES, "parts")

    def _refuse(self, number: int, most: int, what: str) -> None:
        if number > most:
            raise FaceproofError(
                f"the settings describe a network of more than {most:,} {what}, which no network "
                "of use has"
            )


def check_options(options: Mapping[str, Any], where: str) -> None:
    """Refuse options of a part of a network that no part of use has.

    Raises:
        FaceproofError: a number, list or text of them is absurd, or is nothing plain.
    """
    left = MAX_VALUES
    waiting: list[tuple[Any, str, int]] = [(options, where, 0)]
    while waiting:
        value, place, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise FaceproofError(
                f"{where} holds more than {MAX_VALUES:,} values, or lists more than {MAX_DEPTH} "
                "levels deep, which no network has"
            )
        if isinstance(value, Mapping):
            waiting += [(one, f"{place}.{key}", depth + 1) for key, one in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(one, place, depth + 1) for one in value[: MAX_VALUES + 1]]
        elif isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise FaceproofError(f"{place} is a text of {len(value):,} letters")
        elif value is not None and not isinstance(value, bool):
            fits = is_count(value, -MAX_NUMBER) or (isinstance(value, float) and is_number(value))
            if not fits or abs(value) > MAX_NUMBER:
                raise FaceproofError(
                    f"{place} = {str(value)[:100]} must be a number, at most {MAX_NUMBER:,}"
                )
