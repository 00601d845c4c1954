"""Finds runs by their names or their age: `latest`, and the newest ones to name in a message."""

import logging
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.io.folders import from_here
from faceproof.io.run_folder import RunFolder, is_member

LATEST = "latest"
NUM_NAMED = 3  # runs that a message names

log = logging.getLogger(__name__)


def find_run(name: str, runs: str | Path = "runs") -> RunFolder:
    """Return the run in a folder; `latest` is the newest below `runs` that has a best epoch.

    Raises:
        FaceproofError: there is no such folder, or no run with a best epoch.
    """
    if name == LATEST:
        found = _newest(runs, "best.ckpt", "ensemble.json")
        if not found:
            raise FaceproofError(
                f"no run below {runs} has a best.ckpt yet; train one, or name a folder"
            )
        return found[0]
    run = RunFolder(name)
    if not run.path.is_dir():
        known = _named("run", _newest(runs, "best.ckpt", "ensemble.json"))
        raise FaceproofError(
            f"{name} is not a run to use: there is no such folder; "
            + (known or "name a folder that faceproof train has written")
        )
    return run


def find_resumable(name: str, runs: str | Path = "runs") -> RunFolder:
    """Return the run to resume; `latest` is the newest below `runs` that has a `last.ckpt`.

    That of a run interrupted in its first epoch counts, which has no best epoch yet.

    Raises:
        FaceproofError: there is no such run, or it has no `last.ckpt`.
    """
    found = _newest(runs, "last.ckpt")
    if name == LATEST:
        if not found:
            raise FaceproofError(
                f"resume=latest: no run below {runs} has a last.ckpt, so there is nothing to "
                "resume; start one by faceproof train, or name a folder by resume=FOLDER"
            )
        return found[0]
    run = RunFolder(name)
    if not run.last.is_file():
        lacks = "it has no last.ckpt" if run.path.is_dir() else "there is no such folder"
        known = _named("resume", found) or f"no run below {runs} has a last.ckpt"
        raise FaceproofError(f"resume={name} is not a run to use: {lacks}; {known}")
    return run


def refuse_missing(*folders: Path | None) -> None:
    """Refuse folders of runs and artifacts that are not there, before anything heavy is imported.

    Raises:
        FaceproofError: it names the first such folder, and the newest runs.
    """
    for folder in folders:
        if folder is None or folder.exists():
            continue
        newest = [from_here(run.path) for run in _newest("runs", "best.ckpt")[:NUM_NAMED]]
        known = f" (the newest runs: {', '.join(newest)})" if newest else ""
        raise FaceproofError(
            f"there is no folder {folder}; name one that faceproof train or faceproof export has "
            f"written{known}"
        )


def refuse_missing_detector(folder: Path) -> None:
    """Refuse a detector artifact that is not there, before anything heavy is imported.

    Raises:
        FaceproofError: it names the command that makes one.
    """
    if not folder.exists():
        raise FaceproofError(
            f"there is no folder {folder}; name a detector that faceproof export has written: "
            "faceproof export latest --to detector makes one of the newest run"
        )


def named_folder(folder: Path) -> Path:
    """Return the folder of a run or an artifact; `latest` is the newest run, as in `find_run`.

    A folder of that name comes first.

    Raises:
        FaceproofError: there is no such folder, or no run with a best epoch.
    """
    if folder != Path(LATEST) or folder.exists():
        refuse_missing(folder)
        return folder
    newest = find_run(LATEST).path
    log.info("%s is %s", LATEST, from_here(newest))
    return newest


def _newest(runs: str | Path, *files: str) -> list[RunFolder]:
    """Return the runs below a folder that have one of these files, the newest file first."""
    found = [path for name in files for path in Path(runs).glob(f"**/{name}")]
    own = [path for path in found if not is_member(path.parent)]
    by_age = sorted(own, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [RunFolder(folder) for folder in dict.fromkeys(path.parent for path in by_age)]


def _named(key: str, runs: list[RunFolder]) -> str:
    """Return the first of some runs as arguments to copy, such as `resume=runs/NAME`."""
    if not runs:
        return ""
    return f"the newest: {', '.join(run.argument(key) for run in runs[:NUM_NAMED])}"
