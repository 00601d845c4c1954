"""The order of an epoch, the same in every process and after a resume."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import BatchSampler, Sampler

from faceproof.data.balance import Balance
from faceproof.data.pairs import Pairs
from faceproof.data.shards.order import Shards
from faceproof.data.synthesised import Synthesised
from faceproof.errors import FaceproofError

Rows = npt.NDArray[np.int64]


class EpochSampler(Sampler[int]):
    """A shuffled order that is a function of (seed, epoch), divided among ranks.

    Every rank gets the same number of rows, because a rank with more would wait for the others for
    ever: the order is filled up from its own start, by less than `num_ranks` rows. Rows in shards
    are ordered such that each rank reads few shards of its own at a time. With pairs, a fake and a
    row of its original stand in the two places 2k and 2k + 1 of a rank's order, so that no batch of
    an even size parts them. How often a row comes is said by `Pairs.order`, and by `Balance.order`.

    With pseudo-fakes, all rows come two by two, and those of pseudo-fakes lie evenly among the
    others, so that every batch has its share of them.

    Args:
        num_rows: rows of the table, but for those of pseudo-fakes.
        seed: of the order.
        rank: this process, from 0 on.
        num_ranks: how many processes train together.
        shards: in which shard each row lies; None for plain files.
        pairs: fakes and their originals, which then come side by side; not of rows in shards.
        balance: how often each class, source and generator is drawn; not of rows in shards.
        synthesised: pseudo-fakes, each with the image beside it; not of rows in shards.
    """

    def __init__(
        self, num_rows: int, seed: int, rank: int = 0, num_ranks: int = 1,
        shards: Shards | None = None, pairs: Pairs | None = None,
        balance: Balance | None = None, synthesised: Synthesised | None = None,
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
        if shards is not None and synthesised is not None:
            raise FaceproofError(
                "synthesis takes images in files: a pseudo-fake comes beside the image that it was "
                "made from, and the order of images in shards is that of their shards; train from "
                "the files, or with synthesis=none"
            )
        self.num_rows = num_rows if pairs is None else pairs.num_rows
        if synthesised is not None and synthesised.alone:
            self.num_rows = 0
        self.seed, self.shards, self.pairs, self.balance = seed, shards, pairs, balance
        self.synthesised = synthesised
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

    @property
    def in_twos(self) -> bool:
        """Whether rows come two by two, in batches of even sizes."""
        return self.pairs is not None or self.synthesised is not None

    def __len__(self) -> int:
        if not self.in_twos:
            return -(-self.num_rows // self.num_ranks)
        made = 0 if self.synthesised is None else self.synthesised.num_pairs
        return 2 * sum(-(-blocks // self.num_ranks) for blocks in (-(-self.num_rows // 2), made))

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        if self.in_twos:
            return iter(self._in_twos().ravel()[start:].tolist())
        if self.shards is not None:
            parts = np.resize(self.shards.order(self.seed, self.epoch), (self.num_ranks, len(self)))
            return self.shards.fetching_ahead(parts[self.rank][start:])
        return iter(self._of_rank(self._order())[start:].tolist())

    def _order(self) -> Rows:
        """Return the order of the epoch over all ranks, (N,)."""
        if self.balance is not None:
            return self.balance.order(self.seed, self.epoch)
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.num_rows)

    def _of_rank(self, order: Rows) -> Rows:
        """Return every `num_ranks`-th of an order, filled up from its start, from this rank on."""
        whole = -(-len(order) // self.num_ranks) * self.num_ranks
        return np.resize(order, (whole, *order.shape[1:]))[self.rank :: self.num_ranks]

    def _in_twos(self) -> Rows:
        """Return the order of this rank as rows two by two, (B, 2)."""
        parts = []
        if self.pairs is not None and self.num_rows:
            parts.append(self.pairs.order(self.seed, self.epoch))
        elif self.num_rows:
            parts.append(np.resize(self._order(), (-(-self.num_rows // 2), 2)))
        if self.synthesised is not None:
            parts.append(self.synthesised.order(self.seed, self.epoch))
        mine = [self._of_rank(part) for part in parts]
        # Each part is spread over the epoch; of a single one the order stays.
        places = [(np.arange(len(part)) + 0.5) / len(part) for part in mine]
        return np.concatenate(mine)[np.argsort(np.concatenate(places), kind="stable")]


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
        if sampler.in_twos and batch_size % 2:
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
