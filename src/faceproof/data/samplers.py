"""The order of an epoch, the same in every process and after a resume."""

from collections.abc import Iterable, Iterator

import numpy as np
from torch.utils.data import BatchSampler, Sampler

from faceproof.data.balance import Balance
from faceproof.data.pairs import Pairs
from faceproof.data.shards.order import Shards
from faceproof.errors import FaceproofError


class EpochSampler(Sampler[int]):
    """A shuffled order that is a function of (seed, epoch), divided among ranks.

    Every rank gets the same number of rows, because a rank with more would wait for the others for
    ever: the order is filled up from its own start, by less than `num_ranks` rows. Rows in shards
    are ordered such that each rank reads few shards of its own at a time. With pairs, a fake and a
    row of its original stand in the two places 2k and 2k + 1 of a rank's order, so that no batch of
    an even size parts them. How often a row comes is said by `Pairs.order`, and by `Balance.order`.

    Args:
        num_rows: rows of the table.
        seed: of the order.
        rank: this process, from 0 on.
        num_ranks: how many processes train together.
        shards: in which shard each row lies; None for plain files.
        pairs: fakes and their originals, which then come side by side; not of rows in shards.
        balance: how often each class, source and generator is drawn; not of rows in shards.
    """

    def __init__(
        self, num_rows: int, seed: int, rank: int = 0, num_ranks: int = 1,
        shards: Shards | None = None, pairs: Pairs | None = None,
        balance: Balance | None = None,
    ) -> None:  # fmt: skip
        if shards is not None and pairs is not None:
            raise FaceproofError(
                "loader.sampler=paired takes images in files: the order of images in shards is "
                "that of their shards, which part fakes from their originals; train from the "
                "files, or with loader.sampler=shuffled"
            )
        if shards is not None and balance is not None:
            raise FaceproofError(
                "loader.sampler=balanced takes images in files: it draws some images often and "
                "others seldom, and a shard is read as a whole; train from the files, or with "
                "loader.sampler=shuffled"
            )
        self.num_rows = num_rows if pairs is None else pairs.num_rows
        self.seed, self.shards, self.pairs, self.balance = seed, shards, pairs, balance
        self.rank, self.num_ranks = rank, num_ranks
        self.epoch = 0
        self.start = 0  # rows of this rank to skip, in the next order only

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next order; Lightning calls this."""
        self.epoch = epoch

    @property
    def name(self) -> str:
        """Its name in the setting `loader.sampler`."""
        if self.pairs is not None:
            return "paired"
        return "shuffled" if self.balance is None else "balanced"

    def __len__(self) -> int:
        together = 1 if self.pairs is None else 2
        return -(-self.num_rows // (together * self.num_ranks)) * together

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        if self.pairs is not None:
            blocks = self.pairs.order(self.seed, self.epoch)
            whole = np.resize(blocks, (len(self) // 2 * self.num_ranks, 2))
            return iter(whole[self.rank :: self.num_ranks].ravel()[start:].tolist())
        if self.shards is not None:
            parts = np.resize(self.shards.order(self.seed, self.epoch), (self.num_ranks, len(self)))
            return self.shards.fetching_ahead(parts[self.rank][start:])
        if self.balance is not None:
            order = self.balance.order(self.seed, self.epoch)
        else:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_rows)
        filled = np.resize(order, len(self) * self.num_ranks)
        return iter(filled[self.rank :: self.num_ranks][start:].tolist())


class EpochRows(list[int]):
    """The rows of a batch, which know their epoch in whichever process they are loaded."""

    epoch = 0

    @classmethod
    def of(cls, rows: Iterable[int], epoch: int) -> "EpochRows":
        """Return rows of an epoch."""
        made = cls(rows)
        made.epoch = epoch
        return made


class EpochBatches(BatchSampler):
    """The batches of an epoch; a last one of a single row is joined to the one before it.

    Batch normalisation has no variance of a single value, and torch refuses to train on it.
    """

    sampler: EpochSampler

    def __init__(self, sampler: EpochSampler, batch_size: int) -> None:
        if sampler.pairs is not None and batch_size % 2:
            raise FaceproofError(f"a batch of {batch_size} would part a fake from its original")
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
        epoch = self.sampler.epoch
        before: list[int] = []
        for batch in super().__iter__():
            if len(batch) == 1 < self.batch_size:
                before += batch
                continue
            if before:
                yield EpochRows.of(before, epoch)
            before = batch
        if before:
            yield EpochRows.of(before, epoch)
