"""Output to a pipe whose reader has gone, as in `faceproof compare runs/* | head`.

A command does its work to the end all the same: what nobody reads any more is dropped. A training
that printed to a pipe is not lost with it.
"""

import errno
import io
import os
import stat
import sys
from typing import Any, TextIO

# What the system answers where nobody reads; EINVAL is Windows' word for it.
GONE = (errno.EPIPE, errno.ESHUTDOWN, *((errno.EINVAL,) if os.name == "nt" else ()))


class OutlivingPipe(io.FileIO):
    """A pipe into which one may go on writing when its reader has gone."""

    def write(self, data: Any) -> int:
        """Write, or drop what nobody will read; return the number of bytes."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return memoryview(data).nbytes


def outlive_closed_pipes() -> None:
    """Let this process's output go on after the reader of a pipe has gone."""
    sys.stdout = _outliving(sys.stdout)
    sys.stderr = _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    """Return a stream that outlives its pipe; as it is where it is no pipe."""
    try:
        descriptor = stream.fileno()
        kind = os.fstat(descriptor).st_mode
    except (OSError, ValueError, AttributeError):  # none, closed, or another program's
        return stream
    if not isinstance(stream, io.TextIOWrapper) or not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return stream
    stream.flush()
    pipe = io.BufferedWriter(OutlivingPipe(descriptor, "w", closefd=False))
    return io.TextIOWrapper(
        pipe, stream.encoding, stream.errors, line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )  # fmt: skip
