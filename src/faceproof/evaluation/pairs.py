"""Pairs: whether a fake scores above the very image or video that it was made from.

Fake and original show one person in one scene, so this ranking leaves identity and scene out of the
question, which ROC-AUC over all fakes and originals does not. A fake is a group, or an image that
is in none; the score of either side is the mean of its rows' logits, which no calibration changes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.evaluation.groups import constant_values, ordered_codes, unit_codes
from faceproof.evaluation.intervals import (
    MIN_UNITS,
    affordable_resamples,
    percentile_interval,
    resample_weights,
)
from faceproof.evaluation.predictions import Scores, label_numbers, logits_of
from faceproof.evaluation.statistics import Codes, Interval
from faceproof.task import Task


@dataclass(frozen=True)
class PairRow:
    """How often the fakes of one generator score above their own originals.

    The share counts a tie as one half; its 95 % interval is by bootstrap over units.
    """

    generator: str | None
    num_pairs: int
    num_units: int
    few: bool  # too few independent units to mean anything; such rows stand last
    share_above: float
    interval: Interval | None


@dataclass(frozen=True)
class PairRanking:
    """How often fakes score above their own originals; see `PairRow`."""

    num_pairs: int  # fakes whose original is among the rows
    num_originals: int  # of these
    num_without_original: int  # fakes with the name of a pair, and no original among the rows
    num_units: int
    share_above: float
    interval: Interval | None
    by_generator: list[PairRow]  # lowest share first


@dataclass(frozen=True)
class _Fakes:
    """The fakes that have a pair, each a group or an image; all columns are (F,)."""

    scores: Scores
    pairs: Codes
    units: Codes
    generators: npt.NDArray[np.object_]


def rank_pairs(known: pa.Table, task: Task, num_resamples: int) -> PairRanking | None:
    """Compare fakes with their originals; None where no fake has its original among the rows.

    `known` is a predictions table of labelled images.
    """
    rows = known.filter(known["pair"].is_valid())
    # In order of scores no sum depends on the order in which the rows came.
    rows = rows.take(pc.sort_indices(rows, [("logit", "ascending"), ("path", "ascending")]))
    of_original = label_numbers(rows, task) == 0
    if of_original.all() or not of_original.any():
        return None
    pairs, logits = ordered_codes(rows["pair"])[1], logits_of(rows)
    originals = _means(logits[of_original], pairs[of_original], int(pairs.max()) + 1)
    fakes = _fakes(rows.filter(pa.array(~of_original)), pairs[~of_original], logits[~of_original])
    has_original = ~np.isnan(originals[fakes.pairs])
    if not has_original.any():
        return None
    found = originals[fakes.pairs[has_original]]
    above = (np.sign(fakes.scores[has_original] - found) + 1) / 2
    units, generators = fakes.units[has_original], fakes.generators[has_original]
    by_generator = [
        _row(name, above[generators == name], units[generators == name], num_resamples)
        for name in sorted(set(generators.tolist()), key=lambda name: (name is None, name or ""))
    ]
    total = _row(None, above, units, num_resamples)
    return PairRanking(
        num_pairs=total.num_pairs,
        num_originals=len(np.unique(fakes.pairs[has_original])),
        num_without_original=int(np.count_nonzero(~has_original)),
        num_units=total.num_units,
        share_above=total.share_above,
        interval=total.interval,
        by_generator=sorted(by_generator, key=lambda row: (row.few, row.share_above)),
    )


def _means(scores: Scores, codes: Codes, number: int) -> Scores:
    """Return the mean of each code, (number,); NaN where it has no score."""
    sums, counts = np.bincount(codes, scores, number), np.bincount(codes, minlength=number)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)


def _fakes(rows: pa.Table, pairs: Codes, logits: Scores) -> _Fakes:
    group, path = rows["group"], rows["path"]
    # The prefix keeps a group and an image of the same name apart.
    names = pc.if_else(
        group.is_valid(),
        pc.binary_join_element_wise("g", pc.fill_null(group, ""), ""),
        pc.binary_join_element_wise("p", path, ""),
    )
    both = np.stack([pairs, ordered_codes(names)[1]])
    _, first, codes = np.unique(both, axis=1, return_index=True, return_inverse=True)
    number = len(first)
    columns = {"path": path, "group": rows["pair"], "component": rows["component"]}
    generators = constant_values(rows["generator"], codes.reshape(-1), number)
    return _Fakes(
        scores=_means(logits, codes.reshape(-1), number),
        pairs=pairs[first],
        units=unit_codes(pa.table(columns))[first],
        generators=np.array(generators.to_pylist(), np.object_),
    )


def _row(generator: str | None, above: Scores, units: Codes, num_resamples: int) -> PairRow:
    num_units = len(np.unique(units))
    interval = _interval(above, units, num_resamples) if num_units >= MIN_UNITS else None
    share = float(above.mean())
    return PairRow(generator, len(above), num_units, num_units < MIN_UNITS, share, interval)


def _interval(above: Scores, units: Codes, num_resamples: int) -> Interval | None:
    _, codes = np.unique(units, return_inverse=True)
    sums, sizes = np.bincount(codes, above), np.bincount(codes)
    num_drawn = affordable_resamples(len(above), num_resamples)
    drawn = [
        float(weights @ sums) / float(weights @ sizes)
        for weights in resample_weights(len(sizes), num_drawn)
    ]
    return percentile_interval(np.array(drawn), float(above.mean()), num_trials=len(sizes))
