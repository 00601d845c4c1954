"""The largest gaps between subgroups, as sentences for people."""

from collections.abc import Sequence

from faceproof.evaluation.metrics import METRICS
from faceproof.evaluation.subgroups import Gap, Subgroups
from faceproof.reports.numbers import rate

LEADING = ("roc_auc", "accuracy")  # the first of these that was compared is named


def leading_gap(found: Subgroups) -> tuple[str, Gap] | None:
    """Return the metric and the gap that a sentence names, if any was compared."""
    named = ((name, found.gaps[name]) for name in LEADING)
    return next(((name, gap) for name, gap in named if gap is not None), None)


def gap_sentences(subgroups: Sequence[Subgroups]) -> list[str]:
    """Say of each column how far the worst subgroup lies below the best."""
    sentences = []
    for one in subgroups:
        if (leading := leading_gap(one)) is None:
            continue
        name, gap = leading
        low, high = gap.interval
        told = "more than chance explains" if gap.real else "which may be chance"
        sentences.append(
            f"By {one.column}, {METRICS[name].label} is lowest for {gap.worst} "
            f"({rate(gap.worst_value)}) and highest for {gap.best} ({rate(gap.best_value)}): a gap "
            f"of {rate(gap.difference)} ({low:+.3f} to {high:+.3f} with all pairs counted), {told}."
        )
    return sentences
