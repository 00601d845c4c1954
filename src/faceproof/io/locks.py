"""File locks: one process at a time works in a folder, and a process that dies locks nothing.

The lock belongs to the system, so that it ends with the process however that ends. Processes that
are forked, such as loading workers, do not hold it; a child process may be given it on purpose.
"""

import errno
import logging
import os
import socket
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from faceproof.errors import FaceproofError
from faceproof.io.atomic import explain_disk_errors
from faceproof.io.plain_files import printable, special_file

# What the system answers for a file system that has no locks, such as some network disks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

MAX_HOLDER = 200  # letters

log = logging.getLogger(__name__)


class Lock:
    """A lock on a file, which stays and names the last process that held it.

    Args:
        path: the file.
        refusal: the error message where another process holds the lock; `{holder}` stands for what
            that process wrote.
    """

    def __init__(self, path: Path, refusal: str) -> None:
        self.path, self.refusal = path, refusal
        self._descriptor: int | None = None
        self._lock = FileLock(
            path, thread_local=False, fallback_to_soft=False, on_acquired=self._acquired
        )

    def acquire(self, wait: bool = False) -> None:
        """Take the lock, or `wait` for it; on a file system without locks, warn and continue.

        Raises:
            FaceproofError: another process holds it, or the file is a link.
            CannotWriteError: the disk is full or cannot be written to.
        """
        try:
            self._take(-1 if wait else 0)
        except Timeout:
            holder = self.holder() or "which has just begun"
            raise FaceproofError(self.refusal.replace("{holder}", holder)) from None

    def acquire_within(self, seconds: float) -> bool:
        """Take the lock as `acquire`, and say whether it has come free within so many seconds."""
        try:
            self._take(seconds)
        except Timeout:
            return False
        return True

    def _take(self, seconds: float) -> None:
        # A stranger's folder may hold a link to a file of the user's, or a folder.
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise special_file(self.path)
        try:
            with explain_disk_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire(timeout=seconds)
        except OSError as error:
            # filelock's Timeout is an OSError too, without a number.
            if error.errno not in NO_LOCKS:
                raise
            log.warning(
                "%s cannot be locked (%s): make sure that no other process works there",
                self.path.parent, error.strerror,
            )  # fmt: skip

    def _acquired(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.write_holder(f"process {os.getpid()} on {socket.gethostname()}")

    def write_holder(self, holder: str) -> None:
        """Write who holds the lock, for the message that another process gets."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)  # Windows has no pwrite
            os.write(self._descriptor, f"{holder}\n".encode())

    def holder(self) -> str:
        """Return who holds the lock, or held it last."""
        if not self.path.is_file():
            return ""
        try:
            return printable(self.path.read_text("utf-8", "replace").strip())[:MAX_HOLDER]
        except (FileNotFoundError, PermissionError):  # Windows lets nobody read a locked file
            return ""

    def is_free(self) -> bool:
        """Say whether no process holds the lock, without taking it."""
        probe = FileLock(self.path, fallback_to_soft=False)
        try:
            with probe.acquire(blocking=False):
                return True
        except Timeout:
            return False
        except OSError as error:
            if error.errno in NO_LOCKS:
                return True
            raise

    def inherited(self) -> tuple[int, ...]:
        """Return the file descriptors by which a child process holds the lock too.

        Windows passes none on: a run outlives the lock of its sweep there if that is killed.
        """
        passed = self._descriptor is not None and os.name != "nt"
        return (self._descriptor,) if passed else ()  # type: ignore[return-value]

    def release(self) -> None:
        """Let the lock go, for the children that were given it too."""
        self._descriptor = None
        self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
