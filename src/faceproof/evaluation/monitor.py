"""The figure of validation by which epochs, runs and trials are chosen."""

from typing import Literal

from faceproof.errors import FaceproofError

FIGURES = (
    *("loss", "accuracy", "precision", "recall", "f1", "jaccard"),
    *("roc_auc", "average_precision", "eer"),
)


def better(monitor: str) -> Literal["min", "max"]:
    """Say whether a monitored figure is better when it is smaller (`min`) or larger (`max`).

    Raises:
        FaceproofError: it is no figure of validation, so that nothing may be chosen by it.
    """
    split, _, figure = monitor.partition("/")
    if split != "val" or figure not in FIGURES:
        raise FaceproofError(
            f"{monitor!r} cannot be monitored: epochs are chosen by figures of validation, "
            f"{', '.join(f'val/{name}' for name in FIGURES)}"
        )
    return "min" if figure in ("loss", "eer") else "max"
