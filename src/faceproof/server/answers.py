"""What the server says of an upload: the fields of an answer, and how they are computed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

from pydantic import BaseModel, Field
from torch import Tensor

from faceproof.data.image_io import thumbnail
from faceproof.evaluation.novelty import STRANGE
from faceproof.inference.faces import FaceOptions, check_faces, judge_faces
from faceproof.inference.predictor import Predictor
from faceproof.inference.timeline import most_positive
from faceproof.inference.verdicts import IN_BAND
from faceproof.inference.video import Clip
from faceproof.inference.video_faces import judge_video_faces, read_faces
from faceproof.inference.video_verdict import judge_clip
from faceproof.reports.html import image_url
from faceproof.server.batches import Batches
from faceproof.server.heat_map import HeatMaps
from faceproof.server.judging_queue import RefusedError
from faceproof.server.limits import Limits
from faceproof.server.uploads import UploadReader

THUMBNAIL = 720  # pixels, the longer side
NOT_FINDING = (
    "this server does not look for faces; leave out faces=true, or start it by faceproof serve DIR "
    "--find-faces, which takes pip install 'faceproof[faces]'"
)


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="in plain words")


class Doubt(BaseModel):
    """When and why a verdict is unsure.

    Novelty says how unlike the training images something is; a detector that does not know it has
    neither `novelty` nor `is_strange`.
    """

    reason: str | None = Field(
        None,
        description=f"why the verdict is unsure: {IN_BAND}; or {STRANGE}. Null of another verdict",
    )
    unsure: list[float] | None = Field(
        None,
        description="the unsure band of probabilities: from the first on, short of the second; "
        "equal without a band. A video has its own",
    )
    novelty: float | None = Field(
        None,
        description="how far from the training images, 1 for a usual one of validation; of a video "
        "the median over its frames",
    )
    is_strange: bool | None = Field(None, description="whether that is too far for an answer")


class Place(BaseModel):
    """A rectangle in pixels of the image as it is shown, turned upright."""

    left: int
    top: int
    right: int = Field(description="the first one outside")
    bottom: int = Field(description="the first one outside")


class Face(Doubt):
    """What the detector says of one face of an image."""

    box: Place
    verdict: str = Field(description="a class, unsure, or no face where a gate says so")
    called: str
    probability: float | None
    logit: float | None
    threshold: float
    task: str
    gate_probability: float | None


class Frame(BaseModel):
    """What the detector says of one frame of a video."""

    time: float = Field(description="in seconds")
    verdict: str
    probability: float | None
    thumbnail: str | None = Field(
        None, description="with thumbnails=true, of the frames of the highest probability: a JPEG "
        "as a data URL",
    )  # fmt: skip


class Track(Doubt):
    """What the detector says of one face of a video, over the frames in which it is seen."""

    verdict: str
    called: str
    probability: float | None
    low: float | None
    high: float | None
    share: float | None
    frames_read: int = Field(description="in which the face is seen")
    frames: list[Frame]


class Thumbnail(BaseModel):
    """A small copy of an image."""

    url: str = Field(description="a JPEG as a data URL")
    width: int = Field(description="of the image itself, in pixels, upright")
    height: int = Field(description="of the image itself, in pixels, upright")


class Map(BaseModel):
    """What an answer rests on, drawn over the image, or over the face that decides."""

    url: str = Field(
        description="a JPEG as a data URL; orange speaks for the positive class, blue against it"
    )
    about: str = Field(description="what the map is of: the detector, or one of its networks")


class Answer(Doubt):
    """What the detector says of an image or a video."""

    kind: str = Field(description="image or video")
    verdict: str = Field(description="a class, unsure, or no face")
    called: str = Field(description="the class by the threshold alone, or no face")
    probability: float | None = Field(
        description="calibrated, of the positive class; of a video by its rule; null where there "
        "is no face"
    )
    threshold: float = Field(description="called positive from this probability on")
    task: str
    gate_probability: float | None = Field(description="of a face; of cascades alone")
    logit: float | None = Field(None, description="of an image, the raw score")
    low: float | None = Field(None, description="of a video: 10 % of the frames lie below")
    high: float | None = Field(None, description="of a video: 10 % of the frames lie above")
    share: float | None = Field(None, description="of a video: frames called positive")
    score: float | None = Field(None, description="of a video, what the rule makes of its frames")
    frame_threshold: float | None = Field(None, description="of a video, that of its frames")
    how: str | None = Field(None, description="of a video: mean, median or share; null without")
    seconds: float | None = Field(None, description="of a video, how long it lasts")
    frames_wanted: int | None = Field(None, description="of a video")
    frames_read: int | None = Field(None, description="of a video")
    rule: str | None = Field(None, description="of a video or of faces, how the verdict is made")
    note: str | None = Field(None, description="what should be known of a video's frames, or faces")
    frames: list[Frame] | None = Field(None, description="of a video, in their order")
    faces: list[Face] | None = Field(
        None, description="with faces=true: the faces that were found, the largest first"
    )
    tracks: list[Track] | None = Field(
        None, description="of a video with faces=true: each face that is followed through it; the "
        "fields above are of the face that decides",
    )  # fmt: skip
    thumbnail: Thumbnail | None = Field(None, description="with thumbnails=true: of an image")
    map: Map | None = Field(
        None, description="with map=true: of an image; null of a video and where there is no face"
    )


@dataclass(frozen=True)
class Question:
    """What a client asks of an upload; `api` describes the parameters."""

    frames: int
    faces: bool = False
    map: bool = False
    thumbnails: bool = False


class Judge:
    """Answers questions on uploads.

    Args:
        predictor: the detector.
        limits: how much is taken.
        options: how faces are found; None where the server does not find any.
        batch_wait: seconds that an image waits for others, to be judged in one batch.
    """

    def __init__(
        self,
        predictor: Predictor,
        limits: Limits,
        options: FaceOptions | None,
        batch_wait: float = 0.0,
    ) -> None:
        if options is not None:
            check_faces(predictor, options)
        self.predictor = predictor
        self.uploads = UploadReader(limits)
        self.batches = Batches(predictor.judge, limits.concurrency, batch_wait)
        self.options = options

    @property
    def faces_by_default(self) -> bool:
        """Whether faces are found unless a client says otherwise, as for the training images."""
        return self.options is not None and self.predictor.card.detector.crop is not None

    @cached_property
    def maps(self) -> HeatMaps:
        """What draws maps; made when first needed, for it copies a network."""
        return HeatMaps(self.predictor)

    def answer(self, file: BinaryIO, question: Question, deadline: float) -> dict[str, Any]:
        """Return the answer on a file, with the fields of `Answer`.

        The `deadline` is on the clock of `time.monotonic`.

        Raises:
            RefusedError: the file cannot be judged, or the server cannot do what is asked.
        """
        if question.map and self.maps.problem is not None:
            raise RefusedError(422, f"there is no map: {self.maps.problem}")
        if question.faces:
            return self._faces(file, question, deadline)
        found = self.uploads.read(file, self.predictor.fits, question.frames, deadline)
        if isinstance(found, Clip):
            return self._video(found, question)
        verdict = self.batches.judge(self.predictor.fit(found))
        shown = self._shown(question, found, found, verdict.probability)
        return {"kind": "image", **verdict.to_json(), **shown}

    def _faces(self, file: BinaryIO, question: Question, deadline: float) -> dict[str, Any]:
        """Answer on the faces of an image or video; the map is of what decides in an image."""
        if self.options is None:
            raise RefusedError(422, NOT_FINDING)
        image = self.uploads.read_image(file, deadline)
        if image is None:
            return self._video_faces(file, question, deadline, self.options)
        found = judge_faces(self.predictor, image, self.options)
        crop = found.decides
        decides = image if crop is None else crop
        shown = self._shown(question, image, decides, found.image.probability)
        return {"kind": "image", **found.to_json(), **shown}

    def _video(self, clip: Clip, question: Question) -> dict[str, Any]:
        verdict = judge_clip(self.predictor, clip)
        answer = {"kind": "video", **verdict.to_json(), **({"map": None} if question.map else {})}
        if question.thumbnails:
            for number in most_positive(verdict):
                answer["frames"][number]["thumbnail"] = image_url(clip.thumbnails[number])
        return answer

    def _video_faces(
        self, file: BinaryIO, question: Question, deadline: float, options: FaceOptions
    ) -> dict[str, Any]:
        fits, frames = self.predictor.fits, question.frames
        clip = self.uploads.read_video(
            deadline, lambda bounds: read_faces(file, fits, frames, options, bounds)
        )
        found = judge_video_faces(self.predictor, clip)
        answer = {"kind": "video", **found.to_json(), **({"map": None} if question.map else {})}
        decides = found.deciding_clip(clip)
        if question.thumbnails and decides is not None:
            for number in most_positive(found.video):
                answer["frames"][number]["thumbnail"] = image_url(decides.thumbnails[number])
        return answer

    def _shown(
        self, question: Question, image: Tensor, decides: Tensor, probability: float | None
    ) -> dict[str, Any]:
        """Return the copy of an image, (3, H, W) uint8, and the map that a client asks for."""
        shown: dict[str, Any] = {}
        if question.thumbnails:
            url = image_url(thumbnail(image.numpy(), THUMBNAIL))
            shown["thumbnail"] = {"url": url, "width": image.shape[2], "height": image.shape[1]}
        if question.map and probability is None:
            shown["map"] = None
        elif question.map:
            url = image_url(self.maps.draw(decides))
            shown["map"] = {"url": url, "about": self.maps.about}
        return shown
