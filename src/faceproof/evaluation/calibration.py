"""Calibration: from logits to probabilities that mean what they say, fitted on validation.

    method        map                                     fitted by
    none          sigmoid(logit)                          nothing
    temperature   sigmoid(logit / T), one parameter       negative log likelihood (Guo et al. 2017)
    isotonic      any map that never falls, as knots      least squares (Zadrozny and Elkan 2002)
    auto          temperature, or isotonic where there are `MIN_ISOTONIC` units of each class (a
                  unit is an image, or a group of them) and it has the lower cross-validated
                  negative log likelihood

No map reverses a ranking, so whatever is computed from ranks stays as it was.

Validation cannot show how rare the errors are of which it holds none. Neither fit claims more than
the rule of succession allows: temperature is fitted to Platt's (1999) targets, (P + 1) / (P + 2)
and 1 / (N + 2) in place of 1 and 0, and the probabilities of isotonic knots keep 1 / (n + 2) from
0 and 1. P, N and n are numbers of units, for the frames of a video are no evidence of their own.
So T stays finite on separable data; besides, it is held within `TEMPERATURES`.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.optimize
import scipy.special

from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import SCHEMA, Labels, Scores, logits_of
from faceproof.evaluation.statistics import Codes

METHODS = ("auto", "temperature", "isotonic", "none")
TEMPERATURES = (0.01, 100.0)
MIN_ISOTONIC = 500  # of each class; below, its steps follow noise (Niculescu-Mizil & Caruana 2005)
NUM_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """A map from logits to probabilities.

    An isotonic one has knots (logit, probability), logits rising; it is linear between them and
    level outside.
    """

    method: str = "none"  # none, temperature or isotonic
    temperature: float = 1.0  # divides the logit
    knots: tuple[tuple[float, float], ...] = ()
    reason: str = "not fitted"  # why this method, in words

    def apply(self, logits: Scores) -> Scores:
        """Return the probabilities of the positive class, (N,) float64, in the order of ranks."""
        values = np.asarray(logits, np.float64)
        if self.method == "isotonic":
            return _interpolate(values, self.knots)
        return np.asarray(scipy.special.expit(values / self.temperature))

    def first_logit(self, probability: float) -> float:
        """Return the lowest logit that has a probability or more; infinite where all or none have.

        Examples:
            >>> Calibration(temperature=2.0).first_logit(0.5)
            0.0
        """
        if self.method != "isotonic":
            return float(scipy.special.logit(probability) * self.temperature)
        after = next((n for n, (_, share) in enumerate(self.knots) if share >= probability), None)
        if after is None:
            return math.inf
        if after == 0:
            return -math.inf
        (left, low), (right, high) = self.knots[after - 1], self.knots[after]
        return left + (probability - low) / (high - low) * (right - left)

    def to_json(self) -> dict[str, Any]:
        """Return the map as plain values."""
        return asdict(self) | {"knots": [list(knot) for knot in self.knots]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Calibration":
        """Return the map that `to_json` wrote."""
        names = {"method", "temperature", "knots", "reason"}
        if not isinstance(values, dict) or set(values) != names:
            raise FaceproofError(f"no calibration of this version: {str(values)[:200]}")
        knots = tuple((float(logit), float(share)) for logit, share in values["knots"])
        found = cls(values["method"], float(values["temperature"]), knots, values["reason"])
        steps = np.diff(np.array(knots).reshape(-1, 2), axis=0)
        if (
            found.method not in METHODS[1:]
            or not 0 < found.temperature < math.inf
            or (found.method == "isotonic") != bool(knots)
            or not ((steps[:, 0] > 0).all() and (steps[:, 1] >= 0).all())
            or not all(0 <= share <= 1 for _, share in knots)
        ):
            raise FaceproofError(
                f"a calibration of method {found.method!r} with temperature {found.temperature} "
                f"and {len(knots)} knots is no rising map to probabilities; the methods are "
                f"{', '.join(METHODS[1:])}"
            )
        return found


def _interpolate(logits: Scores, knots: tuple[tuple[float, float], ...]) -> Scores:
    places, shares = np.array(knots).T
    # Rounding may lift a value above the knot that ends its segment, and so above its successors.
    ceiling = shares[np.minimum(np.searchsorted(places, logits), len(places) - 1)]
    return np.asarray(np.minimum(np.interp(logits, places, shares), ceiling))


def calibrated(predictions: pa.Table, calibration: Calibration) -> pa.Table:
    """Return the predictions with the probabilities that the calibration gives to their logits."""
    probabilities = calibration.apply(logits_of(predictions)).astype(np.float32)
    place = SCHEMA.get_field_index("probability")
    return predictions.set_column(place, SCHEMA.field("probability"), pa.array(probabilities))


def fit_calibration(
    labels: Labels, logits: Scores, method: str = "auto", units: Codes | None = None
) -> Calibration:
    """Fit a calibration by one of `METHODS` to validation images.

    Labels are (N,) of 0 and 1, logits and units (N,). Images of one unit (see `groups.unit_codes`)
    are held out together; without units every image is its own.

    Raises:
        FaceproofError: the method is not known, or images of one class are missing.
    """
    if method not in METHODS:
        raise FaceproofError(f"calibration is one of {', '.join(METHODS)}; found {method!r}")
    if method == "none":
        return Calibration(reason="none is set")
    num_positive = int(np.count_nonzero(labels))
    counts = len(labels) - num_positive, num_positive
    if not all(counts):
        raise FaceproofError(
            f"calibration needs validation images of both classes; found {counts[0]:,} negative "
            f"and {counts[1]:,} positive ones; set the calibration to none, or split the data so "
            "that validation holds both"
        )
    # In order of scores no sum depends on the order in which the rows came.
    order = np.lexsort((labels, logits))
    labels, logits = labels[order], np.asarray(logits, np.float64)[order]
    codes = np.arange(len(logits)) if units is None else units[order]
    if method == "temperature":
        return _fit_temperature(labels, logits, codes)
    if method == "isotonic":
        return _fit_isotonic(labels, logits, codes)
    return _choose(labels, logits, codes)


def _choose(labels: Labels, logits: Scores, units: Codes) -> Calibration:
    """Choose between temperature and isotonic; the simpler one wins a tie."""
    scarcer = min(_num_units(labels, units))
    simple = _fit_temperature(labels, logits, units)
    if scarcer < MIN_ISOTONIC:
        what = "images" if len(np.unique(units)) == len(units) else "independent groups"
        few = f"isotonic needs {MIN_ISOTONIC} {what} of each class and there are {scarcer:,}"
        return replace(simple, reason=few)
    losses = [
        _held_out_loss(labels, logits, units, fit) for fit in (_fit_temperature, _fit_isotonic)
    ]
    words = f"cross-validated loss: temperature {losses[0]:.5f}, isotonic {losses[1]:.5f}"
    better = losses[1] < losses[0]
    return replace(_fit_isotonic(labels, logits, units) if better else simple, reason=words)


def _num_units(labels: Labels, units: Codes) -> tuple[int, int]:
    """Return of how many units the negative and the positive images are."""
    return len(np.unique(units[labels == 0])), len(np.unique(units[labels == 1]))


def _fit_temperature(labels: Labels, logits: Scores, units: Codes) -> Calibration:
    num_negative, num_positive = _num_units(labels, units)
    sure = (num_positive + 1) / (num_positive + 2)
    targets = np.where(labels == 1, sure, 1 / (num_negative + 2))

    def loss(log_temperature: float) -> float:
        scaled = logits * math.exp(-log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    # Convex in 1 / T, and so with a single minimum in log T.
    bounds = tuple(math.log(value) for value in TEMPERATURES)
    options = {"xatol": 1e-7}
    found = scipy.optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
    temperature = min(max(math.exp(found.x), TEMPERATURES[0]), TEMPERATURES[1])
    return Calibration("temperature", temperature, reason="temperature is set")


def _fit_isotonic(labels: Labels, logits: Scores, units: Codes) -> Calibration:
    # Equal logits are averaged into one knot, so that equal scores stay equal.
    from sklearn.isotonic import IsotonicRegression  # not above: it takes a second to import

    fitted = IsotonicRegression(out_of_bounds="clip").fit(logits, labels)
    edge = 1 / (len(np.unique(units)) + 2)
    shares = np.maximum.accumulate(np.clip(fitted.y_thresholds_, edge, 1 - edge))
    knots = tuple(zip(fitted.X_thresholds_.tolist(), shares.tolist(), strict=True))
    return Calibration("isotonic", knots=knots, reason="isotonic is set")


def _folds(logits: Scores, units: Codes) -> Codes:
    """Deal the units to the folds in turn, in order of their mean logit: alike, and no chance."""
    _, codes = np.unique(units, return_inverse=True)
    means = np.bincount(codes, logits) / np.bincount(codes)
    ranks = np.empty(len(means), np.int64)
    ranks[np.argsort(means, kind="stable")] = np.arange(len(means))
    return np.asarray(ranks[codes] % NUM_FOLDS)


def _held_out_loss(labels: Labels, logits: Scores, units: Codes, fit: Any) -> float:
    total, folds = 0.0, _folds(logits, units)
    for fold in range(NUM_FOLDS):
        out = folds == fold
        probabilities = fit(labels[~out], logits[~out], units[~out]).apply(logits[out])
        right = np.where(labels[out] == 1, probabilities, 1 - probabilities)
        total -= float(np.log(np.maximum(right, np.finfo(np.float64).tiny)).sum())
    return total / len(labels)
