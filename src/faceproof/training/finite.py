"""What must be finite, and is not."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class NonFiniteError(ArithmeticError):
    """What must be finite is not; `rows` are those of the training batch in which it was met."""

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = rows


@dataclass(frozen=True)
class _Seen:
    """Whether a step's loss is finite, as it comes from the device."""

    finite: Tensor
    there: torch.cuda.Event | None
    where: str
    rows: Tensor


class LossWatch:
    """Looks whether each step's loss is finite: on a CUDA device one step later.

    To ask a GPU for the loss of the step under way is to wait until it has done all that it was
    told, with nothing to do next. Of the step before it has the answer already.
    """

    def __init__(self) -> None:
        self.last: _Seen | None = None

    def add(self, loss: Tensor, where: str, rows: Tensor) -> None:
        """Note a step's loss, and look at what is there by now.

        Args:
            loss: of one step.
            where: which step that is, in words.
            rows: (B,), of its images.

        Raises:
            NonFiniteError: a loss is not finite; it names its step.
        """
        self.check()
        finite = loss.detach().isfinite()
        # Without a mark nobody would know when it has come.
        finite = finite.to("cpu", non_blocking=loss.device.type == "cuda")
        self.last = _Seen(finite, _mark(loss.device), where, rows)
        if self.last.there is None:
            self.check()

    def check(self) -> None:
        """Look at the last loss, waiting for it where it must be.

        Raises:
            NonFiniteError: it is not finite.
        """
        last, self.last = self.last, None
        if last is None:
            return
        if last.there is not None:
            last.there.synchronize()
        if not last.finite:
            raise NonFiniteError(f"the loss is not finite in {last.where}", last.rows.tolist())


def _mark(device: torch.device) -> torch.cuda.Event | None:
    """Return what is reached when a CUDA device has done what it was told so far, else None."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
