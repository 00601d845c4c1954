"""Fakes and their originals side by side: the order of an epoch for `loader.sampler=paired`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.errors import FaceproofError
from faceproof.task import Task

Rows = npt.NDArray[np.int64]
NO_PAIRS = (
    "no fake among the training images has its original there, so loader.sampler=paired has "
    "nothing to put side by side: the image table names what a fake was made from in its column "
    "pair, on the rows of the fake and on those of its original; give it that column, or train "
    "with loader.sampler=shuffled"
)


@dataclass(frozen=True)
class Pairs:
    """Which rows of a training table are fakes, and which their originals.

    Attributes:
        fakes: rows of fakes whose original is in the table, (F,), pair by pair.
        of_fake: the number of each one's pair, (F,), rising.
        originals: rows of these originals, (R,), pair by pair.
        of_original: the number of each one's pair, (R,), rising.
        others: all other rows, (N - F - R,).
    """

    fakes: Rows
    of_fake: Rows
    originals: Rows
    of_original: Rows
    others: Rows

    @classmethod
    def find(cls, rows: pa.Table, task: Task) -> "Pairs":
        """Return the pairs of an image table.

        Raises:
            FaceproofError: no fake has its original in it.
        """
        names = pc.dictionary_encode(rows["pair"].combine_chunks())
        codes = pc.fill_null(names.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        positive = pc.equal(rows["label"].cast(pa.string()), task.positive)
        is_fake = pc.fill_null(positive, False).to_numpy()
        both = np.intersect1d(codes[is_fake], codes[~is_fake])
        both = both[both >= 0]
        if not len(both):
            raise FaceproofError(NO_PAIRS)
        paired = np.isin(codes, both)
        numbers = np.searchsorted(both, codes)  # of the rows in pairs alone
        fakes, originals = (
            chosen[np.argsort(numbers[chosen], kind="stable")]
            for chosen in (np.flatnonzero(paired & is_fake), np.flatnonzero(paired & ~is_fake))
        )
        others = np.flatnonzero(~paired)
        return cls(fakes, numbers[fakes], originals, numbers[originals], others)

    @property
    def num_rows(self) -> int:
        """How many rows an epoch has, those that come more than once counted as often."""
        fakes, originals = (np.bincount(one) for one in (self.of_fake, self.of_original))
        alone = len(self.others) + int(np.maximum(originals - fakes, 0).sum())
        return 2 * (len(self.fakes) + -(-alone // 2))

    def order(self, seed: int, epoch: int) -> Rows:
        """Return the order of an epoch as rows two by two, (B, 2): a function of seed and epoch.

        Each fake comes once, followed by a row of its original. The rows of an original take turns,
        in an order drawn anew for each epoch: one with F rows of fakes and R rows of its own has
        each of these seen F / R times on average, and once where F is less. All rows that no fake
        needs come once, shuffled and two by two; of an odd number of these, one comes twice.
        """
        generator = np.random.default_rng((seed, epoch))
        fakes = self.fakes[np.lexsort((generator.random(len(self.fakes)), self.of_fake))]
        shuffled = np.lexsort((generator.random(len(self.originals)), self.of_original))
        originals = self.originals[shuffled]
        num_fakes, num_originals = np.bincount(self.of_fake), np.bincount(self.of_original)
        first_fake, first_original = (np.cumsum(one) - one for one in (num_fakes, num_originals))
        turn = np.arange(len(fakes)) - first_fake[self.of_fake]
        place = first_original[self.of_fake] + turn % num_originals[self.of_fake]
        turn = np.arange(len(originals)) - first_original[self.of_original]
        alone = np.append(self.others, originals[turn >= num_fakes[self.of_original]])
        alone = generator.permutation(alone)
        alone = np.resize(alone, (-(-len(alone) // 2), 2))
        blocks = np.concatenate([np.stack([fakes, originals[place]], axis=1), alone])
        return np.asarray(generator.permutation(blocks))
