"""The order in which training visits images in shards, and fetching shards ahead of their use.

Few shards are open at a time: shards are shuffled, and images are mixed among `MIXED` of them. So
an image's neighbours in an epoch come from its own shard and a few others, which change from epoch
to epoch; within a shard the images are mixed already.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.data.shards.paths import any_in_shards, find_member, shards_of
from faceproof.data.shards.reading import MIXED, shard_set

AHEAD = MIXED  # shards that are fetched before they are needed
# Where no order is known: paths among which they are found, and how many of them at most.
LOOKED_AT, BEGUN = 4096, 3
FILES_AS_SHARD = 1024  # files that count as one shard where a table holds both

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shards:
    """Which shard each row of a table lies in."""

    names: list[str | None]  # path or URL of each shard; None for a group of plain files
    of_row: Rows  # (N,) int64 places in `names`

    def order(self, seed: int, epoch: int) -> Rows:
        """Return the order of an epoch, (N,): a function of seed and epoch alone."""
        generator = np.random.default_rng((seed, epoch))
        of_place = np.empty(len(self.names), np.int64)
        of_place[generator.permutation(len(self.names))] = np.arange(len(self.names)) // MIXED
        rows = generator.permutation(len(self.of_row))
        return rows[np.argsort(of_place[self.of_row[rows]], kind="stable")]

    def fetching_ahead(self, rows: Rows) -> Iterator[int]:
        """Yield rows, while a thread fetches the shards of the rows that come next."""
        coming, num_wanted = self._coming(rows), 0
        with _fetcher() as fetch:
            for place, row in enumerate(rows.tolist()):
                while num_wanted < len(coming) and coming[max(num_wanted - AHEAD, 0)][0] <= place:
                    fetch(coming[num_wanted][1])
                    num_wanted += 1
                yield row

    def _coming(self, rows: Rows) -> list[tuple[int, str]]:
        """Return the place of each shard's first row, and the shard, of object stores only."""
        codes, first = np.unique(self.of_row[rows], return_index=True)
        found = sorted(zip(first.tolist(), codes.tolist(), strict=True))
        named = [(place, self.names[code]) for place, code in found]
        return [(place, name) for place, name in named if name is not None and "://" in name]


def fetching_as_they_come(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths, while a thread fetches the shards of object stores that the next ones lie in.

    From the first path in such a shard on, up to `LOOKED_AT` of them are held and looked at before
    the first is yielded, or fewer that begin `BEGUN` shards. Any other path ends that.
    """
    held = deque[tuple[str, bool]]()  # each path, and whether it begins a shard
    last, num_begun = None, 0
    with _fetcher() as fetch:
        for path in paths:
            member = find_member(path)
            if member is None or "://" not in member.root:
                yield from (one for one, _ in held)
                held.clear()
                num_begun = 0
                yield path
                continue
            shard = f"{member.root}/{member.shard}"
            held.append((path, shard != last))
            if shard != last:
                fetch(shard)
                last = shard
                num_begun += 1
            while len(held) > LOOKED_AT or num_begun > BEGUN:
                one, begins = held.popleft()
                num_begun -= begins
                yield one
        yield from (one for one, _ in held)


@contextmanager
def _fetcher() -> Iterator[Callable[[str], None]]:
    """Give a function that has a shard fetched by a thread, one after the other.

    The thread starts with the first shard: it would not live on in a process that is forked after.
    """
    wanted: SimpleQueue[str | None] = SimpleQueue()
    stopped, begun = Event(), False

    def fetch(shard: str) -> None:
        nonlocal begun
        if not begun:
            # A process may end while it fetches: the next one removes the unfinished file.
            Thread(target=_fetch, args=(wanted, stopped), name="shards", daemon=True).start()
            begun = True
        wanted.put(shard)

    try:
        yield fetch
    except BaseException:
        stopped.set()
        raise
    finally:  # not stopped after the last one: worker processes still read some
        wanted.put(None)


def _fetch(wanted: "SimpleQueue[str | None]", stopped: Event) -> None:
    """Fetch shards until None comes or one fails; whoever reads that one meets its error."""
    with suppress(Exception):
        while (shard := wanted.get()) is not None and not stopped.is_set():
            _bring(shard)


def _bring(shard: str) -> None:
    root, _, name = shard.rpartition("/")
    shard_set(root).open(name, Path.stat)  # stat fails where there is no file yet


def find_shards(paths: pa.Array | pa.ChunkedArray) -> Shards | None:
    """Return which shard each path lies in, or None where all are plain files."""
    if not any_in_shards(paths):
        return None
    found = shards_of(paths)
    words = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    words = words.dictionary_encode()
    names: list[str | None] = words.dictionary.to_pylist()
    if not names:
        return None
    plain = np.flatnonzero(words.is_null().to_numpy(zero_copy_only=False))
    of_row = words.indices.fill_null(0).to_numpy().astype(np.int64)
    of_row[plain] = len(names) + np.arange(len(plain)) // FILES_AS_SHARD
    return Shards([*names, *[None] * -(-len(plain) // FILES_AS_SHARD)], of_row)
