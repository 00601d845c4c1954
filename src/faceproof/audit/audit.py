"""The audit: what in a data set would make a detector's figures worthless.

Duplicates and groups across splits, contradictory labels, unreadable and odd files, class balance,
and shortcuts: incidentals of the files that alone tell the classes apart.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.duplicates import equal_groups, near_pairs
from faceproof.audit.shortcuts import Shortcut, find_shortcuts
from faceproof.data.listing import DataSet
from faceproof.data.table import counts
from faceproof.io.cache_folder import cache_folder
from faceproof.io.run_folder import write_text

FORMAT = 1
MAX_PAIRS = 10_000  # recorded of each kind; all are counted
MAX_IMBALANCE = 10.0
MIN_SIDE = 32  # pixels
MAX_ASPECT = 3.0
SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "GIF": {".gif"},
    "BMP": {".bmp", ".dib"},
    "TIFF": {".tif", ".tiff"},
}

# leak: stops training; against: exit code 1; note: for your information
Level = Literal["leak", "against", "note"]
LEVELS: tuple[Level, ...] = ("leak", "against", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that was found: how grave, of what kind, how many, and what it means."""

    level: Level
    kind: str
    count: int
    text: str


@dataclass(frozen=True)
class Pair:
    """Two images that look the same; a distance of 0 with `equal` is the same bytes."""

    first: str
    second: str
    distance: int
    equal: bool
    labels: tuple[str | None, str | None]
    splits: tuple[str, str]

    @property
    def leaks(self) -> bool:
        """Say whether the pair straddles splits."""
        return self.splits[0] != self.splits[1]

    @property
    def contradicts(self) -> bool:
        """Say whether the same image has both labels."""
        return None not in self.labels and self.labels[0] != self.labels[1]


@dataclass(frozen=True)
class Audit:
    """What was found in a data set."""

    data: str
    num_images: int
    findings: tuple[Finding, ...]
    balance: dict[str, dict[str, int]]
    shortcuts: tuple[Shortcut, ...]
    pairs: tuple[Pair, ...]

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Return what must not be trained on."""
        return tuple(finding for finding in self.findings if finding.level == "leak")

    @property
    def clear(self) -> bool:
        """Say whether nothing stands against training."""
        return all(finding.level == "note" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return {"format": FORMAT, "clear": self.clear, **asdict(self)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Audit":
        """Return the audit that `to_json` wrote."""
        pairs = (
            Pair(**pair | {name: tuple(pair[name]) for name in ("labels", "splits")})
            for pair in plain["pairs"]
        )
        return cls(
            plain["data"],
            plain["num_images"],
            tuple(Finding(**finding) for finding in plain["findings"]),
            plain["balance"],
            tuple(Shortcut(**shortcut) for shortcut in plain["shortcuts"]),
            tuple(pairs),
        )


def cached_audit(data: DataSet, stats: pa.Table) -> Audit:
    """Audit a data set, or return what the last audit of the very same images found."""
    digest = hashlib.blake2b(f"{FORMAT} {data.name} {data.max_unreadable}".encode(), digest_size=12)
    for column in (*data.table.columns, stats["content"], stats["reason"]):
        digest.update(repr(column.to_pylist()).encode())
    memory = cache_folder() / "audits" / f"{digest.hexdigest()}.json"
    if memory.is_file():
        return Audit.from_json(json.loads(memory.read_text()))
    audit = audit_data(data, stats)
    memory.parent.mkdir(parents=True, exist_ok=True)
    write_text(memory, json.dumps(audit.to_json()))
    return audit


def audit_data(data: DataSet, stats: pa.Table) -> Audit:
    """Audit a data set.

    Args:
        data: the data set.
        stats: the facts of its files, row by row.
    """
    good = pc.is_null(stats["reason"])
    rows, readable = data.table.filter(good), stats.filter(good)
    pairs, numbers = find_pairs(rows, readable)
    labelled = pc.is_valid(rows["label"])
    classes = pa.array(data.task.classes)
    labels = pc.index_in(rows["label"].cast(pa.string()).filter(labelled), classes).to_numpy()
    shortcuts = find_shortcuts(readable.filter(labelled), labels.astype(np.int64))
    balance = _balance(rows)
    findings = [
        *_unreadable(data, stats.num_rows - rows.num_rows),
        *_duplicates(numbers),
        *_straddling_groups(rows),
        *_imbalance(balance, data),
        *_odd_files(readable),
        *(_shortcut_finding(shortcut) for shortcut in shortcuts if shortcut.stands_against),
    ]
    gravest = sorted(findings, key=lambda finding: LEVELS.index(finding.level))
    return Audit(data.name, rows.num_rows, tuple(gravest), balance, tuple(shortcuts), pairs)


def find_pairs(rows: pa.Table, stats: pa.Table) -> tuple[tuple[Pair, ...], dict[str, int]]:
    """Find equal and near duplicates.

    Returns:
        The gravest pairs, at most `MAX_PAIRS`, and how many there are of each kind. Of many equal
        files each is paired with the first alone.
    """
    content = _fixed_bytes(stats["content"], 16)
    equal = [
        np.stack([np.full(len(run) - 1, run[0]), run[1:]], axis=1)
        for run in equal_groups(content.view("S16").ravel())
    ]
    repeats = np.concatenate([np.empty((0, 2), np.int64), *equal])
    single = np.setdiff1d(np.arange(rows.num_rows), repeats[:, 1])
    hashes = _fixed_bytes(stats["look"], 32).view(np.uint16)
    near, distance = near_pairs(hashes[single])
    both = np.concatenate([repeats, single[near]])
    gap = np.concatenate([np.zeros(len(repeats), np.int64), distance])
    same = np.arange(len(both)) < len(repeats)
    labels, splits = (
        rows[name].cast(pa.string()).combine_chunks().dictionary_encode()
        for name in ("label", "split")
    )
    differ = {
        "split": _differ(splits, both),
        "label": _differ(labels, both),
    }
    numbers = {
        "equal across splits": int((same & differ["split"]).sum()),
        "near across splits": int((~same & differ["split"]).sum()),
        "equal with other labels": int((same & differ["label"]).sum()),
        "near with other labels": int((~same & differ["label"]).sum()),
        "equal within a split": int((same & ~differ["split"]).sum()),
        "near within a split": int((~same & ~differ["split"]).sum()),
    }
    gravest = np.lexsort((gap, ~differ["label"], ~differ["split"]))[:MAX_PAIRS]
    return tuple(_pair(rows, both[n], int(gap[n]), bool(same[n])) for n in gravest), numbers


def _fixed_bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.uint8]:
    """Return a column of fixed-size binary as (N, width) uint8."""
    array = column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1], np.uint8)
    return flat[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)


def _differ(words: pa.DictionaryArray, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say for each pair of rows whether both have a word and the words differ."""
    codes = words.indices.fill_null(-1).to_numpy()[pairs]
    return np.asarray((codes[:, 0] != codes[:, 1]) & (codes >= 0).all(axis=1))


def _pair(rows: pa.Table, pair: npt.NDArray[np.int64], distance: int, equal: bool) -> Pair:
    """Name the two rows of a pair."""
    first, second = (rows.slice(int(row), 1).to_pylist()[0] for row in pair)
    return Pair(
        first["path"],
        second["path"],
        distance,
        equal,
        (first["label"], second["label"]),
        (first["split"], second["split"]),
    )


def _duplicates(numbers: dict[str, int]) -> list[Finding]:
    """Judge the numbers of duplicates."""
    meanings: dict[str, tuple[Level, str]] = {
        "equal across splits": ("leak", "the same file stands in two splits"),
        "near across splits": ("leak", "nearly the same image stands in two splits"),
        "equal with other labels": ("against", "the same file has both labels"),
        "near with other labels": ("note", "nearly the same image has both labels"),
        "equal within a split": ("note", "a file stands in its split more than once"),
        "near within a split": ("note", "nearly the same image stands in its split twice"),
    }
    return [
        Finding(meanings[kind][0], f"duplicates {kind}", count, meanings[kind][1])
        for kind, count in numbers.items()
        if count
    ]


def _straddling_groups(rows: pa.Table) -> list[Finding]:
    """Find groups with images in more than one split."""
    grouped = rows.filter(pc.is_valid(rows["group"]))
    seen = pa.table({"group": grouped["group"], "split": grouped["split"].cast(pa.string())})
    splits = seen.group_by("group").aggregate([("split", "count_distinct")])
    straddling = splits.filter(pc.greater(splits["split_count_distinct"], 1))["group"].to_pylist()
    if not straddling:
        return []
    text = f"a group has images in two splits, {min(straddling)} for one"
    return [Finding("leak", "groups across splits", len(straddling), text)]


def _balance(rows: pa.Table) -> dict[str, dict[str, int]]:
    """Count images by split and label."""
    balance: dict[str, dict[str, int]] = {}
    for (split, label), count in counts(rows, "split", "label").items():
        balance.setdefault(str(split), {})[label or "no label"] = count
    return balance


def _imbalance(balance: dict[str, dict[str, int]], data: DataSet) -> list[Finding]:
    """Judge the balance of classes in training."""
    negative, positive = (balance.get("train", {}).get(name, 0) for name in data.task.classes)
    ratio = max(negative, positive) / max(min(negative, positive), 1)
    if ratio <= MAX_IMBALANCE:
        return []
    text = f"{ratio:.0f} times as many of one class in training: class_weights=balanced"
    return [Finding("note", "class balance", negative + positive, text)]


def _unreadable(data: DataSet, number: int) -> list[Finding]:
    """Judge the number of unreadable files."""
    if number == 0:
        return []
    too_many = number > data.max_unreadable * data.table.num_rows
    text = f"cannot be read; data.max_unreadable is {data.max_unreadable:.1%}"
    return [Finding("against" if too_many else "note", "unreadable files", number, text)]


def _odd_files(stats: pa.Table) -> list[Finding]:
    """Find files of a strange name, size or shape."""
    formats, suffixes = stats["format"].to_pylist(), stats["suffix"].to_pylist()
    misnamed = sum(
        suffix not in SUFFIXES.get(kind, {suffix})
        for kind, suffix in zip(formats, suffixes, strict=True)
    )
    width, height = (stats[name].to_numpy() for name in ("width", "height"))
    tiny = int((np.minimum(width, height) < MIN_SIDE).sum())
    long = int((np.maximum(width, height) > MAX_ASPECT * np.minimum(width, height)).sum())
    texts = {
        "misnamed files": (misnamed, "the name says another format than the file has"),
        "tiny images": (tiny, f"a side below {MIN_SIDE} pixels"),
        "long images": (long, f"one side more than {MAX_ASPECT:.0f} times the other"),
    }
    return [Finding("note", kind, number, text) for kind, (number, text) in texts.items() if number]


def _shortcut_finding(shortcut: Shortcut) -> Finding:
    """Say what a strong shortcut means."""
    text = (
        f"{shortcut.name} alone tells the classes apart: AUROC {shortcut.auroc:.3f} "
        f"({shortcut.low:.3f} to {shortcut.high:.3f}, limit {shortcut.limit})"
    )
    return Finding("against", f"shortcut: {shortcut.name}", 1, text)
