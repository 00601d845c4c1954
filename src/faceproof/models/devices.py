"""Choose the device that a network runs on."""

import torch

from faceproof.errors import FaceproofError


def pick_device(device: str) -> torch.device:
    """Return a device; `auto` is a GPU where there is one, else the CPU.

    Raises:
        FaceproofError: torch knows no such device, or this machine has none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise FaceproofError(f"device = {device!r} cannot be used: {first}") from error
