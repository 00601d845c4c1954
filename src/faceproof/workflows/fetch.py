"""`faceproof fetch`: get the original of a ready data set."""

import os
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class FetchConfig:
    """Get the original of a ready data set into the folder where data=NAME looks for it.

    Kaggle's sets need pip install 'faceproof[fetch]' and the network.

    Attributes:
        name: the data set: deepfake_and_real, real_vs_fake_140k, ciplab, or one whose authors give
            it out on request, celebdf, faceforensics, deeperforensics, wilddeepfake, forgerynet,
            deepfakebench or df40: then the message says where to ask.
        root: the folder above all data sets: FACEPROOF_DATA, or data.
    """

    name: str
    _: KW_ONLY
    root: Path = field(default_factory=lambda: Path(os.environ.get("FACEPROOF_DATA", "data")))


def fetch(config: FetchConfig) -> Path:
    """Get a data set, and return its folder.

    Raises:
        FaceproofError: the data set is not known, is there already, or cannot be had.
    """
    from faceproof.data.fetch import fetch as fetch_data

    folder = fetch_data(config.name, config.root)
    print(f"{config.name} is in {folder}")
    return folder
