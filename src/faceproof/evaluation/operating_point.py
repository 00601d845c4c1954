"""The operating point: calibration, threshold and unsure band, fitted on validation and stored.

It is applied unchanged to every other set of images. The threshold is on the calibrated
probability, and the decision is `predictions.is_positive`.

    criterion  threshold
    youden     the largest true-positive rate less false-positive rate
    f1         the largest F1 of the positive class
    fpr        the lowest whose false-positive rate on validation is at most `fpr`
    fixed      the one given

Of thresholds that do equally well the highest is taken, which has the fewest false alarms. A
threshold stands midway between two neighbouring scores of validation (in float32, as they are
stored): on one of them, a last bit would decide. An isotonic calibration leaves fewer thresholds to
choose from, and may undercut a rate by more.

The unsure band is the narrowest around the threshold such that at most `max_risk` of the validation
images outside of it are called wrongly, where images are left out by the probability of the class
that they are called, lowest first (Chow 1970: no other order leaves out fewer, if probabilities are
right). It leaves out no more than `1 - MIN_COVERAGE` of the images, ties aside; where that does not
suffice a warning says so. With `max_risk` null there is no band.
"""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import METHODS, Calibration, fit_calibration
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.predictions import (
    Labels,
    Scores,
    is_positive,
    label_numbers,
    logits_of,
    probabilities_of,
)
from faceproof.evaluation.reliability import confidences, risk_coverage
from faceproof.evaluation.statistics import Codes, Interval
from faceproof.io.parse import ADDED, parse
from faceproof.io.run_folder import COPY_AGAIN, RunFolder
from faceproof.settings import RATE, SHARE, SettingError, check, one_of, optional
from faceproof.task import Task
from faceproof.words import apart, percent

FORMAT = "faceproof operating point 1"
CRITERIA = ("youden", "f1", "fpr", "fixed")
THRESHOLD = ("criterion", "fpr", "value", "max_risk")  # the settings below `threshold`
FPR, VALUE = 0.01, 0.5  # where a criterion that needs one is set without it
MAX_RISK = 0.05  # measured: docs/explanation/thresholds.md
MAX_RISK_OF_OLD = 0.01  # of operating points that do not name it
MIN_COVERAGE = 0.5
BAND_WARNING = "Too many wrong answers: "  # begins it
BAND_WARNINGS = (BAND_WARNING, "Outside of the unsure band ")  # now, and of earlier versions

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OperatingPoint:
    """How a detector's logits are turned into answers; the counts are of validation images."""

    calibration: Calibration
    threshold: float  # an image is called positive from this probability on
    criterion: str = "fixed"  # what the threshold was chosen for, one of `CRITERIA`
    promised_fpr: float | None = None  # with the criterion `fpr`
    num_negative: int = 0  # 0, as `num_positive`, where nothing was fitted
    num_positive: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    unsure: Interval = (0.5, 0.5)  # from the first on, short of the second; equal without a band
    # The share of wrong answers that the band was to leave; None without a band.
    max_risk: float | None = field(default=MAX_RISK, metadata=ADDED)
    warnings: tuple[str, ...] = ()  # what validation could not promise, in sentences

    @property
    def origin(self) -> str:
        """Say where the threshold comes from."""
        if not self.num_negative + self.num_positive:
            return f"{self.threshold:.4g}, the default: not tuned on anything"
        words = {
            "youden": "the largest true-positive minus false-positive rate",
            "f1": "the largest F1",
            "fpr": f"at most {self.promised_fpr:.4g} false positives" if self.promised_fpr else "",
            "fixed": "given, not tuned",
        }
        return (
            f"{words[self.criterion]}, on {self.num_negative:,} negative and {self.num_positive:,} "
            "positive validation images"
        )

    @property
    def keeps_risk(self) -> bool:
        """Whether validation's answers outside of the unsure band are as seldom wrong as wanted."""
        return self.risk_warning is None

    @property
    def risk_warning(self) -> str | None:
        """How many answers on validation are wrong, where these are more than wanted; else None."""
        return next((text for text in self.warnings if text.startswith(BAND_WARNINGS)), None)

    def to_json(self) -> dict[str, Any]:
        """Return the operating point as plain values."""
        values = {"format": FORMAT} | asdict(self) | {"calibration": self.calibration.to_json()}
        return values | {"unsure": list(self.unsure), "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the operating point that `to_json` wrote."""
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT:
            raise FaceproofError(
                f"no operating point of this version: its format is {found!r} and not {FORMAT!r}"
            )
        names = {field.name for field in fields(cls)}
        values = {"max_risk": MAX_RISK_OF_OLD} | values
        if odd := names ^ (set(values) - {"format"}):
            raise FaceproofError(f"an operating point lacks or should not have: {sorted(odd)}")
        plain = {name: values[name] for name in names}
        plain["calibration"] = Calibration.from_json(values["calibration"])
        low, high = values["unsure"]
        point = cls(**plain | {"unsure": (low, high), "warnings": tuple(values["warnings"])})
        if not 0 <= low <= point.threshold <= high <= 1 or point.criterion not in CRITERIA:
            raise FaceproofError(
                f"an operating point of criterion {point.criterion!r} with threshold "
                f"{point.threshold} and unsure band {low} to {high} makes no sense"
            )
        return point


DEFAULT = OperatingPoint(Calibration(), 0.5)


def in_use(share_unsure: float, error_answered: float | None) -> str:
    """Say what a detector does in use, to stand behind "in use": how much it answers, how wrongly.

    Examples:
        >>> in_use(0.52, 0.052)
        'it answers 48.0% of the images, 5.2% of those wrongly, and calls the others unsure'
    """
    if error_answered is None:
        return "it answers no image"
    if share_unsure == 0:
        return f"it answers every image, {percent(error_answered)} of them wrongly"
    return (
        f"it answers {percent(1 - share_unsure)} of the images, {percent(error_answered)} of those "
        "wrongly, and calls the others unsure"
    )


def read_operating_point(run: RunFolder) -> OperatingPoint:
    """Return the operating point of a run.

    Raises:
        FaceproofError: it is damaged, of another version, or makes no sense.
    """
    values = run.read_operating_point()
    try:
        point: OperatingPoint = parse(OperatingPoint, values)
    except FaceproofError as error:
        raise FaceproofError(f"{run.operating_point} is damaged: {error}; {COPY_AGAIN}") from error
    return point


@dataclass(frozen=True)
class ThresholdConfig:
    """What a threshold is for, and how probabilities are calibrated.

    Args:
        criterion: youden, f1, fpr or fixed.
        fpr: the false-positive rate to keep, for the criterion fpr alone; by default 0.01.
        value: the threshold, for the criterion fixed alone; by default 0.5.
        calibration: auto, temperature, isotonic or none.
        max_risk: the share of wrong answers that the unsure band is to leave; null for no band, so
            that every image is answered.
    """

    criterion: str = "youden"
    fpr: float | None = None
    value: float | None = None
    calibration: str = "auto"
    max_risk: float | None = MAX_RISK

    def __post_init__(self) -> None:
        check(self, criterion=one_of(*CRITERIA), fpr=optional(RATE), value=optional(SHARE))
        check(self, max_risk=optional(RATE))
        for name, criterion in (("fpr", "fpr"), ("value", "fixed")):
            value = getattr(self, name)
            if value is not None and self.criterion != criterion:
                raise SettingError(
                    name,
                    f"= {value} changes nothing with threshold.criterion={self.criterion}: it is "
                    f"read with threshold.criterion={criterion} alone; set that, or leave "
                    f"threshold.{name} out (null)",
                )
        if self.calibration not in METHODS:  # a setting of its own, beside those of `threshold`
            raise FaceproofError(
                f"calibration = {self.calibration!r} must be one of {', '.join(METHODS)}"
            )

    @property
    def rate(self) -> float:
        """The false-positive rate to keep."""
        return FPR if self.fpr is None else self.fpr

    @property
    def fixed(self) -> float:
        """The threshold that is given."""
        return VALUE if self.value is None else self.value


def fit_to_validation(predictions: pa.Table, task: Task, config: ThresholdConfig) -> OperatingPoint:
    """Fit an operating point to a predictions table of validation; see `fit_operating_point`."""
    labels, logits = label_numbers(predictions, task), logits_of(predictions)
    return fit_operating_point(labels, logits, config, units=unit_codes(predictions))


def fit_operating_point(
    labels: Labels,
    logits: Scores,
    config: ThresholdConfig,
    units: Codes | None = None,
) -> OperatingPoint:
    """Fit calibration, threshold and unsure band to validation images, and to no others.

    Labels are (N,) of 0 and 1, logits (N,). For `units` see `groups.unit_codes`; None is for images
    without groups.

    Raises:
        FaceproofError: images of one class are missing.
    """
    num_negative, num_positive = np.bincount(labels, minlength=2).tolist()
    if not (num_negative and num_positive):
        raise FaceproofError(
            f"an operating point needs validation images of both classes; found "
            f"{num_negative:,} negative and {num_positive:,} positive ones"
        )
    calibration = fit_calibration(labels, logits, config.calibration, units)
    probabilities = calibration.apply(logits).astype(np.float32).astype(np.float64)
    chosen, warnings = float(config.fixed), list[str]()
    if config.criterion != "fixed":
        codes = np.arange(len(labels)) if units is None else units
        independent = len(np.unique(codes[labels == 0]))
        chosen, warnings = _choose_threshold(labels, probabilities, config, independent)
    called = is_positive(probabilities, chosen)
    point = OperatingPoint(
        calibration, chosen, config.criterion,
        promised_fpr=config.rate if config.criterion == "fpr" else None,
        num_negative=num_negative, num_positive=num_positive,
        false_positives=int(np.count_nonzero(called & (labels == 0))),
        false_negatives=int(np.count_nonzero(~called & (labels == 1))),
        warnings=tuple(warnings),
    )  # fmt: skip
    return _with_band(point, labels, probabilities, config.max_risk)


def with_other_band(
    point: OperatingPoint, predictions: pa.Table, task: Task, max_risk: float | None
) -> OperatingPoint:
    """Return a point with the unsure band for another risk, and all else as it is.

    `predictions` are those of validation, with the point's own probabilities.
    """
    kept = tuple(text for text in point.warnings if not text.startswith(BAND_WARNINGS))
    labels, probabilities = label_numbers(predictions, task), probabilities_of(predictions)
    return _with_band(replace(point, warnings=kept), labels, probabilities, max_risk)


def _with_band(
    point: OperatingPoint, labels: Labels, probabilities: Scores, max_risk: float | None
) -> OperatingPoint:
    """Return a point with the band for a risk, and a warning where it cannot be kept."""
    threshold, warnings = point.threshold, point.warnings
    if max_risk is None:
        return replace(point, unsure=(threshold, threshold), max_risk=None)
    unsure, risk = _unsure_band(labels, probabilities, threshold, max_risk)
    if risk > max_risk:
        left, aim = apart(risk, max_risk, ".2%")
        warnings += (
            f"{BAND_WARNING}{left} of the answers on validation images are wrong; "
            f"threshold.max_risk wants at most {aim}, and even half of the images called unsure do "
            "not reach that.",
        )
    return replace(point, unsure=unsure, max_risk=max_risk, warnings=warnings)


def _choose_threshold(
    labels: Labels, probabilities: Scores, config: ThresholdConfig, independent: int
) -> tuple[float, list[str]]:
    """Return the threshold for a criterion, and what cannot be promised of it.

    The negative images are of so many `independent` units.
    """
    thresholds, false_positives, true_positives = _candidates(labels, probabilities)
    num_positive = int(np.count_nonzero(labels))
    num_negative = len(labels) - num_positive
    if config.criterion == "fpr":
        return _keep_fpr(thresholds, false_positives, num_negative, config.rate, independent)
    if config.criterion == "youden":
        # In whole numbers, so that equal is equal.
        merit = true_positives * num_negative - false_positives * num_positive
        warnings = [] if merit.max() > 0 else ["No threshold does better than chance."]
        return float(thresholds[np.argmax(merit)]), warnings
    f1 = 2 * true_positives / (true_positives + false_positives + num_positive)
    return float(thresholds[np.argmax(f1)]), []


def _candidates(labels: Labels, probabilities: Scores) -> tuple[Scores, Counts, Counts]:
    """Return every threshold worth trying, falling, with false and true positives of each, (M,).

    They stand above all scores, between neighbouring ones, and below all. A score of 1 leaves no
    room above it: then calling nothing positive is out of reach.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    true_positives = np.append(0, np.cumsum(labels[order])[last])
    false_positives = np.append(0, last + 1) - true_positives
    scores = np.concatenate([[1.0], ranked[last], [0.0]])
    thresholds = (scores[:-1] + scores[1:]) / 2
    reached = slice(int(ranked[0] == 1), None)
    return thresholds[reached], false_positives[reached], true_positives[reached]


def _keep_fpr(
    thresholds: Scores, false_positives: Counts, num_negative: int, fpr: float, independent: int
) -> tuple[float, list[str]]:
    warnings: list[str] = []
    if independent * fpr < 1:
        groups = f" of {independent:,} independent groups" * (independent < num_negative)
        told = "the threshold lets none of them pass, which promises little"
        if num_negative * fpr >= 1:
            told = "the rate is that of these few groups, which promises little"
        warnings.append(
            f"Validation has {num_negative:,} negative images{groups}, and it takes "
            f"{math.ceil(1 / fpr):,} to see a false-positive rate of {fpr:.4g}: {told}."
        )
    within = np.flatnonzero(false_positives / num_negative <= fpr)
    if len(within):
        return float(thresholds[within[-1]]), warnings
    share, limit = apart(false_positives[0] / num_negative, fpr, ".2%")
    warnings.append(
        f"No threshold keeps a false-positive rate of {limit}: {share} of the negative "
        "validation images have probability 1."
    )
    return float(thresholds[0]), warnings


def _unsure_band(
    labels: Labels, probabilities: Scores, threshold: float, max_risk: float
) -> tuple[Interval, float]:
    """Return the narrowest band that leaves at most that risk, and the risk that it leaves."""
    coverage, risk, sure = risk_coverage(labels, probabilities, threshold)
    allowed = np.flatnonzero(coverage >= MIN_COVERAGE)
    within = allowed[risk[allowed] <= max_risk]
    chosen = int(within[-1]) if len(within) else int(allowed[0])
    if chosen == len(sure) - 1:
        return (threshold, threshold), float(risk[chosen])
    least = (float(sure[chosen]) + float(sure[chosen + 1])) / 2
    low, sure_of_all = 1 - least, confidences(probabilities, threshold)
    answered = (sure_of_all >= sure[chosen]) & ~is_positive(probabilities, threshold)
    if answered.any():  # rounding may have lifted one from the edge, which belongs to the band
        low = max(low, float(np.nextafter(probabilities[answered].max(), 1)))
    return (min(threshold, low), max(threshold, least)), float(risk[chosen])
