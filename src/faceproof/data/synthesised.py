"""The rows of pseudo-fakes in a training table: real images that come once more, as fakes.

No file is written. The loader makes the images (`augment.synthesis`); here it is decided which rows
they are, and which of them come in an epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.data.balance import Balance
from faceproof.data.table import WORD, concat_tables, counts, select_label
from faceproof.errors import FaceproofError
from faceproof.task import TASKS, Task

Rows = npt.NDArray[np.int64]
TASK = "deepfake"  # of which real images can be made into fakes


class Found(NamedTuple):
    """What a row beyond the given ones is."""

    kind: str  # the generator
    pair: int  # number of the pseudo-fake
    real: int  # number of the real image, among those of the table
    is_fake: bool  # or the image beside a pseudo-fake


@dataclass(frozen=True)
class Synthesised:
    """Pseudo-fakes and the images beside them, as rows behind the given rows of a table.

    Pseudo-fake n is row `num_given + n`, and the image beside it comes `num_fakes` rows later. That
    image is a row of its own, because a self-blended one's is changed with it. The first
    `num_real` pseudo-fakes are of the first kind, one of each real image, the next of the second.

    Attributes:
        num_given: rows of the given table.
        num_real: real images among them.
        kinds: the generators.
        turns: which pseudo-fakes come in an epoch.
        alone: no given row comes in an epoch.
    """

    num_given: int
    num_real: int
    kinds: tuple[str, ...]
    turns: Balance
    alone: bool

    @property
    def num_fakes(self) -> int:
        """How many pseudo-fakes there are, one of each kind and real image."""
        return self.num_real * len(self.kinds)

    @property
    def num_pairs(self) -> int:
        """How many of them an epoch has."""
        return self.turns.num_rows

    @property
    def words(self) -> str:
        """What an epoch has of them, for people."""
        return f"{self.num_pairs:,} pseudo-fakes an epoch ({', '.join(self.kinds)})"

    def find(self, row: int) -> Found | None:
        """Say what a row is; None for a given one."""
        if row < self.num_given:
            return None
        beside, pair = divmod(row - self.num_given, self.num_fakes)
        kind, real = divmod(pair, self.num_real)
        return Found(self.kinds[kind], pair, real, not beside)

    def order(self, seed: int, epoch: int) -> Rows:
        """Return the pairs of an epoch as rows, (P, 2), a pseudo-fake first."""
        fakes = self.turns.order(seed, epoch) + self.num_given
        return np.stack([fakes, fakes + self.num_fakes], axis=1)


def with_synthesised(
    rows: pa.Table, task: Task, kinds: Sequence[str], num_drawn: int, share: float,
    weights: Mapping[str, float] | None,
) -> tuple[pa.Table, Synthesised]:  # fmt: skip
    """Return a training table with the rows of its pseudo-fakes, and what they are.

    Args:
        rows: the given training table.
        task: `deepfake`.
        kinds: names of the generators.
        num_drawn: how many of the given rows an epoch has.
        share: of the images of an epoch, those in pairs of a pseudo-fake; with 1 no given row comes
            and there are as many pairs as real images.
        weights: draw the real images evenly over their sources, by these weights, and None for as
            often as there are images of each.

    Raises:
        FaceproofError: the task is another one, or no image is real.
    """
    if task.name != TASK:
        raise FaceproofError(
            f"synthesis makes fakes of real images, and the task is {task.name}: leave it out "
            "(synthesis=none), or take a data set of real and fake images"
        )
    real = select_label(rows, task.negative)
    if not real.num_rows:
        raise FaceproofError("synthesis makes fakes of real images, and no training image is real")
    fakes, beside = (
        concat_tables(_columns(real, label, kind) for kind in kinds)
        for label in (task.positive, task.negative)
    )
    num_pairs = real.num_rows if share == 1 else round(share / (1 - share) * num_drawn / 2)
    if not num_pairs:
        raise FaceproofError(
            f"synthesis.share = {share:g} of an epoch of {num_drawn:,} images is less than one "
            "pseudo-fake; raise it"
        )
    if weights is None:
        turns = _even(real.num_rows, len(kinds), num_pairs)
    else:
        turns = Balance.find(fakes, _of_sources(weights, fakes), num_pairs)
    synthesised = Synthesised(rows.num_rows, real.num_rows, tuple(kinds), turns, share == 1)
    return concat_tables([rows, fakes, beside]), synthesised


def _columns(real: pa.Table, label: str, kind: str) -> pa.Table:
    """Return real images as rows of a label: pseudo-fakes, or the images beside them."""
    # Not the path: where the data set's folder lies must not change the draws of a pair.
    numbers = pa.array(np.arange(real.num_rows)).cast(pa.string())
    changed = {"pair": pc.binary_join_element_wise(pa.scalar(kind), numbers, ":")}
    if label == TASKS[TASK].positive:
        changed |= {"label": _repeated(label, real), "generator": _repeated(kind, real)}
    for column, values in changed.items():
        field = real.schema.field(column)
        real = real.set_column(real.schema.get_field_index(column), field, values)
    return real


def _of_sources(weights: Mapping[str, float], rows: pa.Table) -> dict[str, float]:
    """Return the weights of the sources that some row has: of others no image is real."""
    there = {source for (source,) in counts(rows, "source")}
    return {name: weight for name, weight in weights.items() if name in there}


def _repeated(word: str, rows: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(word), rows.num_rows).cast(WORD)


def _even(num_real: int, num_kinds: int, num_pairs: int) -> Balance:
    """Return the turns in which all real images come equally often, and so do all kinds."""
    first = np.arange(num_kinds) * num_real
    groups = tuple(np.arange(num_real) + start for start in first)
    numbers = np.diff(np.arange(num_kinds + 1) * num_pairs // num_kinds)
    return Balance(groups, tuple(numbers.tolist()))
