"""The path of an image in a shard: one string that says where its bytes lie.

`ROOT/shard-000003.tar@OFFSET-LENGTH-CRC32/NAME` stands in the image table like the path of a file.
So one table may hold files and images in shards, and a run finds its images by its own record.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.io.stamps import stamp_of

MARK = ".tar@"
SHARD = r"^(?P<shard>.+?/[^/@]+\.tar)@"  # the shard of a path; a pattern for pyarrow's RE2 too
MEMBER = re.compile(
    r"(?P<root>.+?)/(?P<shard>[^/@]+\.tar)@(?P<offset>\d{1,19})-(?P<length>\d{1,19})-(?P<crc>[0-9a-f]{8})/"
)
PLACE = ("shard", "offset", "length", "crc32")  # the columns that say where an image lies
IN_SHARD = "in a shard"  # the stamp of an image whose path has its checksum


@dataclass(frozen=True)
class Member:
    """Where an image lies: bytes of a shard, and their CRC-32."""

    root: str
    shard: str
    offset: int
    length: int
    crc: int

    def path(self, name: str) -> str:
        """Return the path of the image called `name` that lies here."""
        place = f"{self.offset}-{self.length}-{self.crc:08x}"
        return f"{self.root}/{self.shard}@{place}/{name}"


def find_member(path: str) -> Member | None:
    """Return where in a shard an image lies, or None for a plain file."""
    if MARK not in path or not (found := MEMBER.match(path)):
        return None
    root, shard, offset, length, crc = found.groups()
    return Member(root, shard, int(offset), int(length), int(crc, 16))


def stamp_of_image(path: str) -> str | None:
    """Return what changes whenever an image does, in a file (see `stamp_of`) or in a shard."""
    return stamp_of(path) if find_member(path) is None else IN_SHARD


def member_paths(root: str, samples: pa.Table) -> pa.ChunkedArray:
    """Return `Member.path` of every row of a table with the columns `path` and `PLACE`."""
    shard, offset, length, crc = (samples[name] for name in PLACE)
    numbers = crc.combine_chunks().to_numpy().astype(">u4").view(np.uint8)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    hexadecimal = digits[np.stack([numbers >> 4, numbers & 15], axis=1)]  # (4 N, 2)
    ends = pa.py_buffer(np.arange(0, 8 * len(crc) + 1, 8, dtype=np.int64))
    buffers = [None, ends, pa.py_buffer(hexadecimal)]
    checksums = pa.Array.from_buffers(pa.large_string(), len(crc), buffers).cast(pa.string())
    return pc.binary_join_element_wise(
        f"{root}/", shard, "@", offset.cast(pa.string()), "-", length.cast(pa.string()), "-",
        pa.chunked_array([checksums]), "/", samples["path"], "",
    )  # fmt: skip


def any_in_shards(paths: pa.Array | pa.ChunkedArray) -> bool:
    """Say quickly whether some of the paths may lie in shards; false for plain files."""
    return bool(pc.any(pc.match_substring(paths, MARK)).as_py())


def shards_of(paths: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the path or URL of the shard that each image lies in, null for a plain file."""
    return pc.struct_field(pc.extract_regex(paths, SHARD), "shard")


def roots_of(paths: pa.ChunkedArray) -> list[str]:
    """Return the sets of shards (folders or URLs) that some of the paths lie in."""
    if not any_in_shards(paths):
        return []
    shards = shards_of(paths).unique().to_pylist()
    return sorted({shard.rpartition("/")[0] for shard in shards if shard is not None})
