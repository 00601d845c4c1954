"""Measure how well single properties of the files predict the class, for the audit.

A detector can learn the file format, the size or a watermark instead of the face. Each property is
given to a small classifier on its own, and all of them together; the result is the cross-validated
area under the ROC curve. At 0.5 and below nothing can be learned from the property.

Frames of one video share its encoding, so whole groups are held out together and the intervals
count groups: otherwise a classifier that knows a video again would look like a shortcut.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.evaluation.statistics import Codes, Scores, auc_interval

Features = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Folds = list[tuple[Codes, Codes]]  # the rows to fit on and the rows held out, of each fold

# A shortcut is reported if the lower end of its interval is above this. Nothing should be learned
# from a file's format. What is seen in the image may be the forgery's own trace: on public sets of
# real and fake faces colour, detail and spectrum reach 0.5 to 0.83.
FILE_LIMIT = 0.65
IMAGE_LIMIT = 0.9
MAX_ROWS = 20_000
MIN_PER_CLASS = 20
NUM_FOLDS = 5
MIN_UNITS = NUM_FOLDS  # of each class, so that every fold can hold out one
NUM_KNOTS = 4
MAX_VALUES = 20  # of a categorical property, such as JPEG tables; rarer ones count as one


@dataclass(frozen=True)
class Shortcut:
    """How well one property of the files predicts the class."""

    name: str
    auroc: float  # cross-validated area under the ROC curve
    low: float  # ends of its 95% interval
    high: float
    # `low` above this is a warning; None for all properties together, which measure how different
    # the classes are and name no single thing to mend.
    limit: float | None

    @property
    def exceeds_limit(self) -> bool:
        """Say whether even the interval's lower end is above the limit."""
        return self.limit is not None and self.low > self.limit


def find_shortcuts(
    stats: pa.Table, labels: Labels, units: Codes | None = None, seed: int = 0
) -> list[Shortcut]:
    """Measure every property, each alone and then all together; the strongest first.

    Nothing is measured where `too_few` says so.

    Args:
        stats: rows of `file_statistics.SCHEMA`, all readable.
        labels: (N,) of 0 and 1.
        units: (N,) numbers of what is independent (see `groups.unit_codes`); None for all rows.
        seed: of the sample (at most `MAX_ROWS` rows) and of the folds.
    """
    units = np.arange(len(labels)) if units is None else units
    if too_few(labels, units):
        return []
    if len(labels) > MAX_ROWS:
        sample = np.sort(np.random.default_rng(seed).choice(len(labels), MAX_ROWS, replace=False))
        stats, labels, units = stats.take(sample), labels[sample], units[sample]
    features = {name: (make(stats), limit) for name, (limit, make) in PROPERTIES.items()}
    together = np.concatenate([values for values, _ in features.values()], axis=1)
    folds = _folds(labels, units, seed)
    found = [
        Shortcut(name, *_area(labels, _held_out_scores(values, labels, folds), units), limit)
        for name, (values, limit) in [*features.items(), ("all together", (together, None))]
    ]
    return sorted(found, key=lambda shortcut: -shortcut.auroc)


def too_few(labels: Labels, units: Codes) -> str | None:
    """Say what there is too little of to tell a shortcut from chance; None where there is enough.

    Labels are (N,) of 0 and 1, units (N,).
    """
    images = np.bincount(labels, minlength=2)
    if (least := int(images.min())) < MIN_PER_CLASS:
        return f"{least:,} labelled images of a class, where {MIN_PER_CLASS} are needed"
    groups = [len(np.unique(units[labels == label])) for label in (0, 1)]
    if (least := min(groups)) < MIN_UNITS:
        return f"images of {least:,} independent groups of a class, where {MIN_UNITS} are needed"
    return None


def _folds(labels: Labels, units: Codes, seed: int) -> Folds:
    """Deal whole units to folds that hold both classes in like shares."""
    # Not above, here and below: an audit is cached, and scikit-learn takes a second to import.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if len(np.unique(units)) == len(units):
        return list(
            StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed).split(labels, labels)
        )
    folds = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    return list(folds.split(labels, labels, units))


def _area(labels: Labels, scores: Scores, units: Codes) -> tuple[float, float, float]:
    from sklearn.metrics import roc_auc_score

    positive = labels == 1
    interval = auc_interval(scores[positive], scores[~positive], units[positive], units[~positive])
    assert interval is not None
    return float(roc_auc_score(labels, scores)), *interval


def _held_out_scores(features: Features, labels: Labels, folds: Folds) -> Scores:
    """Score every row by a classifier that has not seen it nor its group, (N,) float."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns = [column for column in features.T if np.ptp(column) > 0]
    if not columns:
        return np.zeros(len(labels))
    values = np.concatenate([_basis(column) for column in columns], axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    scores = cross_val_predict(model, values, labels, cv=folds, method="decision_function")
    return np.asarray(scores)


def _basis(column: npt.NDArray[np.float64]) -> Features:
    """Return a basis (N, K) by which a linear model can bend: a spline, or one column per value.

    Knots are at quantiles of the distinct values, so that a value many files share is one point.
    """
    from sklearn.preprocessing import SplineTransformer

    distinct = np.unique(column)
    if len(distinct) <= NUM_KNOTS:
        return np.asarray(column[:, None] == distinct, dtype=np.float64)
    knots = np.quantile(distinct, np.linspace(0, 1, NUM_KNOTS))[:, None]
    splines = SplineTransformer(degree=2, knots=knots, include_bias=False)
    bent: Features = splines.fit_transform(column[:, None])
    return np.concatenate([column[:, None], bent], axis=1)


def _one_hot(column: pa.ChunkedArray) -> Features:
    """Return (N, K) of 0 and 1, a column for each of the most frequent values."""
    values = column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False).astype(str)
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    common = np.argsort(-count, kind="stable")[:MAX_VALUES]
    return np.asarray(place[:, None] == common, dtype=np.float64)


def _numbers(*names: str, log: bool = False) -> Callable[[pa.Table], Features]:
    """Return a function from statistics to features (N, K) of numeric columns."""

    def take(stats: pa.Table) -> Features:
        columns = [stats[name].to_numpy().astype(np.float64) for name in names]
        values = np.stack(columns, axis=1)
        return np.log(values) if log else values

    return take


def _lists(name: str) -> Callable[[pa.Table], Features]:
    """Return a function from statistics to features (N, K) of a column of lists of length K."""

    def take(stats: pa.Table) -> Features:
        column = stats[name].combine_chunks()
        flat = column.flatten().to_numpy()
        return np.asarray(flat.reshape(len(column), -1), dtype=np.float64)

    return take


def _file_type(stats: pa.Table) -> Features:
    return np.concatenate([_one_hot(stats[name]) for name in ("format", "mode", "suffix")], axis=1)


PROPERTIES: dict[str, tuple[float, Callable[[pa.Table], Features]]] = {
    "file type": (FILE_LIMIT, _file_type),
    "file size": (FILE_LIMIT, _numbers("size", log=True)),
    "pixel size": (FILE_LIMIT, _numbers("width", "height", log=True)),
    "JPEG tables": (FILE_LIMIT, lambda stats: _one_hot(stats["jpeg_tables"])),
    "metadata": (FILE_LIMIT, lambda stats: _one_hot(stats["metadata"])),
    "mean colour": (IMAGE_LIMIT, _lists("colour")),
    "sharpness": (IMAGE_LIMIT, _numbers("sharpness")),
    "radial spectrum": (IMAGE_LIMIT, _lists("spectrum")),
    "detail along the border": (IMAGE_LIMIT, _lists("border")),
}
