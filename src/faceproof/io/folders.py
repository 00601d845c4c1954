"""Folders that a command writes to."""

from collections.abc import Sequence
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.io.atomic import refuse_foreign_files, refuse_unmovable, restore_folder

# What such a folder consists of; by the first it is known as ours.
EXPLANATION = ("explanation.json", "explanation.html", "figures/*.png", "events.out.tfevents.*")
FEATURES = (
    *("features.json", "features.png", "events.out.tfevents.*", "projector_config.pbtxt"),
    *("*/features/metadata.tsv", "*/features/tensors.tsv", "*/features/sprite.png"),
)


def refuse_file(folder: Path) -> None:
    """Refuse a folder to write to that is a file, or would lie in one."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise FaceproofError(f"{there} is a file; give --out a folder")


def refuse_other_folder(folder: Path, ours: Sequence[str]) -> None:
    """Refuse to replace a folder that holds anything but what we have written there.

    Args:
        folder: the folder.
        ours: glob patterns of what may be in it, first the file that marks it as ours.

    Raises:
        FaceproofError: it is a file, is not marked, or holds something else too.
    """
    refuse_file(folder)
    refuse_unmovable(folder)
    restore_folder(folder.resolve())
    if folder.exists() and any(folder.iterdir()) and not (folder / ours[0]).is_file():
        raise FaceproofError(
            f"{folder} holds something else and would be replaced whole; give --out a folder of "
            "its own"
        )
    refuse_foreign_files(folder, ours)
