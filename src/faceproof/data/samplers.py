"""The shuffled order of an epoch, the same in every process and after a resume."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import BatchSampler, Sampler

from faceproof.data.shards.order import Shards


class EpochSampler(Sampler[int]):
    """A shuffled order that is a function of (seed, epoch), divided among ranks.

    Every rank gets the same number of rows, because a rank with more would wait for the others for
    ever: the order is filled up from its own start, by less than `num_ranks` rows. Rows in shards
    are ordered such that each rank reads few shards of its own at a time.

    Args:
        num_rows: rows of the table.
        seed: of the order.
        rank: this process, from 0 on.
        num_ranks: how many processes train together.
        shards: in which shard each row lies; None for plain files.
    """

    def __init__(
        self, num_rows: int, seed: int, rank: int = 0, num_ranks: int = 1,
        shards: Shards | None = None,
    ) -> None:  # fmt: skip
        self.num_rows, self.seed, self.shards = num_rows, seed, shards
        self.rank, self.num_ranks = rank, num_ranks
        self.epoch = 0
        self.start = 0  # rows of this rank to skip, in the next order only

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next order; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_rows // self.num_ranks)

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        if self.shards is not None:
            parts = np.resize(self.shards.order(self.seed, self.epoch), (self.num_ranks, len(self)))
            return self.shards.fetching_ahead(parts[self.rank][start:])
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_rows)
        filled = np.resize(order, len(self) * self.num_ranks)
        return iter(filled[self.rank :: self.num_ranks][start:].tolist())


class EpochBatches(BatchSampler):
    """The batches of an epoch; a last one of a single row is joined to the one before it.

    Batch normalisation has no variance of a single value, and torch refuses to train on it.
    """

    sampler: EpochSampler

    def __init__(self, sampler: EpochSampler, batch_size: int) -> None:
        super().__init__(sampler, batch_size, drop_last=False)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole if rest == 0 or (rest == 1 and whole) else whole + 1

    @property
    def largest(self) -> int:
        """Return the number of rows in the largest batch."""
        rows = len(self.sampler)
        joined = rows > self.batch_size > 1 and rows % self.batch_size == 1
        return min(rows, self.batch_size + joined)

    def start_from(self, num_given: int) -> None:
        """Leave out so many batches of the next order."""
        ended = num_given >= len(self)
        self.sampler.start = len(self.sampler) if ended else num_given * self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        before: list[int] = []
        for batch in super().__iter__():
            if len(batch) == 1 < self.batch_size:
                before += batch
                continue
            if before:
                yield before
            before = batch
        if before:
            yield before
