"""The story of `faceproof prepare`: photographs and videos to face crops and an image table."""

import logging
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from faceproof import __version__, lookup
from faceproof.errors import FaceproofError
from faceproof.io.atomic import write_json, write_text
from faceproof.io.locks import Lock
from faceproof.io.progress import progress
from faceproof.settings import SettingError
from faceproof.workflows.prepare_sources import Listed

if TYPE_CHECKING:
    from faceproof.data.prepared import About
    from faceproof.prepare.media import Media, PrepareSettings, Result

MAX_WORKERS = 256
MIN_VIDEOS, MIN_MEDIA = 2, 200  # from which on processes gain more than their start takes
BYTES_DEPEND_ON = (
    "faceproof", "torch", "onnxruntime", "pillow", "numpy", "simplejpeg", "av",
)  # fmt: skip
SETTINGS = (
    "detector", "margin", "align", "size", "quality", "min_score", "min_size", "faces", "frames",
    "every", "min_sharpness",
)  # fmt: skip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareConfig:
    """Find the faces in photographs and videos, and write face crops that one can train on.

    Beside the crops stands an image table, with label, split, generator, video, time, face box and
    landmarks of each; data=prepared data.root=DIR trains on it. The originals are only read. A
    command that was stopped goes on when it is started again, and the same command gives the same
    bytes. Videos need pip install 'faceproof[video]'.

    Exit code 0: every file was looked at, and at least one face found; 1: no face was found at all;
    2: the command could not be run.

    Attributes:
        paths: photographs, videos, folders (with all below), patterns, lists, or data=NAME and
            data.KEY=VALUE for a data set with its labels and splits.
        out: the folder to write.
        faces: which faces of a photograph or video: the largest, all, or the steadiest, which moves
            least between the frames of a video.
        frames: how many frames of a video, evenly spaced by time, or all.
        every: every so many frames of a video instead.
        margin: added on each side of a face, as a share of its side.
        align: turn faces upright by their landmarks.
        size: side of the crops in pixels; by default as large as in the image.
        quality: of JPEG, 1 to 100; by default nothing is lost (PNG).
        min_size: longer side of the smallest face, in pixels.
        min_score: of the face detector, 0 to 1.
        min_sharpness: log variance of the Laplacian; by default any.
        detector: the face detector, or a class of your own: my_module.MyDetector.
        workers: processes; by default one for each core.
        check: read every crop of a finished folder again, and compare it with its digest.
        allow: a module with code of your own; can be repeated.
    """

    paths: tuple[str, ...]
    _: KW_ONLY
    out: Path
    faces: Literal["largest", "all", "steadiest"] = "largest"
    frames: int | Literal["all"] = 32
    every: int | None = None
    margin: float = 0.17
    align: bool = False
    size: int | None = None
    quality: int | None = None
    min_size: int = 24
    min_score: float = 0.8
    min_sharpness: float | None = None
    detector: str = "retinaface"
    workers: int | Literal["auto"] = "auto"
    check: bool = False
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers != "auto" and not 0 <= self.workers <= MAX_WORKERS:
            allowed = f"auto or a count from 0 to {MAX_WORKERS}"
            raise FaceproofError(f"--workers {self.workers} must be {allowed}")

    def wanted(self) -> "PrepareSettings":
        """Return what is made of photographs and videos.

        Raises:
            FaceproofError: an option has a value that it cannot have.
        """
        from faceproof.prepare.media import prepare_settings

        try:
            return prepare_settings({name: getattr(self, name) for name in SETTINGS})
        except SettingError as error:
            option = f"--{error.setting.replace('_', '-')}"
            raise FaceproofError(f"{option} {error.problem}") from error


def prepare(config: PrepareConfig, listed: Listed) -> "About":
    """Prepare photographs and videos, and return what the folder says of itself.

    Raises:
        FaceproofError: the folder holds something else, was made with other settings or of other
            files, or a process has died.
    """
    lookup.allow(config.allow)
    _refuse_other_folder(config.out)  # before the detector is loaded
    preparation = Preparation(config.wanted(), listed)
    return prepare_folder(config.out, preparation, config.workers, config.check)


def prepare_folder(
    folder: Path,
    preparation: "Preparation",
    workers: int | Literal["auto"] = "auto",
    check: bool = False,
    wait: bool = False,
) -> "About":
    """Prepare photographs and videos into a folder, or check one that is finished; see `prepare`.

    `wait` for another process that prepares the same folder, instead of refusing. A process that
    another one has started does not wait: it might be for its own parent.
    """
    from faceproof.data.prepared import ABOUT

    lock = Lock(folder / "prepare.lock", f"{folder} is being prepared by {{holder}}; wait for it")
    # By its name, because what a script does when it is imported comes before the rest is known.
    is_first = multiprocessing.current_process().name == "MainProcess"
    lock.acquire(wait and is_first)
    try:
        if (folder / ABOUT).exists():
            return preparation.check_finished(folder, every_file=check)
        results = preparation.run(folder, _choose_workers(workers, preparation.media))
        return preparation.finish(folder, results)
    finally:
        lock.release()


def _refuse_other_folder(folder: Path) -> None:
    from faceproof.data.prepared import ABOUT
    from faceproof.prepare.journal import JOURNAL

    if folder.exists() and not folder.is_dir():
        raise FaceproofError(f"--out {folder} is a file; name a folder that does not exist yet")
    begun = any((folder / name).exists() for name in (ABOUT, JOURNAL, "prepare.lock"))
    if folder.is_dir() and any(folder.iterdir()) and not begun:
        raise FaceproofError(
            f"--out {folder} holds files that faceproof prepare has not written; name a folder "
            "that does not exist yet"
        )


def _choose_workers(workers: int | str, media: "Sequence[Media]") -> int:
    """Return how many processes to start; `auto` starts none where they would not be worth it."""
    from faceproof.performance.cores import num_cores

    if isinstance(workers, int):
        return workers
    videos = sum(one.is_video for one in media)
    busy = videos >= MIN_VIDEOS or len(media) >= MIN_MEDIA
    return min(num_cores(), MAX_WORKERS) if busy and num_cores() > 1 else 0


class Preparation:
    """What is prepared, and how.

    Attributes:
        rows: a row of an image table for each photograph or video.
        names: of these, relative to the folder that holds them all.
        media: the photographs and videos, and where their crops go.
        made_with: what a folder must have been made with to be this one: settings, face detector,
            versions, and files.
    """

    def __init__(self, wanted: "PrepareSettings", listed: Listed) -> None:
        from faceproof.data.table import SCHEMA
        from faceproof.io.stamps import key_of
        from faceproof.prepare.detectors import describe_detector
        from faceproof.prepare.places import media_of, relative_names

        self.wanted, self.task, self.rows = wanted, listed.task, listed.rows
        self.names = relative_names([row.get("file") or row["path"] for row in self.rows])
        self.media: list[Media] = media_of(self.rows, self.names)
        _refuse_repeated(self.media)
        columns = [name for name in SCHEMA.names if name != "path"]
        described = (
            f"{name} {_size_of(one.path)} {[row[column] for column in columns]}".encode(
                "utf-8", "surrogatepass"
            )
            for name, one, row in zip(self.names, self.media, self.rows, strict=True)
        )
        self.made_with: dict[str, Any] = {
            "settings": asdict(wanted),
            "detector": describe_detector(wanted.crop.detector),
            "versions": _versions(),
            "files": key_of((self.task, *described)),
        }

    def run(self, folder: Path, workers: int) -> dict[int, "Result"]:
        """Prepare what is not prepared yet, and return all results by the numbers of files."""
        from faceproof.prepare.journal import open_journal, read_journal
        from faceproof.prepare.processes import prepare_all

        known = read_journal(folder, self.made_with, self.media)
        known = {number: one for number, one in known.items() if _is_whole(folder, one)}
        if known:
            log.info(
                "%s of %s files were prepared before", f"{len(known):,}", f"{len(self.media):,}"
            )
        missing = [pair for pair in enumerate(self.media) if pair[0] not in known]
        with open_journal(folder, self.made_with, known) as journal:
            made = prepare_all(missing, folder, self.wanted, workers)
            for number, result in progress(made, "preparing", len(missing)):
                journal.add(number, result)
                known[number] = result
        return known

    def finish(self, folder: Path, results: dict[int, "Result"]) -> "About":
        """Write the tables, the page and `prepared.json`, and remove the journal."""
        from faceproof.data.prepared import ABOUT, FORMAT, IMAGES, MEDIA, PAGE, About
        from faceproof.data.table import write_table
        from faceproof.io.stamps import digest_of
        from faceproof.prepare.journal import JOURNAL
        from faceproof.prepare.tables import counts_of, image_table, media_table
        from faceproof.reports.prepared_page import prepared_page

        ordered = [results[number] for number in range(len(self.media))]
        images = image_table(self.rows, self.names, ordered)
        media = media_table(self.rows, ordered)
        write_table(images, folder / IMAGES)
        write_table(media, folder / MEDIA)
        about = About(
            FORMAT, self.task, **self.made_with, counts=counts_of(ordered),
            images=digest_of(folder / IMAGES), results=digest_of(folder / MEDIA),
        )  # fmt: skip
        write_text(folder / PAGE, prepared_page(folder, about, images, media))
        write_json(folder / ABOUT, asdict(about))
        (folder / JOURNAL).unlink()
        return about

    def check_finished(self, folder: Path, every_file: bool) -> "About":
        """Return what a finished folder says, if it is what this command would write.

        Raises:
            FaceproofError: it was made with other settings or of other files, or a crop is missing
                or not what was written.
        """
        from faceproof.data.prepared import read_about
        from faceproof.prepare.journal import refuse_another

        about = read_about(folder)
        if every_file:  # also of a folder that older packages have made
            check_crops(folder, every_byte=True)
        refuse_another(folder, asdict(about), self.made_with)
        check_crops(folder, every_byte=False)
        return about


def _refuse_repeated(media: "Sequence[Media]") -> None:
    """Refuse a file that is listed twice, whose crops would be two rows each."""
    known: set[str] = set()
    for one in media:
        if one.place in known:
            raise FaceproofError(f"{one.path} is listed more than once; leave one of its rows")
        known.add(one.place)


def _is_whole(folder: Path, result: "Result") -> bool:
    return all(_size_of(str(folder / crop.file)) == crop.num_bytes for crop in result.crops)


def check_crops(folder: Path, every_byte: bool) -> None:
    """Compare the crops of a prepared folder with its table: their sizes, or every byte.

    Raises:
        FaceproofError: some are missing or changed.
    """
    from faceproof.data.digests import content_digest
    from faceproof.data.prepared import read_images

    table = read_images(folder).select(["path", "content", "bytes"]).to_pylist()
    bad = []
    for row in progress(table, "checking crops"):
        path = row["path"]
        whole = _size_of(path) == row["bytes"]
        if not whole or (
            every_byte and content_digest(Path(path).read_bytes()).hex() != row["content"]
        ):
            bad.append(path)
    if bad:
        raise FaceproofError(
            f"{len(bad):,} of {len(table):,} crops in {folder} are missing or changed, first "
            f"{bad[0]}; delete the folder's prepared.json and run the command again to make all "
            "anew"
        )


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return None


def _versions() -> dict[str, str]:
    """Return the versions of the packages on which the bytes of the crops depend."""
    from importlib.metadata import PackageNotFoundError

    found = {}
    for name in BYTES_DEPEND_ON:
        try:
            found[name] = __version__ if name == "faceproof" else version(name)
        except PackageNotFoundError:
            continue  # av, where there are no videos
    return found
