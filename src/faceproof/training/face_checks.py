"""Refuses `synthesis.faces` that cannot work, before any file is looked at; without torch."""

import pyarrow as pa

from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.data.combined import CombinedData
from faceproof.data.listing import DataSet, DemoData, FolderData, Source, TableData
from faceproof.data.prepared import PreparedData, has_landmarks
from faceproof.data.protocols.protocol import ProtocolData
from faceproof.data.protocols.published import PublishedData
from faceproof.data.table import select, select_label
from faceproof.errors import FaceproofError
from faceproof.prepare.installed import check_installed

# Whose images are listed in a moment; others are drawn, cut out of videos, or listed by own code.
QUICK = (FolderData, TableData, PreparedData, ProtocolData, PublishedData)


def check_faces_early(config: SynthesisConfig, source: Source) -> None:
    """Refuse to look for faces without a face detector, or for landmarks that nobody has stored.

    Raises:
        FaceproofError: as `check_faces`; or the data set cannot be listed.
    """
    if not config.share:
        return
    if config.faces == "found":
        check_installed()
    elif config.faces == "stored" and isinstance(source, DemoData):
        raise no_landmarks()
    elif config.faces == "stored" and _is_quick(source):
        data = source.list()
        check_faces(config, data.table, data.task.negative)


def _is_quick(source: Source | DataSet) -> bool:
    if isinstance(source, CombinedData):
        return all(map(_is_quick, source.sets.values()))
    return isinstance(source, (*QUICK, DataSet))


def check_faces(config: SynthesisConfig, table: pa.Table, real: str) -> None:
    """Refuse to take the faces where no real training image has stored landmarks.

    Args:
        config: whose `faces` may be `stored`.
        table: an image table.
        real: the label of real images.

    Raises:
        FaceproofError: `synthesis.faces=stored`, and there are none.
    """
    if not config.share or config.faces != "stored":
        return
    rows = select_label(select(table, "train"), real)
    if rows.num_rows and not has_landmarks(rows["path"].to_pylist()):
        raise no_landmarks()


def no_landmarks() -> FaceproofError:
    """Return the error for stored landmarks that are not there."""
    return FaceproofError(
        "synthesis.faces = stored, and no real training image is a crop of faceproof prepare "
        "with landmarks; take data=prepared, or synthesis.faces=found"
    )
