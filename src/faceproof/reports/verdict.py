"""The result of an evaluation in plain sentences, with what keeps it from meaning more."""

from faceproof.evaluation.evaluation_result import Evaluation, EvaluationContext
from faceproof.reports.numbers import part_of, percent


def verdict(evaluation: Evaluation) -> list[str]:
    """Return the result in plain sentences, the most important first."""
    num_predictions, task = evaluation.num_predictions, evaluation.context.task
    if evaluation.num_unlabelled == num_predictions:
        called = part_of(evaluation.num_called_positive, num_predictions, "images")
        unknown = "They have no labels, so its error rate cannot be measured."
        return [f"The detector called {called} {task.positive}. {unknown}"]
    return [
        _class_sentence(evaluation),
        _overall_sentence(evaluation),
        *_broken_promises(evaluation),
        *_hardest_generator(evaluation),
        *_left_out(evaluation),
    ]


def _class_sentence(evaluation: Evaluation) -> str:
    task, (of_negative, of_positive) = evaluation.context.task, evaluation.confusion
    parts = []
    if sum(of_positive):
        found = part_of(of_positive[1], sum(of_positive), f"{task.positive} images")
        parts.append(f"recognised {found}")
    if sum(of_negative):
        alarms = part_of(of_negative[1], sum(of_negative), f"{task.negative} images")
        parts.append(f"took {alarms} for {task.positive}")
    return f"The detector {' and '.join(parts)}."


def _overall_sentence(evaluation: Evaluation) -> str:
    task, cells = evaluation.context.task, evaluation.confusion
    support = {task.negative: sum(cells[0]), task.positive: sum(cells[1])}
    total, common = sum(support.values()), max(support, key=lambda name: support[name])
    if support[common] == total:
        undefined = "metrics that compare the two classes are undefined on this set"
        return f"Every image is {common}: {undefined}."
    right = part_of(cells[0][0] + cells[1][1], total, "images")
    share = percent(support[common] / total)
    return f"Overall it called {right} correctly; always answering “{common}” would reach {share}."


def _broken_promises(evaluation: Evaluation) -> list[str]:
    """Say where the operating point does not hold, and where the test split was used before."""
    sentences = []
    point, here = evaluation.context.operating_point, evaluation.operating_point
    if point and here and point.promised_fpr and here.fpr.interval and here.fpr.rate is not None:
        low, _ = here.fpr.interval
        if low > point.promised_fpr:
            sentences.append(
                f"The threshold promised at most {percent(point.promised_fpr)} false alarms and "
                f"has {percent(here.fpr.rate)} here, more than chance explains: it does not carry "
                "over to these images."
            )
    if (evaluation.context.test_scorings or 0) > 1:
        sentences.append(scorings(evaluation.context))
    return sentences


def scorings(context: EvaluationContext) -> str:
    """Say how often the run has scored this split, and what that means."""
    number = context.test_scorings
    if number is None:
        return "not counted"
    if number == 1:
        return "This run has scored this split once: this time."
    return (
        f"Caution: this run has scored this split {number:,} times. If any choice was made after "
        "seeing an earlier result, these metrics are optimistic: expect worse on new images."
    )


def _hardest_generator(evaluation: Evaluation) -> list[str]:
    """Name the generator that is recognised least often, where there are several."""
    rows = [row for row in evaluation.by_generator if row.value and row.recall is not None]
    if len(rows) < 2:
        return []
    row = min(rows, key=lambda row: row.recall or 0.0)
    share = part_of(round((row.recall or 0.0) * row.num_positive), row.num_positive, "images")
    return [f"The hardest generator is {row.value}: {share} were recognised."]


def _left_out(evaluation: Evaluation) -> list[str]:
    """Say how many images are in no metric, and why."""
    sentences, unreadable = [], len(evaluation.context.unreadable)
    if evaluation.num_unlabelled:
        sentences.append(f"Without a label, and so in no metric: {evaluation.num_unlabelled:,}.")
    if unreadable:
        sentences.append(f"Unreadable, and so in no metric: {unreadable:,}.")
    return sentences
