"""Folders that a command replaces whole."""

from pathlib import Path

from faceproof.errors import FaceproofError


def refuse_other_folder(folder: Path, mark: str) -> None:
    """Refuse to replace a folder that holds anything without the file that marks it as ours."""
    if folder.exists() and not (
        folder.is_dir() and (not any(folder.iterdir()) or (folder / mark).is_file())
    ):
        raise FaceproofError(
            f"{folder} holds something else and would be replaced whole; give --out a folder of "
            "its own"
        )
