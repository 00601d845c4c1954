"""The story of `faceproof completion`: what a shell is told, and what it may complete a word by."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

SCRIPTS = files("faceproof.workflows") / "completion_scripts"


@dataclass(frozen=True)
class CompletionConfig:
    """Print the script by which a shell completes the words of faceproof.

    Commands, options, groups, choices (those of a conf/ of your own too), settings and runs. For
    this session, source <(faceproof completion bash), the same with zsh, or faceproof completion
    fish | source; for all, put that line into ~/.bashrc, ~/.zshrc after compinit, or
    ~/.config/fish/config.fish.

    Attributes:
        shell: bash, zsh or fish.
    """

    shell: Literal["bash", "zsh", "fish"]


def script(config: CompletionConfig) -> str:
    """Return the script for a shell."""
    return (SCRIPTS / f"faceproof.{config.shell}").read_text(encoding="utf-8")
