"""Judges an image by the faces in it.

Each face that is found is cut out and judged as an image of its own. The image is called what its
face with the highest probability of the positive class is called, so one forged face makes a forged
image. In a cascade, only faces that pass its gate count. Without any, the verdict is `no face`,
unless the whole image shall be judged then. The more faces, the more chances of a false alarm: the
probability is that of one face, not of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from faceproof.data.model_input import fit_image
from faceproof.errors import FaceproofError
from faceproof.inference.predictor import ImageLike, Predictor, stack_fitted, to_rgb
from faceproof.inference.verdicts import NO_FACE, Fit, Fitted, Verdict
from faceproof.prepare.boxes import MARGIN, Box, crop
from faceproof.prepare.face_detector import MAX_FACES, find_faces, load_detector

RULE = "the face with the highest calibrated probability of the positive class"
WHOLE = "no face found: the whole image was judged"


@dataclass(frozen=True)
class FaceOptions:
    """How faces are taken out of images.

    Attributes:
        whole_if_none: judge the whole image where no face is found.
        most: how many faces of an image are judged at most, the largest ones.
        margin: around a face, as a share of its side; it should be that of the detector's training
            images.
    """

    whole_if_none: bool = False
    most: int = MAX_FACES
    margin: float = MARGIN


@dataclass(frozen=True)
class FacesVerdict:
    """The verdict on an image by its faces.

    Attributes:
        image: the verdict on the image; see the rule above.
        boxes: where the faces are, in pixels of the image, the largest first.
        whole: no face was found, and the whole image was judged.
    """

    image: Verdict
    boxes: Sequence[Box]
    faces: Sequence[Verdict]
    whole: bool = False

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


def check_faces(predictor: Predictor) -> None:
    """Refuse to find faces where that cannot be done.

    Raises:
        FaceproofError: the task of the detector is whether there is a face, or scikit-image is not
            installed.
    """
    if predictor.task.name == "face":
        raise FaceproofError(
            "this detector answers the task face: whether an image shows one. Finding faces first "
            "would answer that question already; leave out --find-faces, or use a detector of the "
            "task deepfake"
        )
    load_detector()


def fit_faces(
    image: Tensor, fits: Sequence[Fit], options: FaceOptions
) -> tuple[list[Box], list[Fitted]]:
    """Find faces and resize each for the networks.

    Returns:
        The boxes, and what to judge of the (3, H, W) uint8 image, (3, S, S) uint8 each: a crop for
        each box, or the whole image where there is none and the options say so.
    """
    boxes = find_faces(image, options.most)
    parts = [crop(image, box, options.margin) for box in boxes]
    if not boxes and options.whole_if_none:
        parts = [image]
    return boxes, [{fit: fit_image(part, *fit) for fit in fits} for part in parts]


def combine_faces(
    predictor: Predictor, boxes: Sequence[Box], verdicts: Sequence[Verdict]
) -> FacesVerdict:
    """Return the verdict on an image from those on its faces, or without any on the whole image."""
    if not boxes and verdicts:
        return FacesVerdict(verdicts[0], (), (), whole=True)
    counted = [(one.probability, one) for one in verdicts if one.probability is not None]
    if counted:  # of equal probabilities the first counts, which is of the largest face
        chosen = max(counted, key=lambda pair: pair[0])[1]
    else:
        task, threshold = predictor.task.name, predictor.threshold
        shares = [one.gate_probability for one in verdicts if one.gate_probability is not None]
        share = max(shares, default=None)
        chosen = Verdict(NO_FACE, NO_FACE, None, None, threshold, task, share)
    return FacesVerdict(chosen, tuple(boxes), tuple(verdicts))


def judge_faces(
    predictor: Predictor, image: ImageLike, options: FaceOptions | None = None
) -> FacesVerdict:
    """Find the faces in an image, judge each, and return the verdict on the image.

    Raises:
        FaceproofError: the detector is of the task face, scikit-image is not installed, or the
            image cannot be read.
    """
    check_faces(predictor)
    boxes, fitted = fit_faces(to_rgb(image), predictor.fits, options or FaceOptions())
    verdicts = predictor.judge(stack_fitted(fitted)) if fitted else []
    return combine_faces(predictor, boxes, verdicts)
