"""What re-encoding and corrupting the images does to the answers, in sentences for people."""

from faceproof.evaluation.robustness import TOLERATED, AnswerChange, Neutral
from faceproof.evaluation.statistics import SIGNIFICANCE
from faceproof.reports.numbers import p_value
from faceproof.task import Task
from faceproof.words import percent

OPENINGS = {
    "depend": "The answers depend on the encoding: it moves those of a class, or their scores, in "
    "one direction.",
    "unsteady": "The answers are unstable: many change, some to one class and some to the other.",
    "hold": f"The answers hold: in no class do more than {percent(TOLERATED)} of them change.",
    "unclear": "There are too few images to say whether the answers hold.",
}


def neutral_verdict(neutral: Neutral) -> str:
    """Return in one sentence what becomes of the answers when both classes are encoded alike."""
    return OPENINGS[neutral.answers]


def neutral_changes(neutral: Neutral, task: Task) -> list[str]:
    """Say for each class how its answers change, which way, by how much and how surely."""
    return [_change(one, task) for one in neutral.by_class]


def _change(one: AnswerChange, task: Task) -> str:
    name = f"{one.label} images" if one.label else "images without a label"
    low, high = one.changed_interval
    sentence = (
        f"Of {one.num_images:,} {name}{_units(one)}, the answer changes to {task.negative} for "
        f"{one.to_negative:,} and to {task.positive} for {one.to_positive:,} "
        f"({percent(one.changed)}, 95% interval {percent(low)} to {percent(high)}). Called "
        f"{task.positive}: {percent(one.share_before)} before, {percent(one.share_after)} after; "
        f"{_judged(one.called.p_value)}."
    )
    if one.shift is None:
        return sentence
    side = task.positive if one.shift.value > 0 else task.negative
    return (
        f"{sentence} Their scores move toward {side} by {abs(one.shift.value):.2f} standard "
        f"deviations; {_judged(one.shift.p_value)}."
    )


def _units(one: AnswerChange) -> str:
    return "" if one.num_units == one.num_images else f" in {one.num_units:,} independent groups"


def _judged(p: float) -> str:
    word = "more than chance explains" if p < SIGNIFICANCE else "this may be chance"
    return f"{word} (p {p_value(p) if p < 0.0001 else '= ' + p_value(p)})"
