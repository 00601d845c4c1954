"""What makes a result less than it seems, for the verdict of a report: each with what to do."""

from collections.abc import Iterator
from dataclasses import dataclass

from faceproof.evaluation.evaluation_result import Evaluation
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.operating_point import BAND_WARNING
from faceproof.evaluation.statistics import Interval
from faceproof.reports.numbers import CHANCE, count, span
from faceproof.reports.robustness_text import neutral_verdict

WIDE = 0.1  # of a 95 % interval of ROC-AUC or accuracy: then the images are few


@dataclass(frozen=True)
class VerdictWarning:
    """A reason not to take the metrics at face value, in a word or two and in sentences."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


def verdict_warnings(evaluation: Evaluation) -> list[VerdictWarning]:
    """Return what a reader has to know before the metrics, the most serious first."""
    return [
        *_smoke(evaluation),
        *_untuned(evaluation),
        *_chance(evaluation),
        *_wrong_answers(evaluation),
        *_shortcuts(evaluation),
        *_encoding(evaluation),
        *_few(evaluation),
    ]


def _smoke(evaluation: Evaluation) -> Iterator[VerdictWarning]:
    if limits := evaluation.context.limits:
        yield VerdictWarning(
            "Smoke run",
            f"training was cut short by {', '.join(limits)}. The metrics show that everything "
            "runs, and nothing about the detector; train without these settings.",
        )


def _untuned(evaluation: Evaluation) -> Iterator[VerdictWarning]:
    if evaluation.context.scores is not None and evaluation.context.operating_point is None:
        without = "Go by ROC-AUC, average precision and EER, which need no threshold, or give"
        if evaluation.metrics["roc_auc"] is None:  # images of one class
            without = "Give"
        yield VerdictWarning(
            "No threshold from validation",
            "none was fixed on validation images, so accuracy, precision, recall and F1 are "
            f"those at {evaluation.context.threshold:g}, for which nothing speaks. {without} "
            "scores of validation images by --validation.",
        )


def _chance(evaluation: Evaluation) -> Iterator[VerdictWarning]:
    if (found := chance_warning(evaluation.intervals.metrics["roc_auc"])) is not None:
        yield found


def chance_warning(interval: Interval | None) -> VerdictWarning | None:
    """Warn of a 95 % interval of ROC-AUC that does not lie above chance; None where it does."""
    if interval is None or interval[0] > CHANCE:
        return None
    if interval[1] < CHANCE:
        return VerdictWarning(
            "Worse than chance",
            f"the 95% interval of ROC-AUC, {span(interval)}, lies below {CHANCE}: the classes are "
            "ranked in the wrong order. Check whether labels are swapped, here or in training.",
        )
    return VerdictWarning(
        "Not better than chance",
        f"the 95% interval of ROC-AUC, {span(interval)}, includes {CHANCE}, which guessing "
        "reaches. Train longer, on more images or from trained weights, or score more images.",
    )


def _wrong_answers(evaluation: Evaluation) -> Iterator[VerdictWarning]:
    """Warn where validation's answers, on images or on whole videos, are wrong too often."""
    level, points = evaluation.group_level, [evaluation.context.operating_point]
    if level is not None and level.video is not None:
        points.append(level.video.point.operating_point)
    title = BAND_WARNING.removesuffix(": ")
    for point in points:
        if point is not None and (text := point.risk_warning) is not None:
            said = text.removeprefix(BAND_WARNING)
            yield VerdictWarning(title, said[0].lower() + said[1:])


def _shortcuts(evaluation: Evaluation) -> Iterator[VerdictWarning]:
    for text in evaluation.context.shortcuts:
        yield VerdictWarning(
            "Shortcut",
            f"in the images it was trained on, {text}. Save both classes alike and train again "
            "(audit.html of the run says how); faceproof evaluate neutral=jpeg measures what is "
            "left without it.",
        )


def _encoding(evaluation: Evaluation) -> Iterator[VerdictWarning]:
    neutral = evaluation.context.neutral
    if neutral is not None and neutral.answers in ("depend", "unsteady"):
        yield VerdictWarning(
            "Encoded alike, answers change",
            f"{neutral_verdict(neutral)} Train on images whose classes are encoded alike.",
        )


def _few(evaluation: Evaluation) -> Iterator[VerdictWarning]:
    num_images, num_units = evaluation.metrics["num_images"], evaluation.intervals.num_units
    if not num_images:
        return
    images = f"{count(int(num_images))} images"
    if num_units < num_images:
        images += f" in {count(num_units)} independent groups"
    if num_units < MIN_UNITS:
        yield VerdictWarning(
            "Few images",
            f"{'1 image is' if num_images == 1 else f'{images} are'} too few for intervals, which "
            f"need {MIN_UNITS}.",
        )
        return
    for name, shown in (("roc_auc", "ROC-AUC"), ("accuracy", "accuracy")):
        interval = evaluation.intervals.metrics[name]
        if interval is None:
            continue
        if (width := interval[1] - interval[0]) > WIDE:
            yield VerdictWarning(
                "Few images",
                f"with {images} the 95% interval of {shown}, {span(interval)}, is {width:.2f} "
                "wide. Score more images before you decide by it.",
            )
        return
