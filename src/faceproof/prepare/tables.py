"""The tables of a prepared folder: a row for each crop, and one for each photograph or video."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from faceproof.data.prepared import IMAGE_SCHEMA
from faceproof.data.table import SCHEMA, WORD
from faceproof.io.plain_files import printable
from faceproof.prepare.media import Crop, Result

OF_SOURCE = ("label", "split", "source", "generator", "component", "pair")
MEDIA_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        *(SCHEMA.field(name) for name in ("label", "split", "source", "generator")),
        ("status", WORD),
        ("reason", pa.string()),  # what is wrong with it, or null
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("seconds", pa.float64()),  # of a video
        ("frames", pa.int32()),  # that were read
        ("lost", pa.int32()),  # frames that could not be read
        ("most_faces", pa.int32()),  # in one frame
        ("tracks", pa.int32()),  # faces that it shows
        ("rejected", pa.int32()),  # detections too small or unsure
        ("blurred", pa.int32()),  # crops not sharp enough
        ("crops", pa.int32()),
    ]
)

Row = Mapping[str, Any]  # of the image table that lists the photographs and videos


def image_table(rows: Sequence[Row], names: Sequence[str], results: Sequence[Result]) -> pa.Table:
    """Return the image table of the crops; its paths are relative to the prepared folder.

    A video's faces are groups: each track of it is one, named by the video, and by its number if
    the video has several. The video stays in one split, whatever its tracks are: all share its
    component. So do the faces of a photograph. Photographs that have a group, such as the frames of
    a video, keep it whatever number of faces they show: a face has another number in each.

    Args:
        rows: of the photographs and videos.
        names: a name for each of them that no other has.
        results: what was made of them.
    """
    columns: dict[str, list[Any]] = {field.name: [] for field in IMAGE_SCHEMA}
    for row, name, result in zip(rows, names, results, strict=True):
        for values in _rows_of(row, name, result):
            for column, value in values.items():
                columns[column].append(value)
    return pa.table(columns, schema=IMAGE_SCHEMA)


def _rows_of(row: Row, name: str, result: Result) -> Iterator[dict[str, Any]]:
    several = len({crop.track for crop in result.crops}) > 1
    is_video = result.seconds is not None
    whole = printable(f"{row['source']}/{name}")
    for crop in result.crops:
        group = row["group"]
        if several and (is_video or group is None):
            group = f"{whole}#{crop.track}"
        elif is_video:
            group = whole
        yield {
            **{column: row[column] for column in OF_SOURCE},
            "component": row["component"] or row["group"] or (whole if several else None),
            "path": crop.file,
            "group": group,
            "original": row["path"],
            **_values_of(crop),
        }


def _values_of(crop: Crop) -> dict[str, Any]:
    face = crop.face
    return {
        "time": crop.time,
        "track": crop.track,
        **face.box._asdict(),
        "landmarks": [place for point in face.landmarks for place in point] or None,
        "score": face.score,
        "inside": crop.inside,
        "sharpness": crop.sharpness,
        "side": crop.side,
        "content": crop.content,
        "bytes": crop.num_bytes,
    }


def media_table(rows: Sequence[Row], results: Sequence[Result]) -> pa.Table:
    """Return a row for each photograph or video, with what was found in it."""
    found = [
        {
            **{column: row[column] for column in ("path", "label", "split", "source", "generator")},
            "status": result.status,
            "reason": result.reason,
            "height": result.height,
            "width": result.width,
            "seconds": result.seconds,
            "frames": result.num_frames,
            "lost": result.lost,
            "most_faces": result.most_faces,
            "tracks": result.num_tracks,
            "rejected": result.rejected,
            "blurred": result.blurred,
            "crops": len(result.crops),
        }
        for row, result in zip(rows, results, strict=True)
    ]
    return pa.Table.from_pylist(found, MEDIA_SCHEMA)


def counts_of(results: Sequence[Result]) -> dict[str, int]:
    """Return how many photographs and videos have each status, and how many crops there are."""
    statuses = Counter(result.status for result in results)
    return {
        "files": len(results),
        **dict(sorted(statuses.items())),
        "several faces": sum(result.most_faces > 1 for result in results),
        "crops": sum(len(result.crops) for result in results),
    }
