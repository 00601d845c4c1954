"""The story of `faceproof init`: a folder to start a project of one's own in."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.io.atomic import write_text
from faceproof.words import for_shell

STARTER = files("faceproof.workflows") / "starter"
PLACES = {
    "README.md": "README.md",
    "my_images.yaml": "conf/data/my_images.yaml",
    "my_model.yaml": "conf/model/my_model.yaml",
    "first.yaml": "conf/experiments/first.yaml",
    "gitignore": ".gitignore",
}


@dataclass(frozen=True)
class InitConfig:
    """Write a starter project: a data set, a model and an experiment of your own, and a README.

    Attributes:
        folder: the folder to write; it may be there, but none of the files.
    """

    folder: Path


def init(config: InitConfig) -> None:
    """Write the files, all or none.

    Raises:
        FaceproofError: one of them is there already.
    """
    there = [place for place in PLACES.values() if (config.folder / place).exists()]
    if there:
        raise FaceproofError(
            f"{config.folder / there[0]} is there already, and would be lost; name another folder"
        )
    try:
        for place in PLACES.values():
            (config.folder / place).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceproofError(
            f"{error.filename} cannot be made a folder ({error.strerror}); name another one"
        ) from error
    for name, place in PLACES.items():
        write_text(config.folder / place, (STARTER / name).read_text(encoding="utf-8"))
    print(f"wrote {', '.join(PLACES.values())}")
    print(f"next:\n  cd {for_shell(str(config.folder))}\n  faceproof train experiments=first")
