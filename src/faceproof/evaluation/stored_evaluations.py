"""The evaluations in a run folder; only those of the weights that the run holds now are used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceproof.data.leave_out import HELD_OUT
from faceproof.errors import FaceproofError
from faceproof.io.plain_files import read_object
from faceproof.io.run_folder import RunFolder
from faceproof.io.stamps import digest_of

REPORT = "report.json"
PREDICTIONS = "predictions.parquet"


def usual_name(data: str, split: str) -> str:
    """Return the name that an evaluation of a split of a data set has unless it is given one."""
    return HELD_OUT if split == HELD_OUT else f"{data}-{split}"


def evaluations_of(run: RunFolder) -> list[str]:
    """Return the names of a run's evaluations that are of the weights it holds now."""
    return [name for name, fault in _faults(run).items() if fault is None]


def stale_evaluations(run: RunFolder) -> dict[str, str]:
    """Return the names of a run's other evaluations, and why each is not used."""
    return {name: fault for name, fault in _faults(run).items() if fault is not None}


def read_report(run: RunFolder, name: str) -> dict[str, Any]:
    """Return what the report of an evaluation holds.

    Raises:
        FaceproofError: there is none, or it is not of the weights that the run holds now.
    """
    report, fault = _read(run.evaluations / name, run.detector_digest)
    if report is None or fault is not None:
        raise FaceproofError(
            f"{run.evaluations / name} is not used: {fault}; {evaluate_again(run)}"
        )
    return report


def evaluate_again(run: RunFolder) -> str:
    """Say how a run gets evaluations of the weights that it holds now."""
    return f"evaluate the run again by faceproof evaluate {run.argument('run')}"


def _faults(run: RunFolder) -> dict[str, str | None]:
    """Return the names of all evaluations, each with why it is not used, if so."""
    folders = sorted(file.parent for file in run.evaluations.glob(f"[!.]*/{REPORT}"))
    if not folders:
        return {}
    detector = run.detector_digest
    return {folder.name: _read(folder, detector)[1] for folder in folders}


def _read(folder: Path, detector: str) -> tuple[dict[str, Any] | None, str | None]:
    """Return the report in a folder, and why it is not one of this detector, if so."""
    if not (folder / REPORT).exists():
        return None, "it has no report"
    try:
        report = read_object(folder / REPORT, "evaluate again")
    except FaceproofError as error:
        return None, str(error)
    return report, _fault(folder, report, detector)


def _fault(folder: Path, report: Mapping[str, Any], detector: str) -> str | None:
    if "detector" not in report:
        return "it does not say which weights it is of, as older versions did not"
    if report["detector"] != detector:
        return "it is of other weights (or another network or task) than the run holds now"
    if not (folder / PREDICTIONS).is_file():
        return f"its {PREDICTIONS} is missing"
    if report.get("predictions") != digest_of(folder / PREDICTIONS):
        return f"its {PREDICTIONS} is not what the report was computed from"
    return None
