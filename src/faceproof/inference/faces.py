"""Judges an image by the faces in it.

Each face that is found is cut out and judged as an image of its own. The image is called what its
face with the highest probability of the positive class is called, so one forged face makes a forged
image. A face unlike the training images, of which the detector says nothing, decides only where no
other is called positive: else it would hide a forged face beside it. In a cascade, only faces that
pass its gate count. Without any, the verdict is `no face`, unless the whole image shall be judged
then. The more faces, the more chances of a false alarm: the probability is that of one face, not of
the image.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from faceproof.data.model_input import Fit
from faceproof.errors import FaceproofError
from faceproof.inference.predictor import ImageLike, Predictor, fit_all, stack_fitted, to_rgb
from faceproof.inference.verdicts import NO_FACE, Fitted, Verdict
from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import CropConfig, cut_as_stored
from faceproof.prepare.detectors import describe_detector, load_detector
from faceproof.prepare.finding import find_faces

MAX_FACES = 8
log = logging.getLogger(__name__)

RULE = (
    "the face with the highest calibrated probability of the positive class; one unlike the "
    "training images only where no other is called positive"
)
WHOLE = "no face found: the whole image was judged"


@dataclass(frozen=True)
class FaceOptions:
    """How faces are taken out of images.

    Attributes:
        whole_if_none: judge the whole image where no face is found.
        most: how many faces of an image are judged at most, the largest ones.
        crop: how they are found and cut out; it should be as it was for the training images.
    """

    whole_if_none: bool = False
    most: int = MAX_FACES
    crop: CropConfig = field(default_factory=CropConfig)


@dataclass(frozen=True)
class FacesVerdict:
    """The verdict on an image by its faces.

    Attributes:
        image: the verdict on the image; see the rule above.
        boxes: where the faces are, in pixels of the image, the largest first.
        whole: no face was found, and the whole image was judged.
        crops: the faces as they were cut out, (3, S, S) uint8 each, where they are wanted.
    """

    image: Verdict
    boxes: Sequence[Box]
    faces: Sequence[Verdict]
    whole: bool = False
    crops: Sequence[Tensor] = field(default=(), compare=False, repr=False)

    @property
    def decides(self) -> Tensor | None:
        """The crop that decides; None where no face does."""
        for crop, face in zip(self.crops, self.faces, strict=bool(self.crops)):
            if face is self.image:
                return crop
        return None

    @property
    def note(self) -> str | None:
        """Return what should be known about the faces; None if there is nothing."""
        if self.whole:
            return WHOLE
        counted = sum(face.probability is not None for face in self.faces)
        if counted == len(self.faces):
            return None
        return f"{counted} of {len(self.faces)} detections pass the gate"

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values, with the faces' boxes and verdicts."""
        return {
            **self.image.to_json(),
            "rule": RULE,
            "note": self.note,
            "faces": [
                {"box": box._asdict(), **face.to_json()}
                for box, face in zip(self.boxes, self.faces, strict=True)
            ],
        }


def face_options(
    predictor: Predictor, find_faces: bool | None, whole_if_none: bool
) -> FaceOptions | None:
    """Return how faces are found for a detector; None if images are judged as they are.

    Faces are cut out as they were for the images that it was trained on, where the artifact says
    how, and else as `CropConfig` has it.

    Args:
        predictor: the detector.
        find_faces: None for what the detector was trained on.
        whole_if_none: judge the whole image where no face is found.

    Raises:
        FaceproofError: faces cannot be found, or `whole_if_none` would change nothing.
    """
    stored = predictor.card.detector.crop
    if find_faces is None:
        find_faces = stored is not None
    if not find_faces:
        if whole_if_none:
            raise FaceproofError("--whole-if-none changes what --find-faces does; give both")
        return None
    if stored is None:
        options = FaceOptions(whole_if_none)
    else:
        options = FaceOptions(whole_if_none, crop=stored.config)
    check_faces(predictor, options)
    here = describe_detector(options.crop.detector)
    if stored is not None and here != stored.detector:
        log.warning(
            "the faces that the detector was trained on were found by %s, and here by %s: they may "
            "be framed otherwise", stored.detector, here,
        )  # fmt: skip
    return options


def check_faces(predictor: Predictor, options: FaceOptions) -> None:
    """Refuse to find faces where that cannot be done.

    Raises:
        FaceproofError: the task of the detector is whether there is a face, or the face detector
            is not installed.
    """
    if predictor.task.name == "face":
        raise FaceproofError(
            "this detector answers the task face: whether an image shows one. Finding faces first "
            "would answer that question already; leave out --find-faces, or use a detector of the "
            "task deepfake"
        )
    load_detector(options.crop.detector)


def fit_faces(
    image: Tensor, fits: Sequence[Fit], options: FaceOptions
) -> tuple[list[Box], list[Fitted]]:
    """Find faces and resize each for the networks.

    Returns:
        The boxes, and what to judge of the (3, H, W) uint8 image, each as `Predictor.fit` has it:
        the face in each box, or the whole image where there is none and the options say so.
    """
    boxes, parts = cut_faces(image, options)
    return boxes, [fit_all(part, fits) for part in parts]


def cut_faces(image: Tensor, options: FaceOptions) -> tuple[list[Box], list[Tensor]]:
    """Find faces, and cut them out as they are judged; see `fit_faces`."""
    pixels = image.numpy()
    found = find_faces(pixels, load_detector(options.crop.detector), options.crop)
    faces = found.faces[: options.most]
    parts = [torch.from_numpy(cut_as_stored(pixels, face, options.crop)) for face in faces]
    if not faces and options.whole_if_none:
        parts = [image]
    return [face.box for face in faces], parts


class FaceAnswer(Protocol):
    """What is said of a face in an image, or over the frames of a video."""

    @property
    def called(self) -> str:
        """The class by the threshold alone."""

    @property
    def probability(self) -> float | None:
        """Of the positive class; None where there is no face."""

    @property
    def is_strange(self) -> bool | None:
        """Whether it is unlike the training images; None where the detector does not know."""


Answer = TypeVar("Answer", bound=FaceAnswer)


def choose_face(answers: Sequence[Answer], positive: str) -> Answer | None:
    """Return the answer that decides by the rule above; None where no face counts.

    Args:
        answers: on the faces, the largest first; of equal probabilities the first counts.
        positive: the task's positive class.
    """
    counted = [(one.probability, one) for one in answers if one.probability is not None]
    found = [pair for pair in counted if pair[1].called == positive and not pair[1].is_strange]
    return max(found or counted, key=lambda pair: pair[0])[1] if counted else None


def combine_faces(
    predictor: Predictor, boxes: Sequence[Box], verdicts: Sequence[Verdict]
) -> FacesVerdict:
    """Return the verdict on an image from those on its faces, or without any on the whole image."""
    if not boxes and verdicts:
        return FacesVerdict(verdicts[0], (), (), whole=True)
    chosen = choose_face(verdicts, predictor.task.positive)
    if chosen is None:
        task, threshold = predictor.task.name, predictor.threshold
        shares = [one.gate_probability for one in verdicts if one.gate_probability is not None]
        share = max(shares, default=None)
        unsure = predictor.scorer.point.unsure
        chosen = Verdict(NO_FACE, NO_FACE, None, None, threshold, task, share, unsure=unsure)
    return FacesVerdict(chosen, tuple(boxes), tuple(verdicts))


def judge_faces(
    predictor: Predictor, image: ImageLike, options: FaceOptions | None = None
) -> FacesVerdict:
    """Find the faces in an image, judge each, and return the verdict on the image.

    Raises:
        FaceproofError: the detector is of the task face, the face detector is not installed, or
            the image cannot be read.
    """
    options = options or FaceOptions()
    check_faces(predictor, options)
    boxes, parts = cut_faces(to_rgb(image), options)
    fitted = [predictor.fit(part) for part in parts]
    verdicts = predictor.judge(stack_fitted(fitted)) if fitted else []
    found = combine_faces(predictor, boxes, verdicts)
    return replace(found, crops=parts if boxes else ())
