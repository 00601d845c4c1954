"""Folders that a command writes to."""

from pathlib import Path

from faceproof.errors import FaceproofError


def refuse_file(folder: Path) -> None:
    """Refuse a folder to write to that is a file, or would lie in one."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise FaceproofError(f"{there} is a file; give --out a folder")


def refuse_other_folder(folder: Path, mark: str) -> None:
    """Refuse to replace a folder that holds anything without the file that marks it as ours."""
    refuse_file(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise FaceproofError(
            f"{folder} holds something else and would be replaced whole; give --out a folder of "
            "its own"
        )
