"""What to tell the user when a training ends before its last epoch."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytorch_lightning as pl

from faceproof.data.datasets import ImageGoneError
from faceproof.data.loaders import WorkerDiedError, explain_dead_workers
from faceproof.errors import FaceproofError
from faceproof.io.atomic import CannotWriteError, explain_disk_errors
from faceproof.io.run_folder import RunFolder
from faceproof.training.checkpoints import StopRequestedError
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.finite import NonFiniteError

MAX_NAMED = 3  # images, in a message
LOST = "gloo/transport"  # gloo has no exception for a lost connection; its message holds this

# Lightning's warnings that hold for every run of ours and ask nothing of the user.
LIGHTNING_ADVICE = (
    r"The dirpath has changed",  # trainer._restore_best sets the best epoch
    r"Checkpoint directory .* exists and is not empty",  # the run folder holds config.yaml
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    r"You're resuming from a checkpoint that ended before the epoch ended",  # LastCheckpoint does
    r"It is recommended to use .*sync_dist",  # training gathers; every process validates all
    r"The `srun` command is available",
    r"The number of training batches .* is smaller than the logging interval",  # small data sets
    r"The '\w+_dataloader' does not have many workers",  # loader.num_workers=auto has counted cores
)


@contextlib.contextmanager
def explain_failures(
    run: RunFolder, trainer: pl.Trainer, images: ImageDataModule
) -> Iterator[None]:
    """Turn what ends a training early into one message, and note it in the run's record."""
    try:
        with warnings.catch_warnings():
            for message in LIGHTNING_ADVICE:
                warnings.filterwarnings("ignore", message)
            with explain_dead_workers(), explain_disk_errors(run.path):
                yield
    except NonFiniteError as error:
        raise _not_finite(run, images, error) from error
    except (StopRequestedError, KeyboardInterrupt, SystemExit) as stop:
        # Lightning ends the process on a second Ctrl-C, after its own clean-up.
        if isinstance(stop, SystemExit) and not trainer.interrupted:
            raise
        if not trainer.is_global_zero:  # the first process prints the message
            sys.exit(1)
        run.update_record(status="interrupted")
        raise FaceproofError(f"interrupted; {run.how_to_resume()}") from None
    except (CannotWriteError, WorkerDiedError, ImageGoneError) as error:
        _note(run, f"stopped: {error}")
        raise FaceproofError(f"{error}; {run.how_to_resume()}") from error
    except RuntimeError as error:
        if type(error).__module__.startswith("torch._dynamo"):  # its errors are not public
            raise _not_compiled(run, error) from error
        if LOST not in str(error):
            raise
        if str(run.read_record().get("status")).startswith("stopped: "):
            sys.exit(1)  # the other process has given the reason
        _note(run, "stopped: another process of it has ended")
        raise FaceproofError(
            f"another process of this run has ended, as when memory runs out; {run.how_to_resume()}"
        ) from error


def _not_finite(run: RunFolder, images: ImageDataModule, error: NonFiniteError) -> FaceproofError:
    files = images.train_rows["path"].take(pa.array(error.rows, pa.int64())).to_pylist()
    _note(run, f"stopped: {error}", stopped_at={"why": str(error), "images": files})
    rest = len(files) - MAX_NAMED
    more = f" and {rest} more, which {run.record} names" if rest > 0 else ""
    batch = f"The batch holds {', '.join(files[:MAX_NAMED])}{more}. " if files else ""
    return FaceproofError(
        f"{error}. {batch}Try a lower optimizer.lr in a new run, or trainer.precision=32-true in "
        f"this one; {run.how_to_resume()}"
    )


def _not_compiled(run: RunFolder, error: RuntimeError) -> FaceproofError:
    """Return the message for a network that torch.compile refuses, in the compiler's own words."""
    _note(run, "stopped: compile")
    inner = getattr(error, "inner_exception", error)
    reason = next(iter(str(inner).strip().splitlines()), type(inner).__name__)
    return FaceproofError(
        f"torch.compile cannot compile this network here: {reason}; train with compile=false"
    )


def _note(run: RunFolder, status: str, **entries: Any) -> None:
    """Note how a run has ended, in any process that sees its folder: the first may be killed."""
    if run.record.is_file():
        with contextlib.suppress(CannotWriteError):  # a full disk may be the reason
            run.update_record(status=status, **entries)
