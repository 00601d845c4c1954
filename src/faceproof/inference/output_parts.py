"""The output of `faceproof predict`: written in parts, so that a killed command can continue.

    verdicts.csv              the finished output
    verdicts.csv.unfinished/  until then
        about.json            which detector, so that the answers of two are never mixed
        00000.csv, ...        the parts, each an atomic write
        00000.json, ...       of each part, which detector gave it, its digest, and the stamps of
                              the files that were judged

A killed command loses at most the part that it was filling. Another one continues only after parts
whose origin is its own, and judges files again that have changed since.
"""

import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from faceproof.errors import FaceproofError
from faceproof.inference.objects import stamps_of
from faceproof.io.atomic import atomic_file, explain_disk_errors, to_disk, write_json, write_text
from faceproof.io.locks import Lock
from faceproof.io.names import composed
from faceproof.io.stamps import digest_of, key_of

MAX_NAMED = 5  # unreadable files that are named on the terminal
ROWS_PER_PART = 4096
SECONDS_PER_PART = 10.0
SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Row:
    """What is said of one file: a line of the output.

    Attributes:
        path: the file, as it was named.
        verdict: a class, `unsure` or `no face`; None for a file that cannot be read.
        called: the class by the threshold alone.
        probability: calibrated, of the task's positive class.
        logit: the score before calibration; None for a video.
        gate_probability: of a face, by the gate of a cascade.
        threshold: an image is called positive from this probability on.
        error: why the file cannot be read.
        frames: how many frames of a video were read; None for an image.
        note: of a video, the spread over its frames, and what should be known of them.
        faces: how many were found; None where faces were not looked for.
        novelty: how unlike the training images it is, see `Verdict`; of a video the median over its
            frames.
        is_strange: whether that is too much for an answer.
        stamp: of the file before it was read, see `io.stamps`; no column of the output.
    """

    path: str
    verdict: str | None = None
    called: str | None = None
    probability: float | None = None
    logit: float | None = None
    gate_probability: float | None = None
    threshold: float | None = None
    error: str | None = None
    frames: int | None = None
    note: str | None = None
    faces: int | None = None
    novelty: float | None = None
    is_strange: bool | None = None
    stamp: str | None = None


OF_NOVELTY = ("novelty", "is_strange")


def schema_of(gated: bool, knows_novelty: bool) -> pa.Schema:
    """Return the columns of the output; only a cascade has a probability of its gate.

    Only a detector that knows novelty has columns for that.
    """
    columns = {field.name: pa.float32() for field in fields(Row) if field.name != "stamp"}
    columns |= dict.fromkeys(("path", "verdict", "called", "error", "note"), pa.string())
    columns |= {"frames": pa.int32(), "faces": pa.int32(), "threshold": pa.float64()}
    columns["is_strange"] = pa.bool_()
    left_out: tuple[str, ...] = () if gated else ("gate_probability",)
    left_out = left_out if knows_novelty else (*left_out, *OF_NOVELTY)
    return pa.schema([one for one in columns.items() if one[0] not in left_out])


def table_of(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of these columns."""
    values = [[getattr(row, name) for row in rows] for name in schema.names]
    arrays = [pa.array(*pair) for pair in zip(values, schema.types, strict=True)]
    return pa.table(arrays, schema=schema)


class Results:
    """An output that is being written.

    Args:
        path: the finished file, .csv, .jsonl or .parquet.
        about: what must be equal when another command continues this output.
        gated: whether there is a column for the gate of a cascade.
        overwrite: replace what is there, and start from the beginning.
        knows_novelty: whether there are columns for novelty.

    Raises:
        FaceproofError: the output is finished already, is of another type, is written by another
            command, was started with another detector, or has parts of an unknown origin.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        gated: bool = False,
        overwrite: bool = False,
        knows_novelty: bool = False,
    ) -> None:
        if path.suffix not in SUFFIXES:
            raise FaceproofError(f"--out {path} must end in {', '.join(SUFFIXES)}")
        if path.exists() and not overwrite:
            raise FaceproofError(
                f"{path} exists and is finished; name another file, or replace it by --overwrite"
            )
        self.path = path
        self.schema = schema_of(gated, knows_novelty)
        self.folder = path.with_name(path.name + ".unfinished")
        if overwrite and self.folder.is_dir():
            shutil.rmtree(self.folder)
        with explain_disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
        busy = f"another command is writing {path} ({{holder}}); wait for it"
        self._lock = Lock(self.folder / "lock", busy)
        self._lock.acquire()
        self._about = json.dumps(about, indent=2, sort_keys=True) + "\n"
        self._changed: dict[Path, set[int]] = {}
        try:
            self._claim()
            self._changed = {part: self._check_part(part) for part in self.parts()}
        except BaseException:
            self._lock.release()
            raise
        self._waiting: list[Row] = []
        self._since = time.monotonic()
        self._next = len(self.parts())

    def _claim(self) -> None:
        note = self.folder / "about.json"
        begin = "name another file, or start from the beginning by --overwrite"
        if not note.is_file():
            if parts := self.parts():
                raise FaceproofError(f"{parts[0]} is there, and nothing says what gave it; {begin}")
            write_text(note, self._about)
        elif note.read_text("utf-8") != self._about:
            raise FaceproofError(
                f"{self.folder} was started with another detector or backend, or with other "
                f"options or by another version; {begin}"
            )

    def _check_part(self, part: Path) -> set[int]:
        """Return the rows of a part whose files have changed since.

        Raises:
            FaceproofError: the part is not one that this detector gave, with these options.
        """
        try:
            origin = json.loads(part.with_suffix(".json").read_text("utf-8"))
            stamps, known = origin.pop("stamps"), origin == self._origin(part)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            known = False
        if not known:
            raise FaceproofError(
                f"{part} is not what this detector gave, or was changed since; name another file, "
                "or start from the beginning by --overwrite"
            )
        pairs = zip(stamps_of(self._read(part)["path"].to_pylist()), stamps, strict=True)
        return {n for n, (now, old) in enumerate(pairs) if old is None or old != now}

    def _origin(self, part: Path) -> dict[str, str]:
        return {"about": key_of([self._about]), "rows": digest_of(part)}

    @property
    def num_changed(self) -> int:
        """Return how many rows of other commands are left out, for their files have changed."""
        return sum(map(len, self._changed.values()))

    def parts(self) -> list[Path]:
        """Return the finished parts in their order."""
        return sorted(self.folder.glob(f"[0-9]*{self.path.suffix}"))

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all finished parts that still hold, a part at a time."""
        for part in self.parts():
            yield from (Row(**row) for row in self._read_current(part).to_pylist())

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows; they are written when there are many, or some time has passed."""
        self._waiting.extend(rows)
        late = time.monotonic() - self._since > SECONDS_PER_PART
        if len(self._waiting) >= ROWS_PER_PART or (late and self._waiting):
            self.flush()

    def flush(self) -> None:
        """Write the waiting rows as the next part."""
        if self._waiting:
            self._write_part(self._waiting)
        self._waiting = []
        self._since = time.monotonic()

    def _write_part(self, rows: Sequence[Row]) -> None:
        """Write a part; what says where it comes from is there before it is."""
        part = self.folder / f"{self._next:05d}{self.path.suffix}"
        with atomic_file(part) as partial:
            self._write(partial, rows)
            origin = {**self._origin(partial), "stamps": [row.stamp for row in rows]}
            write_json(part.with_suffix(".json"), origin)
        self._next += 1

    def finish(self) -> None:
        """Join the parts under the final name and remove them."""
        self.flush()
        if not self.parts():
            self._write_part([])
        joined = self.folder / f"joined{self.path.suffix}"
        with explain_disk_errors(self.path):
            self._join(joined)
            to_disk(joined)  # the parts are deleted next
            joined.replace(self.path)
        self.close()
        shutil.rmtree(self.folder)

    def _join(self, file: Path) -> None:
        if self.path.suffix == ".parquet":
            with pyarrow.parquet.ParquetWriter(file, self.schema) as writer:
                for part in self.parts():
                    writer.write_table(self._read_current(part))
            return
        with file.open("wb") as whole:
            for number, part in enumerate(self.parts()):
                source = part
                if self._changed.get(part):
                    source = self.folder / f"current{self.path.suffix}"
                    self._write(source, [Row(**r) for r in self._read_current(part).to_pylist()])
                with source.open("rb") as piece:
                    if number and self.path.suffix == ".csv":
                        piece.readline()  # the header
                    shutil.copyfileobj(piece, whole)

    def close(self) -> None:
        """Release the folder; what is written stays."""
        self._lock.release()

    def _write(self, file: Path, rows: Sequence[Row]) -> None:
        if self.path.suffix == ".parquet":
            pyarrow.parquet.write_table(table_of(rows, self.schema), file)
            return
        with file.open("w", encoding="utf-8", newline="") as lines:
            if self.path.suffix == ".csv":
                writer = csv.writer(lines, lineterminator="\n")
                writer.writerow(self.schema.names)
                writer.writerows([_spell(row, field) for field in self.schema] for row in rows)
            else:
                for row in rows:
                    plain = {field.name: _spell(row, field) for field in self.schema}
                    lines.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")

    def _read_current(self, part: Path) -> pa.Table:
        """Read a part without the rows of files that had changed when this command began."""
        rows, left_out = self._read(part), self._changed.get(part)
        if not left_out:
            return rows
        return rows.filter(pa.array([number not in left_out for number in range(rows.num_rows)]))

    def _read(self, part: Path) -> pa.Table:
        if self.path.suffix == ".parquet":
            return pyarrow.parquet.read_table(part)
        if self.path.suffix == ".csv":
            options = pyarrow.csv.ConvertOptions(
                column_types=self.schema, null_values=[""], strings_can_be_null=True
            )
            lines = pyarrow.csv.ParseOptions(newlines_in_values=True)
            return pyarrow.csv.read_csv(part, parse_options=lines, convert_options=options)
        # Not splitlines, which also cuts at other characters that a path may have.
        rows = [json.loads(line) for line in part.read_text("utf-8").split("\n") if line]
        return pa.Table.from_pylist(rows, self.schema)


def _spell(row: Row, field: pa.Field) -> Any:
    """Return a value of a row; a float32 in the fewest digits that restore it."""
    value = getattr(row, field.name)
    return float(str(np.float32(value))) if value and field.type == pa.float32() else value


class Seen:
    """The paths so far, as a digest of eight bytes each instead of the path itself."""

    def __init__(self) -> None:
        self._digests: set[int] = set()

    def add(self, path: str) -> bool:
        """Add a path and return whether it is new; the form of its accents makes no other path."""
        name = composed(path)
        if name != path and _are_two(name, path):
            name = path
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        before = len(self._digests)
        self._digests.add(number)
        return len(self._digests) > before


def _are_two(path: str, other: str) -> bool:
    try:
        return not Path(path).samefile(other)
    except OSError:  # one of them is not there
        return False


def ends_of(paths: Sequence[str]) -> str:
    """Return the first and the last of some paths as text."""
    return " to ".join(dict.fromkeys(printable(path) for path in (paths[0], paths[-1])))


def printable(path: str) -> str:
    """Return a path as text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
