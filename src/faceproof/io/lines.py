"""Appends lines to a file that several processes write to."""

import errno
import os
from pathlib import Path

from faceproof.io.atomic import explain_disk_errors
from faceproof.io.plain_files import open_plain


def append_line(path: Path, text: str) -> None:
    """Append a line to a file by one write, so that two processes lose no line."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    with (
        explain_disk_errors(path),
        os.fdopen(open_plain(path, flags), "a+b", buffering=0) as lines,
    ):
        lines.seek(max(lines.seek(0, os.SEEK_END) - 1, 0))
        torn = lines.read(1) not in (b"", b"\n")  # the last line is half written
        line = (torn * "\n" + text + "\n").encode()
        written = 0
        try:
            written = lines.write(line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(lines.fileno())
        except OSError:
            end = lines.tell()
            if lines.seek(0, os.SEEK_END) == end:  # otherwise another process has appended its line
                lines.truncate(end - written)
            raise
