"""`python -m tests.fsdp_on_cpu train ...`: FSDP on the CPU, which Lightning refuses.

torch can do it if it is told the device; Lightning asks for a GPU. What is tested so is our own
side: freezing, metrics, checkpoints and the threshold of weights that processes divide.
"""

from typing import Any

import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel

from faceproof.cli.main import main
from faceproof.training import trainer


class OnCpu(FSDPStrategy):
    """FSDP whose processes wait for each other without naming a GPU."""

    def barrier(self, name: str | None = None) -> None:
        """Wait for the other processes."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()


def allow_cpu(patch: Any) -> None:
    """Let `trainer.strategy={name: fsdp}` be FSDP on the CPU; `patch` is like `setattr`."""
    make = FullyShardedDataParallel.__init__

    def made(self: Any, *given: Any, device_id: Any = None, **options: Any) -> None:
        make(self, *given, device_id=torch.device("cpu"), **options)

    patch(FullyShardedDataParallel, "__init__", made)
    patch(trainer, "STRATEGIES", {**trainer.STRATEGIES, "fsdp": OnCpu})


if __name__ == "__main__":
    allow_cpu(setattr)
    main()
