"""The order in which images in shards are trained on, and fetching what comes next meanwhile.

Few shards are open at a time: they are shuffled, and images are mixed among `MIXED` of them. A
image's neighbours in an epoch are therefore those of its own shards and a few others, which are
others in every epoch; within a shard the images lie mixed already.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.data.shards.reading import MIXED, SHARD, shard_set

AHEAD = MIXED  # shards that are fetched before they are needed
PLAIN = 1024  # files that count as one shard where a table holds both

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shards:
    """Which shard each row of a table lies in.

    Attributes:
        names: the shards; None for so many plain files.
        of_row: (N,) int64 places in `names`.
    """

    names: list[str | None]
    of_row: Rows

    def order(self, seed: int, epoch: int) -> Rows:
        """Return the order of an epoch, (N,): a function of seed and epoch alone."""
        generator = np.random.default_rng((seed, epoch))
        of_place = np.empty(len(self.names), np.int64)
        of_place[generator.permutation(len(self.names))] = np.arange(len(self.names)) // MIXED
        rows = generator.permutation(len(self.of_row))
        return rows[np.argsort(of_place[self.of_row[rows]], kind="stable")]

    def fetching_ahead(self, rows: Rows) -> Iterator[int]:
        """Yield rows, and fetch the shards of those that come next from their object store."""
        coming = self._coming(rows)
        if not coming:
            yield from rows.tolist()
            return
        waiting: SimpleQueue[str | None] = SimpleQueue()
        dropped, begun = Event(), 0
        # A process may end while it fetches: what it leaves is removed by the next one.
        Thread(target=_fetch, args=(waiting, dropped), name="shards", daemon=True).start()
        try:
            for place, row in enumerate(rows.tolist()):
                while begun < len(coming) and coming[max(begun - AHEAD, 0)][0] <= place:
                    waiting.put(coming[begun][1])
                    begun += 1
                yield row
        except BaseException:
            dropped.set()
            raise
        finally:  # where the rows have ended, loading processes are yet to read some
            waiting.put(None)

    def _coming(self, rows: Rows) -> list[tuple[int, str]]:
        """Return the shards of object stores in the order of their first row, and its place."""
        codes, first = np.unique(self.of_row[rows], return_index=True)
        found = sorted(zip(first.tolist(), codes.tolist(), strict=True))
        named = [(place, self.names[code]) for place, code in found]
        return [(place, name) for place, name in named if name is not None and "://" in name]


def _fetch(waiting: "SimpleQueue[str | None]", dropped: Event) -> None:
    """Fetch shards, until no more come or one cannot be: whoever needs it then meets its error."""
    with suppress(Exception):
        while (shard := waiting.get()) is not None and not dropped.is_set():
            _bring(shard)


def _bring(shard: str) -> None:
    root, _, name = shard.rpartition("/")
    shard_set(root).bring(name, Path.stat)  # which, unlike Path, fails where there is none


def find_shards(paths: pa.Array | pa.ChunkedArray) -> Shards | None:
    """Return which shard each path lies in, or None where all are plain files."""
    if not pc.any(pc.match_substring(paths, ".bin@")).as_py():
        return None
    found = pc.struct_field(pc.extract_regex(paths, SHARD), "shard")
    words = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    words = words.dictionary_encode()
    names: list[str | None] = words.dictionary.to_pylist()
    if not names:
        return None
    plain = np.flatnonzero(words.is_null().to_numpy(zero_copy_only=False))
    of_row = words.indices.fill_null(0).to_numpy().astype(np.int64)
    of_row[plain] = len(names) + np.arange(len(plain)) // PLAIN
    return Shards([*names, *[None] * -(-len(plain) // PLAIN)], of_row)
