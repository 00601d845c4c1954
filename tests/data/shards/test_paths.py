"""Paths of images in shards."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from faceproof.data.shards.paths import PLACE, Member, member_paths


def test_paths_are_spelt_as_members_are(written: Path) -> None:
    stored = pa.parquet.read_table(written / "samples.parquet")
    places = zip(*(stored[name].to_pylist() for name in PLACE), strict=True)
    wanted = [
        Member(written.as_posix(), *place).path(name)
        for name, place in zip(stored["path"].to_pylist(), places, strict=True)
    ]
    spelt = member_paths(
        written.as_posix(), pa.concat_tables([stored.slice(0, 5), stored.slice(5)])
    )
    assert spelt.to_pylist() == wanted
    assert member_paths("s3://b/s", stored.slice(0, 0)).to_pylist() == []
