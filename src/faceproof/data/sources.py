"""From plain settings to a data set: which kind it is, and what its kind's dataclass checks.

A data set of one's own is a function that takes its settings by name and returns a `DataSet`:
`kind: my_package.my_function`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from faceproof.data import listing
from faceproof.data.combined import CombinedData
from faceproof.data.guess import KIND, guess_settings, name_of
from faceproof.data.listing import DataSet, FolderData, Source
from faceproof.data.prepared import PreparedData
from faceproof.data.protocols.celebdf import CelebDFData
from faceproof.data.protocols.deeperforensics import DeeperForensicsData
from faceproof.data.protocols.deepfakebench import DeepfakeBenchData
from faceproof.data.protocols.dfdc import DfdcData
from faceproof.data.protocols.faceforensics import DfdData, FaceForensicsData
from faceproof.data.protocols.forgerynet import ForgeryNetData
from faceproof.data.protocols.published import PublishedData
from faceproof.data.table import counts, describe_counts
from faceproof.errors import FaceproofError
from faceproof.lookup import find
from faceproof.settings import SettingError, make
from faceproof.task import get_task


@dataclass(frozen=True)
class OwnData:
    """A data set that a function of the user's own lists."""

    function: Any  # takes the settings by name and returns a `DataSet`
    settings: Mapping[str, Any]
    where: str = "data"  # their place in the configuration, for messages

    def list(self) -> DataSet:
        """Call the function."""
        found = make(self.function, self.settings, self.where)
        if not isinstance(found, DataSet):
            raise FaceproofError(
                f"{self.where}.kind names a function that returns a {type(found).__name__}; it "
                "must return a faceproof.data.DataSet"
            )
        return found


TABLE = "table"
KINDS: dict[str, Any] = {
    "folder": FolderData,
    TABLE: listing.TableData,
    "prepared": PreparedData,
    "shards": listing.ShardData,
    "combined": CombinedData,
    "demo": listing.DemoData,
    "faceforensics": FaceForensicsData,
    "dfd": DfdData,
    "celebdf": CelebDFData,
    "dfdc": DfdcData,
    "deeperforensics": DeeperForensicsData,
    "deepfakebench": DeepfakeBenchData,
    "forgerynet": ForgeryNetData,
    "protocol": PublishedData,
}


def resolve(values: Any) -> Any:
    """Return the settings of a data set with what they leave to be guessed, as it is stored.

    Raises:
        FaceproofError: the folders do not tell.
    """
    if not isinstance(values, Mapping):
        return values
    if isinstance(sets := values.get("sets"), Mapping):
        return {**values, "sets": {name: resolve(one) for name, one in sets.items()}}
    if values.get("kind") == KIND:
        return guess_settings(values)
    if values.get("kind") == TABLE and values.get("name") is None:
        return {**values, "name": name_of(Path(str(values.get("file"))).stem) or TABLE}
    return values


def make_source(values: Any) -> Source:
    """Return the data set that plain settings describe; nothing is listed yet.

    `values` are `kind`, one of `KINDS` or a function of the user's own, and its settings.

    Raises:
        FaceproofError: the settings describe no data set.
    """
    if not isinstance(values, Mapping):
        raise SettingError("", f"= {values!r} must be the settings of a data set")
    settings = dict(values)
    kind = settings.pop("kind", None)
    if kind is None:
        raise SettingError("kind", f"is missing; choose one of {', '.join(KINDS)}")
    create = find(kind, KINDS, "data.kind")
    if create not in KINDS.values():
        return OwnData(create, settings)
    if create is CombinedData:
        sets = settings.get("sets")
        if not (isinstance(sets, Mapping) and all(isinstance(v, Mapping) for v in sets.values())):
            raise SettingError("sets", f"= {sets!r} must be names and the data sets they stand for")
        settings["sets"] = {name: _part(name, one) for name, one in sets.items()}
    source: Source = make(create, settings)
    return source


def _part(name: str, values: Mapping[str, Any]) -> Source:
    try:
        part = make_source(values)
    except SettingError as error:
        raise error.within(f"sets.{name}") from error
    return replace(part, where=f"data.sets.{name}") if isinstance(part, OwnData) else part


def check_both_classes(source: Source) -> None:
    """Refuse to train where no folder word stands for one of the classes."""
    parts = list(source.sets.values()) if isinstance(source, CombinedData) else [source]
    folders = [part for part in parts if isinstance(part, FolderData)]
    if not folders or len(folders) < len(parts):
        return
    found = {meaning for folder in folders for meaning in folder.labels.values()}
    for name in get_task(folders[0].task).classes:
        if name not in found:
            raise FaceproofError(
                f"no folder word of data.labels means {name}, and a detector is trained on both "
                f"classes: add one with data.labels.WORD={name}"
            )


def check_splits(rows: pa.Table, data: DataSet) -> None:
    """Refuse to train without images of both classes, in training and in validation."""
    present = counts(rows, "split", "label")
    for split in ("train", "val"):
        for label in data.task.classes:
            if present.get((split, label)):
                continue
            advice = "change data.splits or data.ratios"
            lacks = f"image of class {label}"
            if not any(name == split for name, _ in present):
                lacks = "image"
                if split == "val":
                    advice = (
                        "take some from train by data.splits.train=auto, which leaves test as it is"
                    )
            raise FaceproofError(
                f"data set {data.name} has no {lacks} in its split {split}; found "
                f"{describe_counts(rows)}; train and val need both classes: {advice}"
            )
