"""Downloads the ready data sets whose terms allow it; for the others, says where to ask."""

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faceproof.errors import FaceproofError


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from."""

    kaggle: str | None  # its name on Kaggle; None where the authors give it out on request
    terms: str  # of use
    github: str = ""  # the authors' page, where it is not on Kaggle

    @property
    def page(self) -> str:
        """Return the address of its web page."""
        return f"kaggle.com/datasets/{self.kaggle}" if self.kaggle else f"github.com/{self.github}"


ORIGINS = {
    "deepfake_and_real": Origin(
        "manjilkarki/deepfake-and-real-images", "cut from OpenForensics, for research"
    ),
    "real_vs_fake_140k": Origin("xhlulu/140k-real-and-fake-faces", "FFHQ is CC BY-NC-SA 4.0"),
    "ciplab": Origin("ciplab/real-and-fake-face-detection", "for research"),
    "celebdf": Origin(None, "on request, for research", "yuezunli/celeb-deepfakeforensics"),
    "faceforensics": Origin(None, "on request, for research", "ondyari/FaceForensics"),
    "deeperforensics": Origin(None, "on request", "EndlessSora/DeeperForensics-1.0"),
    "wilddeepfake": Origin(None, "on request, for research", "OpenTAI/wild-deepfake"),
    "forgerynet": Origin(None, "for research and education", "yinanhe/ForgeryNet"),
    "deepfakebench": Origin(None, "under the terms of each set", "SCLBD/DeepfakeBench"),
    "df40": Origin(None, "under CC BY-NC 4.0", "YZY-stack/DF40"),
}


def fetch(name: str, root: Path, download: Callable[[str], str] | None = None) -> Path:
    """Download a data set to the folder where its configuration looks for it.

    That is `root/name`, which is returned. `download` takes a Kaggle name and returns a folder;
    kagglehub's by default.
    """
    if name not in ORIGINS:
        raise FaceproofError(
            f"there is nothing to fetch for {name!r}: it is drawn by the package (demo), a "
            f"layout for images of your own, or unknown; known are {', '.join(ORIGINS)}"
        )
    origin, target = ORIGINS[name], root / name
    if target.exists():
        raise FaceproofError(f"{target} is there already; remove it to fetch {name} again")
    if origin.kaggle is None:
        raise FaceproofError(
            f"{name} is given out by its authors {origin.terms}: ask at {origin.page}, and put it "
            f"into {target}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceproofError(
            f"{root} cannot be written to ({error.strerror}); name another folder by --root, and "
            "set FACEPROOF_DATA to it"
        ) from error
    download = download or _kagglehub()
    try:
        found = Path(download(origin.kaggle))
    # kagglehub passes on the errors of its HTTP library, which share no base class but this one.
    except Exception as error:
        with contextlib.suppress(OSError):  # others may have put something there
            target.parent.rmdir()
        raise FaceproofError(
            f"{name} could not be fetched from Kaggle ({type(error).__name__}: {error}); fetch it "
            f"by hand from {origin.page} and unpack it into {target}"
        ) from error
    # Copied beside its place and renamed: an interrupted copy never looks like the data set.
    partial = target.with_name(f"{name}.partial-{os.getpid()}")
    try:
        shutil.copytree(found, partial)
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        message = f"{target} could not be written ({error}); {name} is in {found}"
        raise FaceproofError(message) from error
    return target


def _kagglehub() -> Callable[[str], str]:
    try:
        import kagglehub
    except ImportError as error:
        raise FaceproofError("fetching needs kagglehub: pip install 'faceproof[fetch]'") from error
    download: Callable[[str], str] = kagglehub.dataset_download
    return download
