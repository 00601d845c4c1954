"""The reference of the command line, from what `faceproof COMMAND --help` prints."""

import io
import re
from typing import Any

from rich.console import Console

from faceproof.cli.help_page import parts_of
from faceproof.cli.main import COMMANDS, make_parser


class HelpTables:
    """Gathers what cyclopts would print as help, as Markdown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        """Gather a list of arguments or options."""
        if panel.entries:
            self.lines += [f"| {panel.title.lower()} | |", "|---|---|"]
            for entry in panel.entries:
                names, words = (text.replace("|", "\\|") for text in parts_of(entry))
                self.lines.append(f"| `{names}` | {_as_code(words)} |")
            self.lines.append("")

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        """Gather the line with the form of the command."""
        text = str(getattr(usage, "plain", usage)).strip().removeprefix("Usage: ")
        self.lines += ["```console", text, "```", ""]

    def render_description(self, console: Any, options: Any, text: Any) -> None:
        """Gather the paragraphs about the command."""
        words = getattr(text, "primary_renderable", text)
        plain = str(getattr(words, "plain", words) or "")
        paragraphs = (" ".join(one.split()) for one in plain.split("\n\n"))
        for one in filter(None, paragraphs):
            self.lines += [_as_code(one), ""]


def _as_code(text: str) -> str:
    """Mark options and commands that stand in a sentence, and escape what Markdown would take."""
    text = text.replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_")
    return re.sub(
        r"(?<![\w`-])(--[a-z][\w-]*|pip install '[^']*')",
        lambda found: f"`{found[0]}`", text.replace("\\_", "_"),
    )  # fmt: skip


COMMAND_LINE = """# Commands

`faceproof COMMAND --help` prints what stands here. A command ends with exit code 0 where it did
what was asked, with another one where it could not, and with 130 after Ctrl-C.

## train

```console
faceproof train [GROUP=CHOICE ...] [SETTING=VALUE ...]
```

Trains a detector and writes a run folder. Every word is [a setting](settings.md). From a checkout,
`python train.py` is the same.

```bash
faceproof train model=resnet18 data=real_fake_folders data.root=my/images freeze=gradual
```

## evaluate

```console
faceproof evaluate run=FOLDER|latest [data=NAME] [split=NAME] [SETTING=VALUE ...]
```

Scores images with a run and writes a report into the run's folder. From a checkout,
`python evaluate.py` is the same.

```bash
faceproof evaluate run=latest robustness=standard
```

## sweep

```console
faceproof sweep [GROUP=CHOICE,CHOICE ...] [SETTING=VALUE,VALUE ...]
```

Trains every combination of the values, each as a run of its own; see [sweeps](../sweeps.md). From
a checkout, `python train.py -m` is the same.

```bash
faceproof sweep model=resnet18,effnet_b0 seed=0,1,2 compare=true
```

## crossval

```console
faceproof crossval [--over source|generator] [GROUP=CHOICE ...] [SETTING=VALUE ...]
```

Trains without each source (or each generator of fakes) in turn, and judges each run on what was
left out; see [leave one out](../how_to/leave_one_out.md). It is `faceproof train
sweep=leave_one_out`.

```bash
faceproof crossval data=[deepfake_and_real,ciplab] model=resnet18
```
"""
BY_HAND = ("train", "evaluate", "sweep", "crossval")  # their words are settings, not options


def commands_page() -> str:
    """Return the reference of the command line."""
    names = [name for name in COMMANDS if name not in BY_HAND]
    return "\n".join([COMMAND_LINE, *map(command_part, names)])


def command_part(name: str) -> str:
    """Return the part of one command."""
    app = make_parser(name)
    command, gathered = app[name], HelpTables()
    usual = command.help_formatter
    command.help_formatter = gathered
    try:
        app.help_print([name], console=Console(file=io.StringIO()))
    finally:
        command.help_formatter = usual
    if example := str(command.help_epilogue or "").removeprefix("example: "):
        gathered.lines += ["```bash", example.partition(", then ")[0], "```"]
    return "\n".join([f"## {name}\n", *gathered.lines, ""])
