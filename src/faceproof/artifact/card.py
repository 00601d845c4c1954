"""The card of a detector artifact: everything that is known of a detector but its weights.

`card.json` holds the dataclasses below by the names of their fields. A card may come from a
stranger: `read_json` takes it for data, and refuses one that is incomplete or contradicts itself.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.ensemble import AVERAGES
from faceproof.evaluation.json_values import plain
from faceproof.evaluation.novelty import NoveltyPoint
from faceproof.evaluation.operating_point import OperatingPoint, in_use
from faceproof.evaluation.video_point import VideoPoint
from faceproof.io.parse import ADDED, parse
from faceproof.models.detector import ImageInput
from faceproof.prepare.cropping import StoredCrop
from faceproof.task import Task, get_task

FORMAT = "faceproof detector 2"
MAX_NETWORKS = 100
MAX_SUBGROUPS = 40  # of a column: more words than these would make the card too large
MAX_ROUNDING = 1e-6  # of weights that sum to 1


@dataclass(frozen=True)
class StoredFile:
    """A file of the artifact's folder, and the SHA-256 of its bytes."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.file):
            raise FaceproofError(f"it names the file {self.file!r}, which is not one of its own")

    @classmethod
    def of(cls, name: str, data: bytes) -> "StoredFile":
        """Return the entry of a file of these bytes."""
        return cls(name, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class NetworkEntry:
    """One network, with its settings as in `faceproof.models.ModelConfig`."""

    name: str
    backbone: dict[str, Any]
    head: dict[str, Any]
    input: ImageInput
    weights: StoredFile  # safetensors
    onnx: StoredFile | None = None  # the same network for ONNX Runtime, if it was exported
    initial_weights: str | None = None  # what it was trained from, in words
    trained_with: dict[str, str] | None = None  # versions of the packages that trained it
    weight: float = 1.0  # in an ensemble's average
    calibration: Calibration = field(default_factory=Calibration)  # in an ensemble, of its logits
    # What else it sees of an image, or sees in its place; None of a network of images alone.
    branch: dict[str, Any] | None = field(default=None, metadata=ADDED)
    # What measures how unlike the training images an image is; None where that was not fitted.
    novelty: StoredFile | None = field(default=None, metadata=ADDED)
    # What it was trained with: name and value in words, as in the report.
    recipe: dict[str, str] | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        if not self.weights.file.endswith(".safetensors"):
            raise FaceproofError(
                f"its weights are {self.weights.file!r}; only safetensors are loaded, because a "
                "pickle can run code"
            )
        if self.novelty is not None and not self.novelty.file.endswith(".safetensors"):
            raise FaceproofError(
                f"its novelty is measured by {self.novelty.file!r}; only safetensors are loaded"
            )
        if self.onnx is not None and not self.onnx.file.endswith(".onnx"):
            raise FaceproofError(f"its ONNX model is {self.onnx.file!r}, which is no name of one")
        if not 0 <= self.weight <= 1:
            raise FaceproofError(f"a network's weight is from 0 to 1; found {self.weight}")
        if self.branch is not None and not isinstance(self.branch.get("name"), str):
            raise FaceproofError(f"its input branch has no name: {self.branch!r}")

    @property
    def model(self) -> dict[str, Any]:
        """The settings that build the network."""
        branch = {} if self.branch is None else {"branch": self.branch}
        return {
            "backbone": self.backbone, "head": self.head, "input": asdict(self.input), **branch
        }  # fmt: skip

    @property
    def files(self) -> list[StoredFile]:
        """The files of this network."""
        return [one for one in (self.weights, self.onnx, self.novelty) if one is not None]


@dataclass(frozen=True)
class TrainingData:
    """What a detector was trained on and chosen by."""

    name: str | None  # of the data set
    images: dict[str, dict[str, int]] | None  # by split and class; None without an image table
    fingerprint: str  # SHA-256 of the images' digests, wherever they lie


@dataclass(frozen=True)
class SubgroupEntry:
    """What was measured of the images of one subgroup; intervals are of 95 %."""

    value: str | None  # None of images whose subgroup is not known
    num_images: int
    few: bool  # too few for an interval
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    roc_auc: float | None
    roc_auc_interval: tuple[float, float] | None


@dataclass(frozen=True)
class GapEntry:
    """The largest gap between subgroups; see `evaluation.subgroups.Gap`."""

    worst: str
    best: str
    difference: float
    interval: tuple[float, float]  # that holds for all pairs


@dataclass(frozen=True)
class SubgroupsEntry:
    """The subgroups of a column, worst first, and the largest gap of each metric."""

    column: str
    rows: tuple[SubgroupEntry, ...]  # at most `MAX_SUBGROUPS`; earlier versions stored all
    gaps: dict[str, GapEntry | None]
    num_left: int = field(default=0, metadata=ADDED)  # subgroups that are not stored


@dataclass(frozen=True)
class EvaluationEntry:
    """What an evaluation measured."""

    name: str
    data: str
    split: str
    num_images: int
    threshold: float
    same_operating_point: bool  # whether it had this detector's threshold and calibration
    metrics: dict[str, float | None]  # by name; None where undefined
    intervals: dict[str, tuple[float, float] | None]  # of 95 %
    # At this detector's threshold and unsure band; None of another, or without labels.
    share_unsure: float | None = field(default=None, metadata=ADDED)
    error_answered: float | None = field(default=None, metadata=ADDED)  # of those not unsure
    subgroups: tuple[SubgroupsEntry, ...] = field(default=(), metadata=ADDED)


@dataclass(frozen=True)
class TaskEntry:
    """A task by name, and its classes in the order of their numbers."""

    name: str
    classes: tuple[str, str]

    def __post_init__(self) -> None:
        known = get_task(self.name)
        if self.classes != known.classes:
            raise FaceproofError(
                f"its classes are {', '.join(self.classes)}, and the classes of {known.name} are "
                f"{', '.join(known.classes)}"
            )

    @classmethod
    def of(cls, task: Task) -> "TaskEntry":
        """Return the entry of a task."""
        return cls(task.name, task.classes)


@dataclass(frozen=True)
class DetectorEntry:
    """A network, or an ensemble of several, with an operating point."""

    name: str
    task: TaskEntry
    operating_point: OperatingPoint
    trained_on: TrainingData
    evaluations: tuple[EvaluationEntry, ...]
    networks: tuple[NetworkEntry, ...]
    average: str | None = None  # of an ensemble, one of `AVERAGES`
    # How the faces were cut out that it was trained on; None of images that were taken as they are.
    crop: StoredCrop | None = field(default=None, metadata=ADDED)
    # How its answers on frames become one on a video; None where that was not fitted.
    video: VideoPoint | None = field(default=None, metadata=ADDED)
    # From which novelty on an image is unlike the training images; None where that was not fitted.
    novelty: NoveltyPoint | None = field(default=None, metadata=ADDED)
    # What images that come in are compared with; see `evaluation.drift`.
    reference: StoredFile | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        known = self.average is None or self.average in AVERAGES
        if not known or not self.networks or (self.average is None and len(self.networks) > 1):
            raise FaceproofError(
                f"a detector is one network, or averages {' or '.join(AVERAGES)} of several; found "
                f"{self.average!r} of {len(self.networks)}"
            )
        total = sum(network.weight for network in self.networks)
        if abs(total - 1) > MAX_ROUNDING:
            raise FaceproofError(f"the weights of a detector's networks sum to 1; found {total}")
        if self.novelty is not None and any(one.novelty is None for one in self.networks):
            raise FaceproofError(
                "it says from which novelty on an image is strange, and not by what each of its "
                "networks measures that"
            )
        files = {network.weights.file for network in self.networks}
        if not len(files) == len(self.networks) <= MAX_NETWORKS:
            raise FaceproofError(
                f"a detector has up to {MAX_NETWORKS} networks, each with its own weights; found "
                f"{len(self.networks)} with {len(files)}"
            )

    @property
    def files(self) -> list[StoredFile]:
        """The files of its networks, and its own."""
        own = [] if self.reference is None else [self.reference]
        return [file for network in self.networks for file in network.files] + own

    @property
    def kind(self) -> str:
        """`detector` or `ensemble`."""
        return "detector" if self.average is None else "ensemble"

    @property
    def in_use(self) -> str | None:
        """What it does in use, in a sentence; None if no evaluation has measured that.

        That is on the test images of the data it was trained on, else of another set.
        """
        measured = [one for one in self.evaluations if one.share_unsure is not None]
        tests = [one for one in measured if one.split == "test"]
        own = [one for one in tests if one.data == self.trained_on.name]
        for one in (own or tests or measured)[:1]:
            assert one.share_unsure is not None
            said = in_use(one.share_unsure, one.error_answered)
            return f"In use {said} (measured on {one.data}, {one.split})."
        return None


@dataclass(frozen=True)
class Card:
    """A detector artifact's card; the gate of a cascade is asked first whether there is a face."""

    format: str  # `FORMAT`
    made: str  # when it was exported, in UTC
    versions: dict[str, str]  # of the packages that exported it
    name: str
    detector: DetectorEntry
    gate: DetectorEntry | None = None

    def __post_init__(self) -> None:
        wanted = {"gate": "face", "detector": "deepfake"}
        for role, part in self.parts.items() if self.gate else ():
            if part.task.name != wanted[role]:
                raise FaceproofError(
                    f"the {role} of a cascade answers the task {wanted[role]}; this one answers "
                    f"{part.task.name}"
                )

    @property
    def kind(self) -> str:
        """`detector`, `ensemble` or `cascade`."""
        return self.detector.kind if self.gate is None else "cascade"

    @property
    def task(self) -> TaskEntry:
        """The task that it answers; of a cascade the detector's."""
        return self.detector.task

    @property
    def parts(self) -> dict[str, DetectorEntry]:
        """The gate, if there is one, and the detector, by their roles."""
        gate = {} if self.gate is None else {"gate": self.gate}
        return {**gate, "detector": self.detector}

    @property
    def networks(self) -> list[NetworkEntry]:
        """All networks, those of the gate first."""
        return [network for part in self.parts.values() for network in part.networks]

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain values."""
        values = {one.name: plain(getattr(self, one.name)) for one in fields(self)}
        for role in self.parts:
            for found in values[role]["evaluations"]:
                if not found["subgroups"]:  # as cards of earlier versions
                    del found["subgroups"]
                for part in found.get("subgroups", ()):
                    if not part["num_left"]:
                        del part["num_left"]
        return values

    @classmethod
    def read_json(cls, values: Any) -> "Card":
        """Return the card that `to_json` wrote."""
        found = values.get("format") if isinstance(values, Mapping) else None
        if found != FORMAT:
            raise FaceproofError(f"its format is {found!r}, and this version reads {FORMAT!r}")
        card: Card = parse(cls, values)
        return card
