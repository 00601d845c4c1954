"""The result of an evaluation in plain sentences, as the report's page and the terminal give it."""

from faceproof.evaluation.evaluation_result import Evaluation, EvaluationContext
from faceproof.evaluation.novelty_check import NoveltyRow
from faceproof.reports.numbers import part_of, rate, span
from faceproof.reports.subgroup_text import gap_sentences
from faceproof.words import apart, percent

MAX_SOURCES = 6  # that a sentence names


def verdict(evaluation: Evaluation) -> list[str]:
    """Return the result in plain sentences, the most important first."""
    num_predictions, task = evaluation.num_predictions, evaluation.context.task
    if evaluation.num_unlabelled == num_predictions:
        called = part_of(evaluation.num_called_positive, num_predictions, "images")
        unknown = "They have no labels, so its error rate cannot be measured."
        return [f"The detector called {called} {task.positive}. {unknown}", *_protocols(evaluation)]
    return [
        _class_sentence(evaluation),
        _overall_sentence(evaluation),
        *_in_use(evaluation),
        *_strange(evaluation),
        *_by_video(evaluation),
        *_pairs(evaluation),
        *_broken_promises(evaluation),
        *_hardest_generator(evaluation),
        *gap_sentences(evaluation.subgroups),
        *_left_out(evaluation),
        *_protocols(evaluation),
    ]


def _protocols(evaluation: Evaluation) -> list[str]:
    """Say how much of each published protocol was there."""
    context = evaluation.context
    return [f"P{one.told(context.split)[1:]}." for one in context.protocols]


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


def _in_use(evaluation: Evaluation) -> list[str]:
    """Say how many images it would answer, and how many of these wrongly."""
    check = evaluation.operating_point
    return [f"In use {check.in_use}."] if check and check.in_use else []


def _strange(evaluation: Evaluation) -> list[str]:
    """Say how many images are too unlike those of training for an answer, by source."""
    if (found := evaluation.novelty) is None or (point := evaluation.context.novelty_point) is None:
        return []
    rows = found.by_source
    shares = [
        f"{percent(row.share)} of the {row.num_images:,} images {_of_source(row)}"
        for row in rows[:MAX_SOURCES]
    ]
    listed = " and ".join(filter(None, [", ".join(shares[:-1]), shares[-1]]))
    more = len(rows) - MAX_SOURCES
    told = f" The report names {more:,} more sources." if more > 0 else ""
    limit = f"novelty.rate allows {percent(point.rate)}"
    if point.promised > point.rate:
        limit = f"validation is too small to promise less than {percent(point.promised)}"
    return [
        f"{listed} are unlike the training images, and so unsure; {limit} of images like those "
        f"of validation.{told}"
    ]


def _of_source(row: NoveltyRow) -> str:
    named = f"of {row.source}" if row.source else "without a source"
    return f"{named} (a source it was trained on)" if row.is_home else named


def _by_video(evaluation: Evaluation) -> list[str]:
    """Say how well whole videos are judged, by the rule that validation fixed."""
    level = evaluation.group_level
    if level is None or level.video is None:
        return []
    video, point = level.video, level.video.point
    area, right = (
        f"{rate(video.metrics[name])} ({span(video.intervals[name])})"
        for name in ("roc_auc", "accuracy")
    )
    return [
        f"By video: ROC-AUC {area}, accuracy {right} at the videos' threshold "
        f"{point.operating_point.threshold:.3f}; rule {point.rule}, fixed on validation "
        f"({point.num_videos:,} videos)."
    ]


def _pairs(evaluation: Evaluation) -> list[str]:
    """Say how often fakes score above the very images or videos that they were made from."""
    if (pairs := evaluation.pairs) is None:
        return []
    share = f"{rate(pairs.share_above)} ({span(pairs.interval)})"
    return [
        f"Of {pairs.num_pairs:,} {evaluation.context.task.positive} images or videos whose own "
        f"original is here, a share of {share} scores above it; identity and scene, which both "
        "have in common, can explain none of that."
    ]


def _broken_promises(evaluation: Evaluation) -> list[str]:
    """Say where the operating point does not hold, and where the test split was used before."""
    sentences = []
    point, here = evaluation.context.operating_point, evaluation.operating_point
    if point and here and point.promised_fpr and here.fpr.interval and here.fpr.rate is not None:
        low, _ = here.fpr.interval
        if low > point.promised_fpr:
            found, promised = apart(here.fpr.rate, point.promised_fpr)
            sentences.append(
                f"The threshold was chosen for at most {promised} false alarms and gives {found} "
                "here, more than chance explains: it does not carry over to these images."
            )
    answered = here.error_answered_interval if here else None
    kept = point is not None and point.keeps_risk  # else a warning says so
    if point and kept and here and answered and point.max_risk and answered[0] > point.max_risk:
        found, promised = apart(here.error_answered or 0.0, point.max_risk)
        sentences.append(
            f"The unsure band was chosen for at most {promised} wrong answers and leaves {found} "
            "here, more than chance explains: it does not carry over to these images."
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
    """Name the generator that is recognised least often, among several with enough images."""
    named = [row for row in evaluation.by_generator if row.value and row.recall is not None]
    rows = [row for row in named if not row.few]
    if len(rows) < 2:
        return []
    row = min(rows, key=lambda row: row.recall or 0.0)
    if row.recall == 1:
        return []
    share = part_of(round((row.recall or 0.0) * row.num_positive), row.num_positive, "images")
    return [f"The hardest generator is {row.value}: {share} were recognised."]


def _left_out(evaluation: Evaluation) -> list[str]:
    """Say how many images are in no metric, and why."""
    sentences, unreadable = [], len(evaluation.context.unreadable)
    if evaluation.num_unlabelled:
        sentences.append(
            f"Images skipped because they have no label: {evaluation.num_unlabelled:,}."
        )
    if unreadable:
        sentences.append(f"Images skipped because they cannot be read: {unreadable:,}.")
    if seen := evaluation.context.num_seen:
        sentences.append(f"Images skipped because the model saw them in training: {seen:,}.")
    return sentences
