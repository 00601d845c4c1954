"""The pages of the documentation, their fenced blocks, and the commands in these."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.jobs import REPOSITORY

DOCS = REPOSITORY / "docs"
FENCE = re.compile(r"^ *```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `title` is the file that it shows, or empty."""

    language: str
    title: str
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(language, title, body) for language, title, body in FENCE.findall(text)]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command in the bash blocks of a page."""
    for block in blocks(text):
        if block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from simple_commands(shlex.split(line, comments=True))


def simple_commands(words: list[str]) -> Iterator[list[str]]:
    """Yield the commands that stand in a line, those that Slurm is to run among them."""
    command: list[str] = []
    for word in [*words, "&&"]:
        if word in ("&&", "|", ";"):
            if command:
                yield command
            command = []
        else:
            command.append(word)
        if word.startswith("srun "):
            yield shlex.split(word)[1:]


def write_files(text: str, folder: Path) -> None:
    """Write the files that a page shows."""
    for block in blocks(text):
        if block.title:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
