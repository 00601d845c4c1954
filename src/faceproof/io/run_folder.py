"""A run folder: what a training leaves behind, and where each piece lies in it."""

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faceproof.errors import FaceproofError
from faceproof.io.atomic import write_json, write_text
from faceproof.io.folders import from_here
from faceproof.io.lines import append_line
from faceproof.io.locks import Lock
from faceproof.io.parse import parse
from faceproof.io.plain_files import (
    plain_value,
    printable,
    read_bytes,
    read_object,
    read_yaml,
    refuse_links,
)
from faceproof.io.stamps import digest_of, key_of
from faceproof.settings import NAME, TEXT
from faceproof.words import override

VIDEO = "video"  # in operating_point.json, what is fitted to whole videos
NOVELTY = "novelty"  # in operating_point.json, from which novelty on an image is strange
COPY_AGAIN = "copy the run again from where it is whole, or use another"
RANDOM_WEIGHTS = "random initial weights"  # so begins what a record says of them
FITTED_TO = "fitted_to"  # in operating_point.json, with digests of detector and validation.parquet
MAX_WEIGHTS = 2**35  # bytes of best.ckpt; a network of a billion parameters takes 2**32
MAX_LINES = 50_000_000  # bytes of a table of epochs, or of the lines of scorings
# The types of what is read of a record; it may hold more.
RECORD: Mapping[str, Any] = {
    **dict.fromkeys(("model", "data", "weights", "status", "images", "monitor"), str | None),
    **dict.fromkeys(("device", "precision", "features", "synthesis", "faces"), str | None),
    **dict.fromkeys(("epochs", "best_epoch", "unreadable"), int | None),
    **dict.fromkeys(("choices", "input"), dict[str, Any] | None),
    **dict.fromkeys(("versions", "recipe"), dict[str, str] | None),
    **dict.fromkeys(("audit", "commands"), tuple[str, ...] | None),
    "seconds": float | None, "best": dict[str, float | None] | None,
}  # fmt: skip


class RunFolder:
    """The paths of one run.

    | file                 | what                                                        |
    |----------------------|-------------------------------------------------------------|
    | config.yaml          | the composed configuration, resolved                        |
    | record.json          | initial weights, versions, best epoch and the like          |
    | samples.parquet      | the image table it was trained on, all splits               |
    | held_out.parquet     | the images to judge of what was left out, if anything was    |
    | seen.parquet         | path, digest and look of what it was trained or chosen on   |
    | unreadable.csv       | the files that could not be read, if any                    |
    | audit.json, .html    | what was found in the data set before training              |
    | synthesis.png        | pseudo-fakes of its first epoch, if it trains on any        |
    | faces.parquet        | where the faces are that these are made of, if it is known  |
    | best.ckpt            | the weights of the best epoch, by validation                |
    | last.ckpt            | everything needed to resume                                 |
    | validation.parquet   | validation's scores by the best epoch                       |
    | operating_point.json | calibration, threshold and unsure band, fitted to these     |
    | novelty.safetensors  | how the distance from the training images is measured, if so |
    | test_scorings.jsonl  | a line for every time that test images were scored          |
    | ensemble.json        | of an ensemble: its members and their weights               |
    | metrics.csv          | a row an epoch                                              |
    | events.*             | TensorBoard                                                 |
    | evaluations/         | a folder for each evaluation                                |
    | train.lock           | locked while a process trains here; it names the last one   |
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.record = self.path / "record.json"
        self.samples = self.path / "samples.parquet"
        self.held_out = self.path / "held_out.parquet"
        self.seen = self.path / "seen.parquet"
        self.unreadable = self.path / "unreadable.csv"
        self.synthesis = self.path / "synthesis.png"
        self.faces = self.path / "faces.parquet"
        self.best = self.path / "best.ckpt"
        self.last = self.path / "last.ckpt"
        self.metrics = self.path / "metrics.csv"
        self.validation = self.path / "validation.parquet"
        self.operating_point = self.path / "operating_point.json"
        self.novelty = self.path / "novelty.safetensors"
        self.test_scorings = self.path / "test_scorings.jsonl"
        self.ensemble = self.path / "ensemble.json"
        self.evaluations = self.path / "evaluations"
        self.lock = self.path / "train.lock"

    @property
    def begun(self) -> bool:
        """Say whether a run here can be resumed or has ended; others begin anew."""
        return self.last.is_file() or self.operating_point.is_file()

    def refuse_begun(self) -> None:
        """Refuse to begin a run where there is one; only the process that would write refuses."""
        if self.begun and is_first_process():
            raise FaceproofError(
                f"{self.path} holds a run already; resume it by {self.argument('resume')}, or "
                "choose another folder by hydra.run.dir"
            )

    def how_to_resume(self) -> str:
        """Say how a run that has stopped is resumed."""
        if self.last.is_file():
            return f"resume it by: faceproof train {self.argument('resume')}"
        return "no checkpoint had been written, so the same command starts anew"

    def argument(self, key: str) -> str:
        """Return `key=FOLDER` as a shell's command line needs it."""
        below = from_here(self.path)
        folder = str(self.path) if below.startswith(os.pardir) else Path(below).as_posix()
        return override(key, folder)

    def read_config(self) -> dict[str, Any]:
        """Return the configuration as plain values; nothing in it is interpolated or called."""
        config = read_yaml(self.config, COPY_AGAIN)
        parts = [config.get(name) for name in ("model", "data")] if isinstance(config, dict) else []
        if not (parts and all(isinstance(part, dict) for part in parts)):
            raise FaceproofError(
                f"{self.config} is damaged: it has no settings of model and data; {COPY_AGAIN}"
            )
        for name, rule in (("name", NAME), ("task", TEXT)):
            if name in config["data"] and not rule.fits(value := config["data"][name]):
                raise FaceproofError(
                    f"{self.config}: data.{name} = {value!r} is not {rule.meaning}; {COPY_AGAIN}"
                )
        return dict(config)

    def read_record(self) -> dict[str, Any]:
        """Return what is recorded so far; nothing before the run has begun."""
        if not os.path.lexists(self.record):
            return {}
        record = read_object(self.record, COPY_AGAIN)
        try:
            for name in RECORD.keys() & record.keys():
                parse(RECORD[name], record[name], name)
            if record.get("data") is not None and not NAME.fits(record["data"]):
                raise FaceproofError(f"data = {record['data']!r} is not {NAME.meaning}")
        except FaceproofError as error:
            raise FaceproofError(f"{self.record} is damaged: {error}; {COPY_AGAIN}") from error
        return record

    def update_record(self, **entries: Any) -> None:
        """Add entries to the record, atomically."""
        write_json(self.record, self.read_record() | entries)

    @property
    def detector_digest(self) -> str:
        """A digest of what decides the answers: weights, network and task, of each member too."""
        if not self.ensemble.is_file():
            return key_of(self._deciding())
        folders = sorted(entry for entry in self.path.glob("members/*") if entry.is_dir())
        members = (RunFolder(folder)._deciding() for folder in folders)
        return key_of([digest_of(self.ensemble), *(key_of(parts) for parts in members)])

    def _deciding(self) -> list[str]:
        """Return what decides the answers of one network."""
        config = self.read_config() if self.config.is_file() else {"model": {}, "data": {}}
        network = {part: config["model"].get(part) for part in ("backbone", "head", "input")}
        branch = config["model"].get("branch")  # which runs of earlier versions lack
        if isinstance(branch, dict) and branch.get("name") != "none":
            network["branch"] = branch
        network["task"] = config["data"].get("task")
        if self.best.is_file() and (size := self.best.stat().st_size) > MAX_WEIGHTS:
            raise FaceproofError(
                f"{self.best} has {size:,} bytes; at most {MAX_WEIGHTS:,} of weights are read"
            )
        return [digest_of(self.best), json.dumps(network, sort_keys=True, default=str)]

    @contextlib.contextmanager
    def unchanged(self, since: str | None = None) -> Iterator[str]:
        """Yield the detector's digest; what was computed meanwhile stands only if it is the same.

        `since` is the digest of before, where the weights were read earlier.

        Raises:
            FaceproofError: another process has changed the weights or settings meanwhile.
        """
        before = since or self.detector_digest
        yield before
        if self.detector_digest != before:
            raise FaceproofError(
                f"the weights or settings of {self.path} were changed while they were used; "
                "nothing is kept of it: start again when nothing trains there"
            )

    def write_operating_point(
        self,
        point: Mapping[str, Any],
        video: Mapping[str, Any] | None = None,
        novelty: Mapping[str, Any] | None = None,
    ) -> None:
        """Store calibration and threshold, and which weights and scores they were fitted to.

        `video` is how videos are judged, and `novelty` from where on images are strange, where
        that was fitted.
        """
        fitted = {"detector": self.detector_digest, "validation": digest_of(self.validation)}
        more: dict[str, Any] = {} if novelty is None else {NOVELTY: novelty}
        if novelty is not None:
            fitted[NOVELTY] = digest_of(self.novelty)
        write_json(self.operating_point, {**point, VIDEO: video, **more, FITTED_TO: fitted})

    def read_operating_point(self) -> dict[str, Any]:
        """Return the stored calibration and threshold.

        Raises:
            FaceproofError: they were fitted to other weights, or to other scores of validation,
                than the run holds now; or the file is damaged.
        """
        fitted = self._read_fitted()
        return {key: value for key, value in fitted.items() if key not in (VIDEO, NOVELTY)}

    def read_video_point(self) -> Any:
        """Return how videos are judged; None where that was not fitted. Raises as for images."""
        return self._read_fitted().get(VIDEO)

    def read_novelty_point(self) -> Any:
        """Return from where on images are strange; None where that was not fitted.

        Raises as for the operating point.
        """
        return self._read_fitted().get(NOVELTY)

    def _read_fitted(self) -> dict[str, Any]:
        again = f"fit it again by faceproof train {self.argument('resume')}"
        if self.ensemble.is_file():
            again = "make the ensemble again by faceproof ensemble"
        point = read_object(self.operating_point, f"{again}, or {COPY_AGAIN}")
        fitted = point.pop(FITTED_TO, None)
        if not isinstance(fitted, dict):
            raise FaceproofError(
                f"{self.operating_point} does not say which weights it was fitted to, as older "
                f"versions did not; {again}"
            )
        if fitted.get("detector") != self.detector_digest:
            raise FaceproofError(
                f"{self.operating_point} was fitted to other weights (or another network or task) "
                f"than {self.path} holds now, so its threshold is not theirs: put back what it was "
                f"fitted to, or {again}"
            )
        if self.validation.is_file() and fitted.get("validation") != digest_of(self.validation):
            raise FaceproofError(
                f"{self.validation} does not hold the scores that {self.operating_point.name} was "
                f"fitted to: put them back, or {again}"
            )
        if point.get(NOVELTY) is not None and fitted.get(NOVELTY) != digest_of(self.novelty):
            raise FaceproofError(
                f"{self.novelty} is not what {self.operating_point.name} was fitted to: put it "
                f"back, or {again}"
            )
        return point

    def log_test_scoring(
        self, data: Sequence[str], split: str, evaluation: str, images: int
    ) -> None:
        """Note that test images were scored: scoring a test set often biases its results."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        scoring = {"when": when, "data": list(data), "split": split, "evaluation": evaluation}
        append_line(self.test_scorings, json.dumps(scoring | {"images": images}))

    def count_test_scorings(self, data: Sequence[str]) -> int:
        """Return how often this run has scored test images of any of these data sets."""
        if not os.path.lexists(self.test_scorings):
            return 0
        lines = read_bytes(self.test_scorings, MAX_LINES).decode(errors="replace").splitlines()
        try:
            return sum(bool(set(_data_of_scoring(line)) & set(data)) for line in lines)
        except (ValueError, RecursionError) as error:
            raise FaceproofError(
                f"{self.test_scorings} is damaged: {error}; {COPY_AGAIN}"
            ) from error

    def locked(self) -> Lock:
        """Return the lock by which one training at a time uses the folder."""
        return Lock(
            self.lock,
            f"{self.path} is being trained in by another process ({{holder}}); wait for its end, "
            "or train in another folder by hydra.run.dir",
        )

    def refuse_links(self) -> None:
        """Refuse a folder in which anything is a link, a pipe or a device, if it is there.

        A run may come from a stranger. A link in it would have a file of the user's read or
        overwritten, and a pipe would be waited for.
        """
        if self.path.is_dir():
            refuse_links(self.path)

    def require(self, *files: Path) -> None:
        """Refuse a folder that is not a run with these files; see also `refuse_links`."""
        self.refuse_links()
        missing = [file.name for file in files if not file.is_file()]
        if missing == [self.operating_point.name] and self.last.is_file():
            raise FaceproofError(
                f"{self.path} has no operating point: its training has not ended; let it end by "
                f"faceproof train {self.argument('resume')}"
            )
        if missing:
            state = "no folder"
            if self.path.is_dir():
                found = ", ".join(sorted(printable(entry.name) for entry in self.path.iterdir()))
                state = f"it holds {found or 'nothing'}"
            raise FaceproofError(
                f"{self.path} is not a run to use: {', '.join(missing)} is not there ({state}); "
                "name a folder that faceproof train has written"
            )

    def evaluation_folder(self, name: str) -> Path:
        """Return the folder of an evaluation, below `evaluations`.

        Raises:
            FaceproofError: the name would lead elsewhere, or is too long.
        """
        if not NAME.fits(name):
            raise FaceproofError(
                f"the evaluation's name {name!r} is not {NAME.meaning}; give it one by name=NAME"
            )
        return self.evaluations / name


def _data_of_scoring(line: str) -> tuple[str, ...]:
    """Return the data sets that a line of `test_scorings.jsonl` names."""
    try:
        scoring = json.loads(line)
    except json.JSONDecodeError:  # half a line of a killed process
        return ()
    except RecursionError as error:
        raise FaceproofError(f"a line of it is nested without end; {COPY_AGAIN}") from error
    entries: dict[str, Any] = parse(dict[str, Any], scoring)
    found: tuple[str, ...] = parse(tuple[str, ...], entries.get("data"), "data")
    return found


def is_member(folder: Path) -> bool:
    """Say whether a folder is an ensemble's copy of a run."""
    return folder.parent.name == "members" and (folder.parents[1] / "ensemble.json").is_file()


def is_first_process() -> bool:
    """Say whether this process writes the run folder: alone, or as the first of several."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")  # Lightning's, torchrun's, Slurm's
    return not any(int(os.environ.get(name) or 0) for name in names)


def write_epochs(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV, with a column for every metric that any row has; undefined is empty."""
    names = sorted({name for row in rows for name in row} - {"epoch"})
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", *names])
    writer.writeheader()
    for row in sorted(rows, key=lambda row: int(row["epoch"])):
        defined = {k: v for k, v in row.items() if v is not None and not math.isnan(v)}
        writer.writerow(defined)
    write_text(path, text.getvalue())


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """Read the rows of `write_epochs`; a metric is a float, or None where it is undefined."""
    if not os.path.lexists(path):
        return []
    try:
        text = read_bytes(path, MAX_LINES).decode()
        return list(_epochs(csv.DictReader(io.StringIO(text, newline=""))))
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        if isinstance(error, FaceproofError):
            raise
        raise FaceproofError(
            f"{path} is damaged: it must hold numbers, an epoch in each row ({error}); {COPY_AGAIN}"
        ) from error


def _epochs(rows: Iterator[dict[str, str]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        found: dict[str, Any] = {"epoch": plain_value(int(row.pop("epoch")))}
        for name, value in row.items():
            found[printable(name)] = float(value) if value else None
        yield found


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
