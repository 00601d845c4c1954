"""The look of `--help`: plain text in two columns, no wider than the terminal."""

import textwrap
from typing import Any

from cyclopts.help import HelpEntry, HelpPanel, InlineText
from rich.console import Console, ConsoleOptions

MAX_WIDTH = 100
NAMES = 24  # columns; a longer name stands in a line of its own


class HelpPage:
    """Prints help; cyclopts calls it with each part."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a list of commands or options."""
        if not panel.entries:
            return
        lines = [f"{panel.title}:".lower()]
        for entry in panel.entries:
            lines += _entry(entry, _width(console))
        _print(console, "\n".join(lines) + "\n")

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the line with the form of the command."""
        _print(console, f"usage: {_plain(usage).removeprefix('Usage: ')}")

    def render_description(self, console: Console, options: ConsoleOptions, text: Any) -> None:
        """Print the paragraphs about the command."""
        for paragraph in _plain(text).split("\n\n"):
            if paragraph.strip():
                _print(console, textwrap.fill(" ".join(paragraph.split()), _width(console)) + "\n")


def parts_of(entry: HelpEntry) -> tuple[str, str]:
    """Return the names of an argument, option or command, and what is said of it."""
    text = [_plain(entry.description)]
    if entry.default:
        text = [text[0].rstrip("."), f"(default: {entry.default})"]
    if entry.required:
        text = [text[0].rstrip("."), "(required)"]
    return _names(entry), " ".join(" ".join(text).split())


def _entry(entry: HelpEntry, width: int) -> list[str]:
    names, words = parts_of(entry)
    wrapped = textwrap.wrap(words, width - NAMES, break_on_hyphens=False) or [""]
    lines = [" " * NAMES + line for line in wrapped]
    if len(names) > NAMES - 4:
        return [f"  {names}", *lines]
    return [f"  {names}".ljust(NAMES) + wrapped[0], *lines[1:]]


def _names(entry: HelpEntry) -> str:
    """Return the names of an entry; an argument's value needs no option's name beside it."""
    if entry.positional_label:
        return entry.positional_label
    metavar = entry.metavar or ""
    if entry.choices:
        metavar = metavar.replace("CHOICE", "|".join(entry.choices))
    names = [*entry.positive_shorts, *entry.positive_names]
    if entry.default != "":  # the negation of a flag that is off by default says nothing
        names += entry.negative_names
    return f"{', '.join(names)} {metavar}".strip()


def _plain(text: Any) -> str:
    """Return the characters of cyclopts' and rich's texts."""
    if isinstance(text, InlineText):
        text = text.primary_renderable
    return str(getattr(text, "plain", text) or "")


def _width(console: Console) -> int:
    return min(console.width, MAX_WIDTH)


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
