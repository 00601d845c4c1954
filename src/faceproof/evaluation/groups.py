"""Groups: images that belong together, as units of chance and as things to be judged.

A unit is what is drawn when chance is imitated: what people or source videos connect
(`data.groups`), else a group, else an image that is in none.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import SCHEMA, Scores, is_positive, probabilities_of
from faceproof.evaluation.statistics import Codes

How = Literal["mean", "median", "max", "share"]
HOWS: tuple[How, ...] = ("mean", "median", "max", "share")
# A mean of probabilities is 0 or 1 only through rounding; the logit of such a one must be finite.
NEAREST = 1e-12


def unit_codes(predictions: pa.Table) -> Codes:
    """Number the units, (N,), from 0: rows of one unit share a number.

    A row's unit is its component, if the table has any, else its group, else the row itself.

    The numbers follow the names of groups and paths, so that they depend neither on the order of
    the rows nor on the scores: two detectors that scored the same images have the same units.
    """
    path, group = predictions["path"], predictions["group"]
    if "component" in predictions.column_names:
        group = pc.coalesce(predictions["component"].cast(pa.string()), group)
    if group.null_count == len(group):
        return ordered_codes(path)[1]
    if group.null_count == 0:
        return ordered_codes(group)[1]
    # The prefix keeps a group and an image of the same name apart.
    named = pc.if_else(
        group.is_valid(),
        pc.binary_join_element_wise("g", pc.fill_null(group, ""), ""),
        pc.binary_join_element_wise("p", path, ""),
    )
    return ordered_codes(named)[1]


def ordered_codes(names: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Codes]:
    """Return the distinct names in order, and for each row the number of its name.

    By sorting: the table of names that a dictionary needs is larger than a million paths.
    """
    order = pc.sort_indices(names)
    ranked = names.take(order)
    first = np.ones(len(names), bool)
    first[1:] = pc.not_equal(ranked[1:], ranked[:-1]).to_numpy()
    codes = np.empty(len(names), np.int64)
    codes[order.to_numpy()] = np.cumsum(first) - 1
    return ranked.filter(pa.array(first)), codes


@dataclass(frozen=True)
class GroupPredictions:
    """A predictions table with one row a group, whose name is both its `path` and its `group`."""

    predictions: pa.Table
    num_without_group: int  # images in no group, and so left out


def aggregate_groups(
    predictions: pa.Table, how: How = "mean", threshold: float | None = None
) -> GroupPredictions:
    """Give each group one score: the mean, median or maximum of its images' probabilities.

    Or, with `share`, the share of its images that the threshold calls positive; see
    `combine_images`.

    Probabilities are aggregated and not logits. They are bounded, so that one frame on which the
    network is beyond all doubt does not outvote the rest; and they are calibrated, so that the
    stored threshold can be applied to their mean. The logit of a group is that of its probability.
    A threshold that was set for images keeps no promise for the maximum, which grows with the
    number of images in a group.

    The source and generator of a group are those of its images, or null where these differ. Its
    novelty is the median of theirs, or null where one is not known.

    Raises:
        FaceproofError: a group holds images of both classes, or `how` is not known.
    """
    if how not in HOWS:
        raise FaceproofError(f"groups are aggregated by {', '.join(HOWS)}; found {how!r}")
    grouped = predictions.filter(predictions["group"].is_valid())
    if mixed := mixed_groups(grouped):
        raise FaceproofError(
            f"{len(mixed):,} groups hold images of both classes, first {mixed[0]}, and so have "
            "no class of their own; judge by images, or let a group be a video"
        )
    names, codes = ordered_codes(grouped["group"])
    label, source, generator, component, pair = (
        constant_values(grouped[name], codes, len(names))
        for name in ("label", "source", "generator", "component", "pair")
    )
    probabilities, logits = combine_images(probabilities_of(grouped), codes, how, threshold)
    numbers = [pa.array(logits), pa.array(probabilities.astype(np.float32))]
    columns = [names, label, source, generator, names, *numbers, component, pair]
    columns.append(_median_novelties(grouped["novelty"], codes, len(names)))
    table = pa.table(columns, names=SCHEMA.names).cast(SCHEMA)
    return GroupPredictions(table, predictions.num_rows - grouped.num_rows)


def _median_novelties(novelties: pa.ChunkedArray, codes: Codes, num_groups: int) -> pa.Array:
    """Return the median novelty of each group, (G,), null where one of its images' is not known."""
    if novelties.null_count == len(novelties):
        return pa.nulls(num_groups, pa.float32())
    unknown = np.zeros(num_groups, bool)
    unknown[codes[novelties.is_null().to_numpy()]] = True
    values = novelties.fill_null(0).to_numpy().astype(np.float64)
    return pa.array(_combine(values, codes, "median", None), mask=unknown)


def mixed_groups(predictions: pa.Table) -> list[str]:
    """Return the names of the groups that hold images of both classes, in order."""
    plain = pa.table(
        {"group": predictions["group"], "label": predictions["label"].cast(pa.string())}
    )
    plain = plain.filter(plain["group"].is_valid())
    classes = plain.group_by("group").aggregate([("label", "count_distinct")])
    mixed = classes.filter(pc.greater(classes["label_count_distinct"], 1))
    return sorted(mixed["group"].to_pylist())


def constant_values(column: pa.ChunkedArray, codes: Codes, num_groups: int) -> pa.Array:
    """Return for each group the one known value that its rows have, else null."""
    encoded = pc.dictionary_encode(column.cast(pa.string())).unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        return pa.nulls(0, pa.string())
    known = encoded.is_valid().to_numpy(zero_copy_only=False)
    values = encoded.indices.drop_null().to_numpy().astype(np.int64)
    smallest = np.full(num_groups, len(encoded.dictionary), np.int64)
    largest = np.full(num_groups, -1, np.int64)
    np.minimum.at(smallest, codes[known], values)
    np.maximum.at(largest, codes[known], values)
    chosen = pa.array(largest, mask=smallest != largest)
    return encoded.dictionary.take(chosen)


def combine_images(
    probabilities: Scores, codes: Codes, how: How, threshold: float | None = None
) -> tuple[Scores, npt.NDArray[np.float32]]:
    """Return one score for each group, (G,): as a probability, and as the logit of that.

    Probabilities and codes are (N,); groups are numbered from 0, and each has an image. A share
    counts half an image more on either side, (k + 1/2) / (n + 1): as a plain share it would often
    be 0 or 1, which has no logit (Haldane 1956).

    Raises:
        FaceproofError: there is no threshold for the share.
    """
    combined = _combine(probabilities, codes, how, threshold) if len(codes) else np.empty(0)
    inside = np.clip(combined, NEAREST, 1 - NEAREST)
    return combined, (np.log(inside) - np.log1p(-inside)).astype(np.float32)


def _combine(probabilities: Scores, codes: Codes, how: How, threshold: float | None) -> Scores:
    """Return the scores as probabilities; the order of the rows does not change a sum."""
    sizes = np.bincount(codes)
    if how == "share":
        if threshold is None:
            raise FaceproofError("the share of images called positive needs a threshold")
        called = np.bincount(codes[is_positive(probabilities, threshold)], minlength=len(sizes))
        return np.asarray((called + 0.5) / (sizes + 1))
    ranked = probabilities[np.lexsort((probabilities, codes))]
    starts = np.cumsum(sizes) - sizes
    if how == "mean":
        return np.asarray(np.add.reduceat(ranked, starts) / sizes)
    if how == "max":
        return np.asarray(ranked[starts + sizes - 1])
    return np.asarray(ranked[starts + (sizes - 1) // 2] + ranked[starts + sizes // 2]) / 2
