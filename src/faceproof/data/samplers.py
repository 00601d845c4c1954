"""The order in which an epoch visits its rows."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from faceproof.data.shards.order import Shards


class EpochSampler(Sampler[int]):
    """A shuffled order that is a function of (seed, epoch), divided among ranks.

    Every rank gets equally many rows, or the others would wait for ever: the order is filled up
    from its own start, by less than `num_ranks` rows. Where the rows lie in `shards` few of these
    are needed at a time, and each rank goes through its own.
    """

    def __init__(
        self,
        num_rows: int,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        shards: Shards | None = None,
    ) -> None:
        self.num_rows = num_rows
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.shards = shards
        self.epoch = 0
        self.start = 0  # rows of this rank that the epoch has behind it; of the next order only

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
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
