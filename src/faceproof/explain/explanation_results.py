"""Explained images with their maps, and measures of the maps, as plain data.

`explain.explanation` computes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceproof.evaluation.statistics import Interval
from faceproof.explain.config import MapConfig
from faceproof.task import Task

Map = npt.NDArray[np.float32]

MAX_STEM = 40  # letters of an image's name in that of its plot
# A map that keeps more than this mean rank correlation when all weights are shuffled hardly depends
# on the network. Maps of unrelated networks are near 0 to 0.3.
MAX_SIMILARITY = 0.5


@dataclass(frozen=True)
class Explained:
    """An image, what the detector said of it, and its maps.

    Attributes:
        image: (3, S, S) float in [0, 1], the input of the network.
        logit: positive means the positive class.
        probability: of the positive class, calibrated.
        called: the class called at the threshold.
        maps: (S, S) by method; positive values speak for the positive class.
        label: the true class.
        section: the part of the page it belongs to.
    """

    path: str
    image: Map
    logit: float
    probability: float
    called: str
    maps: Mapping[str, Map] = field(default_factory=dict)
    label: str | None = None
    generator: str | None = None
    section: str = "images"

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pixels as plain values."""
        names = "section path label generator logit probability called"
        return {name: getattr(self, name) for name in names.split()}


@dataclass(frozen=True)
class CurveMetrics:
    """What the curves of one method say, over images.

    Attributes:
        area: mean area under the map's curve, in [0, 1].
        random_area: that of random orders.
        random_spread: standard deviation over the random orders of their mean area.
        gain: how much better than random the map is, mean over images; positive is better.
        interval: of the gain, over images; None for fewer than two.
        beats_random: whether the interval lies above zero; None where there is none.
    """

    area: float
    random_area: float
    random_spread: float
    gain: float
    interval: Interval | None
    beats_random: bool | None


@dataclass(frozen=True)
class PlantedMetrics:
    """How well maps find planted forgeries, over images.

    What is compared with the masks of the other images is None for a single image.

    Attributes:
        hits: share of maps whose largest value is inside the mask (the pointing game). Where
            several places share that value, as in a window of occlusion, their share inside.
        hits_elsewhere: the same with the masks of the other images.
        hits_gain: `hits` minus `hits_elsewhere`, mean over images.
        hits_gain_interval: None where all images agree, because their spread is unknown.
        inside: mean share of the map's positive values inside the mask.
        inside_elsewhere: the same with the masks of the other images.
        area: mean share of the image that the mask covers, which chance reaches in both.
        gain: `inside` minus `inside_elsewhere`, mean over images.
        deletion: removing what the map ranks first, compared with random orders.
    """

    num_images: int
    hits: float
    hits_interval: Interval
    hits_elsewhere: float | None
    hits_gain: float | None
    hits_gain_interval: Interval | None
    inside: float
    inside_elsewhere: float | None
    area: float
    gain: float | None
    gain_interval: Interval | None
    deletion: CurveMetrics


@dataclass(frozen=True)
class Stage:
    """How similar maps are before and after some of the weights are shuffled.

    Attributes:
        shuffled: what was shuffled, in words.
        share: share of the parameters.
        spearman: absolute rank correlation of the maps, mean over the images whose map has ranks
            before anything is shuffled; None where none has.
        magnitude: the same of the maps' absolute values, which stay alike where only signs change.
        num_constant: images whose map has no ranks before, because it is constant or not finite.
    """

    shuffled: str
    share: float
    spearman: float | None
    magnitude: float | None
    num_constant: int = 0


def hardly_changes(stages: Sequence[Stage]) -> bool:
    """Say whether a map is constant, or stays similar when all weights are shuffled."""
    last = stages[-1].spearman
    return last is None or last > MAX_SIMILARITY


@dataclass(frozen=True)
class MethodTrust:
    """How far the maps of one method can be trusted.

    Attributes:
        deletion: removing what the map ranks first, compared with random orders.
        insertion: inserting it.
        deletion_curve: mean probability of the called class at equal shares removed.
        insertion_curve: the same at shares inserted.
        stages: how similar the maps are when weights are shuffled.
        hardly_changes: see `hardly_changes`.
        planted: how well they find forgeries whose place is known; None where there are none.
    """

    deletion: CurveMetrics
    insertion: CurveMetrics
    deletion_curve: list[float]
    insertion_curve: list[float]
    stages: list[Stage]
    hardly_changes: bool
    planted: PlantedMetrics | None


@dataclass(frozen=True)
class Trust:
    """The measures of all methods.

    Attributes:
        images: which images they were measured on, in words.
        num_randomised: how many of them went through the randomisation test.
        num_planted: forgeries whose place is known.
        num_found: how many of these were called positive, so that a map could find them.
        random_deletion: the mean curve of random orders.
        random_insertion: the same, inserted.
        mask_deletion: removing first what the masks of those found cover; None without any.
    """

    images: str
    num_images: int
    num_randomised: int
    num_planted: int
    num_found: int
    random_deletion: list[float]
    random_insertion: list[float]
    mask_deletion: CurveMetrics | None
    methods: dict[str, MethodTrust] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Explanation:
    """All that the page of an explanation shows.

    Attributes:
        name: of the run or the artifact.
        threshold: an image is called positive from this probability on.
        config: how the maps were computed.
        layer: the feature map of `cam`; None without `cam`.
        images: those explained, section by section.
        trust: None if the maps were not measured.
        source: where the images come from, in words.
        effort_chosen: whether the user chose the effort, instead of its following the network.
        detector: a digest of the detector that is explained.
    """

    name: str
    task: Task
    threshold: float
    config: MapConfig
    layer: str | None
    images: Sequence[Explained]
    trust: Trust | None
    source: str
    effort_chosen: bool = False
    detector: str = ""

    @property
    def plot_names(self) -> list[str]:
        """The name of the plot of each image, without suffix."""
        stems = (Path(one.path).stem[:MAX_STEM] for one in self.images)
        return [f"plots/{number:02d}_{stem}" for number, stem in enumerate(stems)]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pixels as plain values."""
        return {
            "explained": self.name,
            "detector": self.detector,
            "task": self.task.name,
            "classes": list(self.task.classes),
            "threshold": self.threshold,
            "methods": list(self.config.methods),
            "layer": self.layer,
            "removal": self.config.removal,
            "seed": self.config.seed,
            "effort": self.config.effort.to_json(),
            "source": self.source,
            "images": [
                one.to_json() | {"plot": f"{name}.png"}
                for one, name in zip(self.images, self.plot_names, strict=True)
            ],
            "trust": self.trust and self.trust.to_json(),
        }
