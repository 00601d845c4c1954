"""What a stored operating point does on labelled images, or on whole videos."""

from dataclasses import dataclass

import numpy as np

from faceproof.evaluation import reliability
from faceproof.evaluation.operating_point import OperatingPoint, in_use
from faceproof.evaluation.predictions import Flags, Labels, Scores, is_positive
from faceproof.evaluation.statistics import Codes, Interval, share_interval


@dataclass(frozen=True)
class FalseAlarms:
    """How many negative images are called positive; the rate is None where there are none."""

    num_negative: int
    num_false_positives: int
    rate: float | None
    interval: Interval | None


@dataclass(frozen=True)
class OperatingPointCheck:
    """What an operating point does on these images; each share is None without labelled images.

    `error_answered` is the share called wrongly of the images outside of the unsure band. Where the
    detector calls images unsure that are unlike the training images, these are unsure too.
    """

    fpr: FalseAlarms
    share_unsure: float | None
    error_answered: float | None
    error_answered_interval: Interval | None
    error_all: float | None

    @property
    def in_use(self) -> str | None:
        """What it does in use, in words; None without labelled images."""
        return None if self.share_unsure is None else in_use(self.share_unsure, self.error_answered)


def realised_fpr(called: Flags, labels: Labels, units: Codes) -> FalseAlarms:
    """Return the false-positive rate of decisions on these images, with its interval."""
    negative = labels == 0
    alarms = called[negative]
    return FalseAlarms(
        num_negative=len(alarms),
        num_false_positives=int(np.count_nonzero(alarms)),
        rate=_share(alarms),
        interval=share_interval(alarms, units[negative]),
    )


def check_point(
    labels: Labels,
    probabilities: Scores,
    units: Codes,
    point: OperatingPoint,
    strange: Flags | None = None,
) -> OperatingPointCheck:
    """Measure what an operating point does on labelled images; all columns are (N,).

    `strange` are images that are called unsure because they are unlike the training images.
    """
    called = is_positive(probabilities, point.threshold)
    wrong = called != (labels == 1)
    answered = ~reliability.unsure_flags(probabilities, point.unsure)
    if strange is not None:
        answered &= ~strange
    return OperatingPointCheck(
        fpr=realised_fpr(called, labels, units),
        share_unsure=_share(~answered),
        error_answered=_share(wrong[answered]),
        error_answered_interval=share_interval(wrong[answered], units[answered]),
        error_all=_share(wrong),
    )


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None
