"""`faceproof drift`: has what comes in changed since the detector was trained?"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.io.folders import refuse_file

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from faceproof.artifact.card import Card
    from faceproof.evaluation.drift import Change, Reference
    from faceproof.evaluation.predictions import Scores
    from faceproof.evaluation.statistics import Codes

MAX_REFERENCE = 1_000_000  # bytes
FILES = ("drift.json", "drift.png")  # what the output folder consists of
MAX_READ = 2000  # files whose statistics are looked at, evenly spaced
OF_FACES = (
    "files: not compared, for the detector's validation images are faces that were cut out, and "
    "these files are the pictures that faces were found in"
)
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
        allow: an object store, as s3://BUCKET/FOLDER, whose images may be read; can be repeated.
    """

    predictions: Path
    _: KW_ONLY
    detector: Path
    out: Path = Path("drift")
    files: bool = True
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_file(self.out)


def drift(config: DriftConfig) -> "list[Change]":
    """Compare predictions with a detector's validation; write and print what has changed.

    Raises:
        FaceproofError: the artifact stores nothing to compare with, or the predictions cannot be
            read, are too few, or name images in an object store that the user has not named.
    """
    from faceproof.artifact.artifact import read_card
    from faceproof.evaluation.drift import compare, in_words
    from faceproof.io.folders import refuse_foreign_folder
    from faceproof.reports.drift_plot import drift_plot

    refuse_foreign_folder(config.out, FILES)
    lookup.allow(config.allow)
    card = read_card(config.detector)
    reference = read_reference(config.detector, card)
    columns = _read_predictions(config.predictions)
    units, paths = columns.pop("units"), columns.pop("path")
    strange = _share_strange(card, columns, units)
    of_faces = columns.pop("of_faces") and card.detector.crop is not None
    left_out = OF_FACES if config.files and of_faces else None
    if config.files and left_out is None:
        columns |= _of_files(paths, config.predictions)
    changes = compare(reference, columns)
    drawn = drift_plot(reference, columns, changes)
    _write(config.out, drawn, changes, {"strange": strange, "left_out": left_out})
    for change in changes:
        print(in_words(change))
    if strange is not None:
        print(strange["text"])
    if left_out is not None:
        print(left_out)
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


def pack_reference(validation: "pa.Table", file: Path) -> bytes:
    """Return the file of a detector's reference, from the predictions of its validation.

    The statistics are of those images that can still be read. `file` is the table's own.

    Raises:
        FaceproofError: it names images in an object store that the user has not named.
    """
    import json

    from faceproof.evaluation.drift import make_reference
    from faceproof.evaluation.novelty import novelties_of
    from faceproof.evaluation.predictions import logits_of

    columns: dict[str, Any] = {"logit": logits_of(validation), "novelty": novelties_of(validation)}
    columns |= _of_files(validation["path"].to_pylist(), file)
    return json.dumps(make_reference(columns).to_json(), indent=1, sort_keys=True).encode()


def _read_predictions(file: Path) -> dict[str, Any]:
    """Return logits and novelties, (N,), with NaN where there are none, and what is beside them.

    That is each `path`, the `units` as `unit_codes` has them, and whether images were judged by
    the faces in them, `of_faces`.
    """
    import numpy as np
    import pyarrow as pa

    from faceproof.data.own_table import read_columns
    from faceproof.evaluation.groups import unit_codes

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
    nothing: list[str | None] = [None] * len(read["path"])
    words = {name: read.get(name, nothing) for name in ("group", "component")}
    words["path"] = [path or "" for path in read["path"]]
    units = unit_codes(pa.table(words, pa.schema([(name, pa.string()) for name in words])))
    of_faces = any(found is not None for found in read.get("faces", nothing))
    return {"path": read["path"], "units": units, "of_faces": of_faces, **numbers}


def _of_files(paths: list[str], table: Path) -> "dict[str, Scores]":
    """Return statistics of files, evenly spaced over the paths; of those that can be read.

    The paths are of a `table`, which may come from a stranger.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from faceproof.audit.file_statistics import gather_file_statistics
    from faceproof.data.kinds import VIDEO_SUFFIXES
    from faceproof.data.shards.known_stores import refuse_unknown_stores

    images = [path for path in paths if path and Path(path).suffix.lower() not in VIDEO_SUFFIXES]
    refuse_unknown_stores(pa.chunked_array([pa.array(images, pa.string())]), table)
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


def _share_strange(card: "Card", columns: dict[str, Any], units: "Codes") -> dict[str, Any] | None:
    """Return the share called unlike the training images, beside what was promised.

    `units`, (N,), number what is independent: frames of one video are not.
    """
    import numpy as np

    from faceproof.evaluation.novelty import STRANGE, strange_flags
    from faceproof.evaluation.statistics import share_interval
    from faceproof.words import percent

    point, novelties = card.detector.novelty, columns.get("novelty")
    if point is None or novelties is None:
        return None
    known = np.isfinite(novelties)
    flags = strange_flags(novelties[known], point)
    if (interval := share_interval(flags, units[known])) is None:
        return None
    share, (low, high) = float(flags.mean()), interval
    more = low > point.promised
    text = (
        f"{percent(share)} of {len(flags):,} images are {STRANGE} ({percent(low)} to "
        f"{percent(high)}), {'more than' if more else 'against'} the {percent(point.promised)} of "
        "images like those of validation"
    )
    values = {"share": share, "interval": [low, high], "rate": point.promised, "more": more}
    return {**values, "text": text}


def _write(out: Path, drawn: "Figure", changes: "list[Change]", more: dict[str, Any]) -> None:
    from faceproof.evaluation.json_values import plain, printable
    from faceproof.io.atomic import atomic_folder, write_json
    from faceproof.reports.plots import save_png

    described = [{**plain(printable(one)), "counts": one.counts} for one in changes]
    with atomic_folder(out) as partial:
        write_json(partial / "drift.json", {"changes": described, **more})
        save_png(drawn, partial / "drift.png")
