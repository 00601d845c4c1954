"""How a log is written: only characters that print, and only to a file of the run's own."""

import logging
from collections.abc import Collection
from io import TextIOWrapper
from pathlib import Path
from typing import cast

from faceproof.io.plain_files import open_plain, printable_lines


class PlainFormatter(logging.Formatter):
    """Writes what a terminal would obey, in the name of a file or a run, as its escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a text of lines that print."""
        return printable_lines(super().format(record))


class OwnFileHandler(logging.FileHandler):
    """Appends to a regular file; a link in a stranger's run may point to a file of the user's."""

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return open_plain(Path(path), flags)

        file = open(  # noqa: SIM115
            self.baseFilename, self.mode, encoding=self.encoding, errors="replace", opener=opener
        )
        return cast(TextIOWrapper, file)


def log_to_stderr(informing: Collection[str]) -> None:
    """Let the warnings of a command go to standard error, and what the `informing` modules say."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for name in informing:
        logging.getLogger(name).setLevel(logging.INFO)
