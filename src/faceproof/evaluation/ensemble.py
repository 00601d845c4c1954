"""Ensembles: several detectors' scores of the same images as one.

Each member's logit is calibrated first, so that members of different confidence count alike. Then
either probabilities or logits are averaged:

    probability   p = sum of w_i p_i                the mixture of the members
    logit         logit(p) = sum of w_i logit(p_i)  their normalised geometric mean

The weights are equal, or those of the least negative log likelihood on validation, which is convex
in them. The result is a logit again, and has a calibration and a threshold of its own.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special

from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.predictions import Labels, Scores

AVERAGES = ("probability", "logit")

Weights = npt.NDArray[np.float64]


def combine(
    logits: Sequence[Scores],
    calibrations: Sequence[Calibration],
    weights: Sequence[float],
    average: str,
) -> Scores:
    """Return the logits of an ensemble, (N,), from each member's raw logits, (N,)."""
    if average not in AVERAGES:
        raise FaceproofError(f"an ensemble averages {' or '.join(AVERAGES)}; found {average!r}")
    if not len(logits) == len(calibrations) == len(weights) > 0:
        raise FaceproofError(
            f"an ensemble of {len(logits)} members has {len(calibrations)} calibrations and "
            f"{len(weights)} weights"
        )
    shares = np.asarray(weights, np.float64)
    if not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise FaceproofError(f"weights are from 0 on and sum to 1; found {list(weights)}")
    return _average(_calibrated(logits, calibrations), shares, average)


def _calibrated(logits: Sequence[Scores], calibrations: Sequence[Calibration]) -> Scores:
    """Return calibrated logits, (M, N); by way of probabilities only where there is no other."""
    return np.stack(
        [
            scipy.special.logit(calibration.apply(raw))
            if calibration.method == "isotonic"
            else np.asarray(raw, np.float64) / calibration.temperature
            for raw, calibration in zip(logits, calibrations, strict=True)
        ]
    )


def _average(calibrated: Scores, weights: Weights, average: str) -> Scores:
    """Average (M, N) calibrated logits; in logarithms, so that sure members do not saturate."""
    if average == "logit":
        return np.asarray(weights @ calibrated)
    counts = weights > 0
    scale = np.log(weights[counts])[:, None]
    sides = [
        scipy.special.logsumexp(scipy.special.log_expit(sign * calibrated[counts]) + scale, axis=0)
        for sign in (1, -1)
    ]
    return np.asarray(sides[0] - sides[1])


def fit_weights(
    labels: Labels, logits: Sequence[Scores], calibrations: Sequence[Calibration], average: str
) -> Weights:
    """Return the weights of the least negative log likelihood, (M,), from 0 on, summing to 1.

    They are fitted to validation images: `labels` is (N,) of 0 and 1, each member's logits (N,).
    """
    calibrated = _calibrated(logits, calibrations)
    signs = np.where(labels == 1, 1.0, -1.0)

    def loss(weights: Weights) -> float:
        positive = np.clip(weights, 0, None)
        combined = _average(calibrated, positive / positive.sum(), average)
        return float(-scipy.special.log_expit(signs * combined).mean())

    number = len(calibrated)
    found = scipy.optimize.minimize(
        loss, np.full(number, 1 / number), method="SLSQP", bounds=[(0, 1)] * number,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-10, "maxiter": 500},
    )  # fmt: skip
    weights = np.clip(found.x, 0, None)
    return np.asarray(weights / weights.sum())
