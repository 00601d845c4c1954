"""The shuffled order of an epoch, the same in every process and after a resume."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

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
