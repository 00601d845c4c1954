"""Audit a data set before training: what in it would distort a detector's metrics.

Images and groups that leak across splits, contradictory labels, unreadable and odd files, class
imbalance, and shortcuts: properties of the files that alone predict the class.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.duplicates import Pair, find_pairs
from faceproof.audit.related import counterparts_in_two_splits, named_in_two_splits
from faceproof.audit.shortcuts import FILE_LIMIT, Shortcut, find_shortcuts, too_few
from faceproof.data.kinds import FORMATS
from faceproof.data.listing import DataSet
from faceproof.data.names import IDENTITY, KEYS, SOURCE_VIDEO
from faceproof.data.table import counts
from faceproof.evaluation.groups import unit_codes
from faceproof.io.cache import load_or_compute_json
from faceproof.words import apart

FORMAT = 5  # raised with every change to what an audit holds
MAX_IMBALANCE = 10.0
MIN_SIDE = 32  # pixels
MAX_ASPECT = 3.0

# An error stops training and a warning does not; with either the command ends with exit code 1.
Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

NAMED = {SOURCE_VIDEO: "source videos", IDENTITY: "people"}
LEAK_ADVICE = "keep each image in one split alone, or divide the splits anew"
# Severity, meaning and advice for each kind of pair that `find_pairs` counts.
DUPLICATES: dict[str, tuple[Severity, str, str]] = {
    "identical files across splits": ("error", "the same file is in two splits", LEAK_ADVICE),
    "near-duplicates across splits": (
        "error", "images that look almost the same are in two splits", LEAK_ADVICE,
    ),
    "identical files with different labels": (
        "warning", "the same file has both labels, of which one is wrong", "correct or remove them",
    ),
    "near-duplicates with different labels": (
        "info", "images that look almost the same have different labels, as a photo and its "
        "retouched copy do", "look at the pairs in audit.html",
    ),
    "identical files within a split": (
        "info", "the same file is in its split more than once", "remove the copies",
    ),
    "near-duplicates within a split": (
        "info", "images that look almost the same are in one split", "no action if they are few",
    ),
}  # fmt: skip

# What takes a shortcut away, by the property that is one.
CURES = {
    "file type": "save both classes in one file format",
    "file size": "save both classes in one format, side and quality",
    "pixel size": "crop and resize both classes to one side by the same steps",
    "JPEG tables": "encode both classes again at one JPEG quality",
    "metadata": "strip the metadata of both classes",
    "mean colour": "take both classes from the same cameras, or train with augment=colour",
    "sharpness": "resize and encode both classes by the same steps",
    "radial spectrum": "resize and encode both classes by the same steps",
    "detail along the border": "crop both classes alike, or train with augment=zoom",
}


@dataclass(frozen=True)
class Finding:
    """One problem of a data set."""

    severity: Severity
    kind: str  # what was found; `leak: ...` and `shortcut: ...` are the kinds that distort metrics
    count: int  # of the files, pairs or groups that are concerned
    text: str  # what it means
    advice: str

    def __str__(self) -> str:
        what, colon, which = self.kind.partition(": ")
        if not colon:
            what, which = self.severity, self.kind
        return f"{what.upper()}: {which} ({self.count:,}): {self.text}; {self.advice}"


@dataclass(frozen=True)
class Audit:
    """What was found in a data set.

    Examples:
        >>> import faceproof as fp
        >>> audit = fp.audit_data(fp.list_data("demo_faces", num_per_class=20))
        >>> audit.clear, audit.num_images, audit.leaks
        (True, 40, ())
    """

    data: str  # its name
    num_images: int  # readable ones
    findings: tuple[Finding, ...]  # errors first
    balance: dict[str, dict[str, int]]  # number of images by split and label
    shortcuts: tuple[Shortcut, ...]  # each measured property, the most predictive first
    pairs: tuple[Pair, ...]  # the most serious pairs of duplicates

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Return the errors, which training refuses: images or groups in more than one split."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def clear(self) -> bool:
        """Say whether there is neither an error nor a warning."""
        return all(finding.severity == "info" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the audit as plain values."""
        return {"format": FORMAT, "clear": self.clear, **asdict(self)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Audit":
        """Return the audit that `to_json` wrote."""
        pairs = [
            Pair(**pair | {name: tuple(pair[name]) for name in ("labels", "splits")})
            for pair in plain["pairs"]
        ]
        findings = tuple(Finding(**finding) for finding in plain["findings"])
        shortcuts = tuple(Shortcut(**shortcut) for shortcut in plain["shortcuts"])
        name, number, balance = plain["data"], plain["num_images"], plain["balance"]
        return cls(name, number, findings, balance, shortcuts, tuple(pairs))


def cached_audit(data: DataSet, stats: pa.Table) -> Audit:
    """Audit a data set, or return the cached audit of the very same images; see `audit_data`."""
    digest = hashlib.blake2b(f"{FORMAT} {data.name} {data.max_unreadable}".encode(), digest_size=12)
    for column in (*data.table.columns, stats["content"], stats["reason"]):
        digest.update(repr(column.to_pylist()).encode())
    return load_or_compute_json(
        "audit", digest.hexdigest(), lambda: audit_data(data, stats).to_json(), Audit.from_json
    )


def audit_data(data: DataSet, stats: pa.Table) -> Audit:
    """Audit a data set, given the statistics of its files, row by row."""
    good = pc.is_null(stats["reason"])
    rows, readable = data.table.filter(good), stats.filter(good)
    pairs, numbers = find_pairs(rows, readable)
    shortcuts, unmeasured = _shortcuts(data, rows, readable)
    balance = _balance(rows)
    findings = [
        *_unreadable(data, stats.num_rows - rows.num_rows),
        *_duplicates(numbers),
        *_leaking_groups(rows),
        *_leaking_names(rows, readable),
        *_imbalance(balance, data),
        *_odd_files(readable),
        *(_shortcut(shortcut) for shortcut in shortcuts if shortcut.exceeds_limit),
        *unmeasured,
    ]
    worst_first = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(data.name, rows.num_rows, tuple(worst_first), balance, tuple(shortcuts), pairs)


def _duplicates(numbers: dict[str, int]) -> list[Finding]:
    found = []
    for name, count in numbers.items():
        if count:
            severity, text, advice = DUPLICATES[name]
            kind = f"leak: {name}" if severity == "error" else name
            found.append(Finding(severity, kind, count, text, advice))
    return found


def _leaking_groups(rows: pa.Table) -> list[Finding]:
    connected = "images connected by people or videos that they share (data.groups) are"
    meanings = {"group": "images of one group (a video or a person, say) are"}
    if not rows["component"].equals(rows["group"]):
        meanings["component"] = connected
    meanings["pair"] = "fakes and what they were made from (the column pair) are"
    found = []
    for column, meaning in meanings.items():
        known = rows.filter(pc.is_valid(rows[column]))
        seen = pa.table({"name": known[column], "split": known["split"].cast(pa.string())})
        splits = seen.group_by("name").aggregate([("split", "count_distinct")])
        leaking = splits.filter(pc.greater(splits["split_count_distinct"], 1))["name"].to_pylist()
        if leaking:
            text = f"{meaning} in two splits, first {min(leaking)}"
            kind = f"leak: {column}s across splits"
            found.append(Finding("error", kind, len(leaking), text, LEAK_ADVICE))
    return found


def _leaking_names(rows: pa.Table, stats: pa.Table) -> list[Finding]:
    """Find videos and people in two splits by the names of files, whatever the groups are."""
    rated = pc.not_equal(rows["split"].cast(pa.string()), "unlabelled")
    rows, stats = rows.filter(rated), stats.filter(rated)
    paths, splits = rows["path"].to_pylist(), rows["split"].cast(pa.string()).to_pylist()
    if len(set(splits)) < 2:
        return []
    found = []
    for key, number, total, first in named_in_two_splits(paths, splits):
        what = NAMED[key]
        text = (
            f"by the names of files {number:,} of {total:,} {what} are in two splits, first {first}"
        )
        advice = f"keep each in one split: data.groups=[{','.join(KEYS)}], or a table with splits"
        found.append(Finding("error", f"leak: {what} across splits", number, text, advice))
    if pairs := counterparts_in_two_splits(paths, splits, stats["look"]):
        one, other = pairs[0]
        text = f"images of one name that look alike are in two splits, first {one} and {other}"
        advice = (
            "keep an image and what was made of it in one split: name the part of the path that "
            'they share, as in "data.layout=\'{label}/{picture}.*\'" "data.groups=[picture]"'
        )
        found.append(Finding("error", "leak: counterparts across splits", len(pairs), text, advice))
    return found


def _balance(rows: pa.Table) -> dict[str, dict[str, int]]:
    balance: dict[str, dict[str, int]] = {}
    for (split, label), count in counts(rows, "split", "label").items():
        balance.setdefault(str(split), {})[label or "no label"] = count
    return balance


def _imbalance(balance: dict[str, dict[str, int]], data: DataSet) -> list[Finding]:
    negative, positive = (balance.get("train", {}).get(name, 0) for name in data.task.classes)
    ratio = max(negative, positive) / max(min(negative, positive), 1)
    if ratio <= MAX_IMBALANCE:
        return []
    text = f"training has {ratio:.0f} times as many images of one class as of the other"
    advice = "train with class_weights=balanced"
    return [Finding("info", "class imbalance", negative + positive, text, advice)]


def _unreadable(data: DataSet, number: int) -> list[Finding]:
    if number == 0:
        return []
    severity: Severity = "warning" if number > data.max_unreadable * data.table.num_rows else "info"
    text = f"these files cannot be read; data.max_unreadable is {data.max_unreadable:.1%} of all"
    return [Finding(severity, "unreadable files", number, text, "repair or remove them")]


def _odd_files(stats: pa.Table) -> list[Finding]:
    formats, suffixes = stats["format"].to_pylist(), stats["suffix"].to_pylist()
    misnamed = sum(
        suffix not in FORMATS.get(kind, (suffix,))
        for kind, suffix in zip(formats, suffixes, strict=True)
    )
    width, height = (stats[name].to_numpy() for name in ("width", "height"))
    tiny = int((np.minimum(width, height) < MIN_SIDE).sum())
    long = int((np.maximum(width, height) > MAX_ASPECT * np.minimum(width, height)).sum())
    look = "check that they show a face"
    found = (
        ("misnamed files", misnamed, "the file name ends in another format than the file has",
         "faceproof reads them; rename them for other programs"),
        ("tiny images", tiny, f"one side is below {MIN_SIDE} pixels", look),
        ("elongated images", long, f"one side is more than {MAX_ASPECT:.0f} times the other", look),
    )  # fmt: skip
    return [Finding("info", kind, count, *words) for kind, count, *words in found if count]


def _shortcuts(
    data: DataSet, rows: pa.Table, stats: pa.Table
) -> tuple[list[Shortcut], list[Finding]]:
    """Measure the shortcuts of the labelled images, or say why that cannot be done."""
    labelled = pc.is_valid(rows["label"])
    known = rows.filter(labelled)
    classes = pa.array(data.task.classes)
    labels = pc.index_in(known["label"].cast(pa.string()), classes).to_numpy().astype(np.int64)
    units, notes = unit_codes(known), list[Finding]()
    if (few := too_few(labels, units)) and known["component"].null_count < known.num_rows:
        by_group = unit_codes(known.drop_columns(["component"]))
        if not too_few(labels, by_group):
            text = f"the intervals of shortcuts take groups for independent, for there are {few}"
            advice = "do not rely on the intervals: people or videos connect these groups"
            notes.append(Finding("info", "shortcuts by group", known.num_rows, text, advice))
            units = by_group
    if known.num_rows and (few := too_few(labels, units)):
        text = f"nobody knows whether a property of the files gives the class away: {few}"
        advice = "audit more of the data before you trust metrics on it"
        return [], [Finding("info", "shortcuts not measured", known.num_rows, text, advice)]
    return find_shortcuts(stats.filter(labelled), labels, units), notes


def _shortcut(shortcut: Shortcut) -> Finding:
    assert shortcut.limit is not None
    low, limit = apart(shortcut.low, shortcut.limit, ".3f")
    text = (
        f"{shortcut.name} alone predicts the class with ROC-AUC {shortcut.auroc:.3f} (95% interval "
        f"{low} to {shortcut.high:.3f}; above {limit} is too much), so a "
        "detector can answer without looking at the face"
    )
    advice = CURES.get(shortcut.name, "bring both classes into one form by the same steps")
    if shortcut.limit != FILE_LIMIT:
        advice += " (unless it is a trace of the forgery itself)"
    advice += "; measure what is left without it by faceproof evaluate neutral=jpeg"
    return Finding("warning", f"shortcut: {shortcut.name}", 1, text, advice)
