"""`faceproof drift`: has what comes in changed since the detector was trained?"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceproof.errors import FaceproofError
from faceproof.io.folders import refuse_file

if TYPE_CHECKING:
    import pyarrow as pa

    from faceproof.artifact.card import Card
    from faceproof.evaluation.drift import Change, Reference
    from faceproof.evaluation.predictions import Scores

MAX_REFERENCE = 1_000_000  # bytes
FILES = ("drift.json", "drift.png")  # what the output folder consists of
MAX_READ = 2000  # files whose statistics are looked at, evenly spaced
OF_FILES = ("file size", "width", "height", "brightness", "contrast", "sharpness")


@dataclass(frozen=True)
class DriftConfig:
    """Say whether the images that a detector is given have changed since it was trained.

    Compares the scores and the novelty of what faceproof predict has judged, and the statistics of
    the files where they are still there, with those of the detector's validation images. Writes
    drift.json and drift.png.

    Attributes:
        predictions: what faceproof predict --out has written, or an evaluation's
            predictions.parquet.
        detector: the artifact's folder that judged them, made by faceproof export.
        out: folder to write to.
        files: look at the files too; --no-files compares scores and novelty alone.
    """

    predictions: Path
    _: KW_ONLY
    detector: Path
    out: Path = Path("drift")
    files: bool = True

    def __post_init__(self) -> None:
        refuse_file(self.out)


def drift(config: DriftConfig) -> "list[Change]":
    """Compare predictions with a detector's validation; write and print what has changed.

    Raises:
        FaceproofError: the artifact stores nothing to compare with, or the predictions cannot be
            read or are too few.
    """
    from faceproof.artifact.artifact import read_card
    from faceproof.evaluation.drift import compare, in_words
    from faceproof.io.folders import refuse_foreign_folder

    refuse_foreign_folder(config.out, FILES)
    card = read_card(config.detector)
    reference = read_reference(config.detector, card)
    columns = _read_predictions(config.predictions)
    strange = _share_strange(card, columns)
    if config.files:
        columns |= _of_files(columns.pop("path"))
    columns.pop("path", None)
    changes = compare(reference, columns)
    _write(config.out, reference, columns, changes, strange)
    for change in changes:
        print(in_words(change))
    if strange is not None:
        print(strange["text"])
    print(f"plot: {config.out / 'drift.png'}")
    return changes


def read_reference(folder: Path, card: "Card") -> "Reference":
    """Return what the images that a detector is given are compared with.

    Raises:
        FaceproofError: the artifact has no such file, as those of earlier versions, or it is
            damaged.
    """
    from faceproof.artifact.artifact import read_file
    from faceproof.evaluation.drift import Reference
    from faceproof.io.parse import parse
    from faceproof.io.plain_files import json_values

    stored = card.detector.reference
    if stored is None:
        raise FaceproofError(
            f"{folder} stores nothing that images could be compared with, as exports of earlier "
            "versions do not; export the run again"
        )
    again = "copy or export it again"
    values = json_values(read_file(folder, stored, MAX_REFERENCE), stored.file, again)
    try:
        found: Reference = parse(Reference, values)
    except FaceproofError as error:
        raise FaceproofError(f"{folder / stored.file} is damaged: {error}; {again}") from error
    return found


def pack_reference(validation: "pa.Table") -> bytes:
    """Return the file of a detector's reference, from the predictions of its validation.

    The statistics are of those files that can still be read.
    """
    import json

    from faceproof.evaluation.drift import make_reference
    from faceproof.evaluation.novelty import novelties_of
    from faceproof.evaluation.predictions import logits_of

    columns: dict[str, Any] = {"logit": logits_of(validation), "novelty": novelties_of(validation)}
    columns |= _of_files(validation["path"].to_pylist())
    return json.dumps(make_reference(columns).to_json(), indent=1, sort_keys=True).encode()


def _read_predictions(file: Path) -> dict[str, Any]:
    """Return paths, and logits and novelties, (N,), with NaN where there are none."""
    import numpy as np

    from faceproof.data.own_table import read_columns

    read = read_columns(file)
    if "logit" not in read or "path" not in read:
        raise FaceproofError(
            f"{file} has the columns {', '.join(read)}, and path and logit are needed: name what "
            "faceproof predict --out has written, or an evaluation's predictions.parquet"
        )
    try:
        numbers: dict[str, Scores] = {
            name: np.array([np.nan if one is None else float(one) for one in read[name]])
            for name in ("logit", "novelty")
            if name in read
        }
    except ValueError as error:
        raise FaceproofError(f"{file} holds what is no number: {error}") from error
    if "novelty" in numbers:  # of a video's row it is that of its frames
        numbers["novelty"][np.isnan(numbers["logit"])] = np.nan
    return {"path": read["path"], **numbers}


def _of_files(paths: list[str]) -> "dict[str, Scores]":
    """Return statistics of files, evenly spaced over the paths; of those that can be read."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from faceproof.audit.file_statistics import gather_file_statistics
    from faceproof.data.kinds import VIDEO_SUFFIXES

    images = [path for path in paths if path and Path(path).suffix.lower() not in VIDEO_SUFFIXES]
    number = min(len(images), MAX_READ)
    places = np.linspace(0, len(images) - 1, number).round().astype(int) if images else ()
    found = gather_file_statistics([images[place] for place in places], None)
    found = found.filter(pc.is_null(found["reason"]))
    if not found.num_rows:
        return {}
    colour = np.array(found["colour"].to_pylist(), np.float64)
    plain = {
        "file size": found["size"], "width": found["width"], "height": found["height"],
        "sharpness": found["sharpness"],
    }  # fmt: skip
    numbers = {name: column.cast(pa.float64()).to_numpy() for name, column in plain.items()}
    more = {"brightness": colour[:, :3].mean(1), "contrast": colour[:, 3:].mean(1)}
    return {name: (numbers | more)[name] for name in OF_FILES}


def _share_strange(card: "Card", columns: dict[str, Any]) -> dict[str, Any] | None:
    """Return the share called unlike the training images, beside what was promised."""
    import numpy as np

    from faceproof.evaluation.novelty import STRANGE, strange_flags
    from faceproof.evaluation.statistics import wilson
    from faceproof.words import percent

    point, novelties = card.detector.novelty, columns.get("novelty")
    known = None if novelties is None else novelties[np.isfinite(novelties)]
    if point is None or known is None or not len(known):
        return None
    share = float(strange_flags(known, point).mean())
    low, high = wilson(share, len(known))
    more = low > point.promised
    text = (
        f"{percent(share)} of {len(known):,} images are {STRANGE} ({percent(low)} to "
        f"{percent(high)}), {'more than' if more else 'against'} the {percent(point.promised)} of "
        "images like those of validation"
    )
    values = {"share": share, "interval": [low, high], "rate": point.promised, "more": more}
    return {**values, "text": text}


def _write(
    out: Path,
    reference: "Reference",
    columns: "dict[str, Scores]",
    changes: "list[Change]",
    strange: dict[str, Any] | None,
) -> None:
    from faceproof.evaluation.json_values import plain, printable
    from faceproof.io.atomic import atomic_folder, write_json
    from faceproof.reports.drift_plot import drift_plot
    from faceproof.reports.plots import save_png

    described = [{**plain(printable(one)), "counts": one.counts} for one in changes]
    figure = drift_plot(reference, columns, changes)
    with atomic_folder(out) as partial:
        write_json(partial / "drift.json", {"changes": described, "strange": strange})
        save_png(figure, partial / "drift.png")
