"""A check that every training loss is finite, without waiting for the GPU."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class NonFiniteError(ArithmeticError):
    """A loss or weight that is not finite; `rows` are those of the training batch, if known."""

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = rows


@dataclass(frozen=True)
class _Pending:
    """Whether a step's loss is finite, on its way from the device."""

    finite: Tensor
    arrived: torch.cuda.Event | None
    where: str
    rows: Tensor


class LossWatch:
    """Checks that each step's loss is finite: on a CUDA device one step later.

    Reading the loss of the current step would wait until the GPU has done all its work, and leave
    it idle afterwards. The loss of the step before is there already.
    """

    def __init__(self) -> None:
        self.last: _Pending | None = None

    def add(self, loss: Tensor, where: str, rows: Tensor) -> None:
        """Add a step's loss and its rows, (B,), of the training table; check the loss before it."""
        self.check()
        finite = loss.detach().isfinite()
        finite = finite.to("cpu", non_blocking=loss.device.type == "cuda")
        self.last = _Pending(finite, _record_event(loss.device), where, rows)
        if self.last.arrived is None:
            self.check()

    def check(self) -> None:
        """Check the last loss, waiting for it if it has not arrived; raise NonFiniteError."""
        last, self.last = self.last, None
        if last is None:
            return
        if last.arrived is not None:
            last.arrived.synchronize()
        if not last.finite:
            raise NonFiniteError(f"the loss is not finite in {last.where}", last.rows.tolist())


def _record_event(device: torch.device) -> torch.cuda.Event | None:
    """Return an event that follows what a CUDA device has been given so far; None on a CPU."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
