"""The settings of an evaluation, checked before anything is read. Nothing here imports torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faceproof.data.leave_out import HELD_OUT
from faceproof.data.loader_config import PAIRED, LoaderConfig
from faceproof.data.subgroups import check_subgroups
from faceproof.data.table import SPLITS
from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import LOCAL, ClusterConfig, EngineConfig
from faceproof.evaluation.operating_point import THRESHOLD, ThresholdConfig
from faceproof.settings import (
    COUNT,
    PLACE,
    TEXT,
    Rule,
    SettingError,
    UnknownSettingError,
    check,
    make,
    one_of,
    optional,
)

BY_NAME = Rule(lambda value: isinstance(value, Mapping), f"{', '.join(THRESHOLD)}, by name")
OWN = "own"  # the run's


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate, and how.

    Attributes:
        run: a run folder, or `latest`.
        split: the split to score, `all`, or `held_out`: what the run's `leave_out` left out.
        frames: at most so many images of each group (video), evenly spaced; None for all.
        subgroups: further columns of the image table to break the metrics down by; null for those
            that the run's own image table has, or that `data.subgroups` names.
        neutral: `jpeg` scores again with both classes re-encoded alike.
        robustness: `standard` or `quick` scores again under growing corruption.
        threshold: `criterion`, `fpr` and `value`, null for the run's own; and `max_risk`, `own`
            for the run's own.
        calibration: of that other threshold; null for the run's own.
        name: the evaluation's folder below `evaluations/`; null for data sets and split.
        loader: batch size and worker processes.
        device: cpu, cuda or auto.
        engine: what scores: `local` for this machine, `ray` or `ray://HOST:PORT` for a cluster.
        cluster: the workers of a cluster.
    """

    run: str
    split: str = "test"
    frames: int | None = None
    subgroups: Sequence[str] | None = None
    neutral: str | None = None
    robustness: str | None = None
    threshold: Mapping[str, Any] = field(default_factory=dict)
    calibration: str | None = None
    name: str | None = None
    loader: LoaderConfig = field(default_factory=lambda: LoaderConfig(batch_size=64))
    device: str = "auto"
    engine: str = LOCAL
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        check(
            self, run=PLACE, split=one_of(*SPLITS, "all", HELD_OUT), frames=optional(COUNT),
            neutral=optional(one_of("jpeg")), robustness=optional(one_of("standard", "quick")),
            threshold=BY_NAME, name=optional(TEXT), device=TEXT,
        )  # fmt: skip
        EngineConfig(self.engine, self.cluster)
        if self.engine != LOCAL and self.device not in ("auto", self.worker_device):
            gpus = f"cluster.gpus_per_worker={self.cluster.gpus_per_worker:g}"
            raise SettingError("device", f"= {self.device!r} is not what a worker with {gpus} has")
        check_subgroups(self.subgroups)
        if self.loader.batch_size == "auto":
            raise SettingError("loader.batch_size", "= 'auto' is for training; give a whole number")
        if self.loader.sampler == PAIRED:
            raise SettingError("loader.sampler", "= 'paired' is for training; leave it out")
        self.requested_threshold()

    @property
    def worker_device(self) -> str:
        """Where the network runs in a worker of a cluster."""
        return "cuda" if self.cluster.gpus_per_worker else "cpu"

    @property
    def other_band(self) -> bool:
        """Whether another unsure band than the run's own is asked for, by `threshold.max_risk`."""
        return bool(self.threshold.get("max_risk", OWN) != OWN)

    def requested_threshold(self) -> ThresholdConfig | None:
        """Return the other threshold that is set, or None for the run's own.

        Its `max_risk` counts with `other_band` alone.
        """
        if "calibration" in self.threshold:
            raise UnknownSettingError("threshold.calibration", THRESHOLD)
        wanted = {**self.threshold, "calibration": self.calibration}
        max_risk = wanted.pop("max_risk", OWN)
        given = {name: value for name, value in wanted.items() if value is not None}
        if given and "criterion" not in given:
            raise FaceproofError(
                f"{', '.join(given)} would change nothing without threshold.criterion: the run's "
                "own threshold and calibration stand unless another criterion is given"
            )
        band = {} if max_risk == OWN else {"max_risk": max_risk}
        made = make(ThresholdConfig, given | band, "threshold")  # checks the band by itself too
        return made if given else None
