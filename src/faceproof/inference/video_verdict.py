"""Judges a video by its frames.

Each frame that was read is judged as an image. A detector that has a rule for videos, fixed on
validation (`evaluation.video_point`), makes one score of them by that rule, calibrates it, and
compares it with the threshold and the unsure band of videos. Without one the mean of the calibrated
probabilities is compared with the threshold and the unsure band of images; it is no calibrated
probability of a video. In a cascade, only frames with a face count; without any, the verdict is
`no face`. A video is as novel as the median of the frames that count: it is called unsure, being
unlike the training images, if more than half of them are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from faceproof.evaluation.groups import combine_images
from faceproof.evaluation.novelty import strange_flags
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import Scores, check_scores, is_positive
from faceproof.evaluation.reliability import unsure_flags
from faceproof.evaluation.statistics import Interval
from faceproof.evaluation.video_point import in_words
from faceproof.inference.predictor import Predictor, judge_batches
from faceproof.inference.verdicts import NO_FACE, UNSURE, Verdict, why_unsure
from faceproof.inference.video import Clip
from faceproof.task import get_task

RULE = "mean of the frames' calibrated probabilities against the detector's threshold"
OF_VIDEOS = "{score}, calibrated on {number:,} videos of validation, against the videos' threshold"
LOW, HIGH = 0.1, 0.9  # quantiles of the spread


@dataclass(frozen=True)
class VideoVerdict:
    """The verdict on a video.

    Attributes:
        verdict: a class, `unsure`, or `no face`; see the rule above.
        called: the class by the threshold alone.
        probability: calibrated on videos, where the detector has a rule for them; else the score.
            None if no frame counts.
        score: what the rule makes of the frames that count: their mean, their median, or the share
            of them called the positive class; without a rule their mean.
        low: their 10 % quantile.
        high: their 90 % quantile.
        share: of the frames that count, the share that the images' threshold calls the positive
            class.
        threshold: a video is called positive from this probability on.
        frame_threshold: a frame is.
        unsure: the unsure band of videos.
        how: the detector's rule for videos, `mean`, `median` or `share`; None without one.
        rule: how the verdict was made, in words.
        gate_probability: of a face, mean over all frames, by the gate of a cascade; else None.
        frames_wanted: how many frames were to be read.
        times: of the frames that could be read, in seconds from the start.
        frames: the verdicts on them.
        novelty: the median novelty of the frames that count; None where the detector does not know
            novelty, or no frame counts.
        is_strange: whether that is too much for an answer; None as `novelty`.
    """

    verdict: str
    called: str
    probability: float | None
    score: float | None
    low: float | None
    high: float | None
    share: float | None
    threshold: float
    frame_threshold: float
    unsure: Interval
    how: str | None
    rule: str
    task: str
    gate_probability: float | None
    seconds: float
    frames_wanted: int
    times: Sequence[float]
    frames: Sequence[Verdict]
    novelty: float | None = None
    is_strange: bool | None = None

    @property
    def reason(self) -> str | None:
        """Why it is `unsure`; None where it is not."""
        return why_unsure(self.verdict, self.is_strange)

    @property
    def note(self) -> str | None:
        """Return what should be known about the frames; None if there is nothing."""
        read, counted = len(self.frames), sum(f.probability is not None for f in self.frames)
        notes, wanted = [], f"the {self.frames_wanted} wanted frames"
        if read < self.frames_wanted:
            notes.append(f"only {read} of {wanted} could be read: the file is cut off or damaged")
        if counted < read:
            notes.append(f"{counted} of {read} frames show a face")
        return "; ".join(notes) or None

    @property
    def summary(self) -> str | None:
        """Return the spread over the frames, and what should be known about them."""
        if self.share is None:
            return self.note
        share = f"{self.share:.0%} of frames called {get_task(self.task).positive}"
        spread = f"10% to 90% of frames at {self.low:.3f} to {self.high:.3f}"
        return "; ".join(filter(None, (share, spread, self.note)))

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values, the frames with their times."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["times"], values["frames"]
        if self.novelty is None:
            del values["novelty"], values["is_strange"]
        return {
            **values,
            "reason": self.reason,
            "unsure": list(self.unsure),
            "frames_read": len(self.frames),
            "note": self.note,
            "frames": [
                {"time": time, "verdict": one.verdict, "probability": one.probability}
                for time, one in zip(self.times, self.frames, strict=True)
            ],
        }


def judge_clip(predictor: Predictor, clip: Clip, batch_size: int = 8) -> VideoVerdict:
    """Return the verdict on a video."""
    verdicts = judge_batches(predictor, clip.fitted, batch_size)
    found = np.array([one.probability for one in verdicts if one.probability is not None])
    shares = [one.gate_probability for one in verdicts if one.gate_probability is not None]
    verdict = called = NO_FACE
    probability = score = low = high = share = None
    task, point, how, rule = predictor.task, predictor.scorer.point, None, RULE
    if (video := predictor.scorer.video) is not None:
        point, how, words = video.operating_point, video.rule, in_words(video.rule, predictor.task)
        rule = OF_VIDEOS.format(score=words, number=video.num_videos)
    if len(found):
        share = float(is_positive(found, predictor.threshold).mean())
        combined, logits = combine_images(
            found, np.zeros(len(found), np.int64), how or "mean", predictor.threshold
        )
        score = share if how == "share" else float(combined[0])
        if how is not None:
            combined = _calibrated(logits, point)
        called = task.classes[int(is_positive(combined, point.threshold)[0])]
        verdict = UNSURE if unsure_flags(combined, point.unsure)[0] else called
        probability = float(combined[0])
        low, high = map(float, np.quantile(found, (LOW, HIGH)))
    gate = float(np.mean(shares)) if shares else None
    novelty, is_strange = _median_novelty(predictor, verdicts)
    if is_strange:
        verdict = UNSURE
    return VideoVerdict(
        verdict=verdict, called=called, probability=probability, score=score, low=low, high=high,
        share=share, threshold=point.threshold, frame_threshold=predictor.threshold,
        unsure=point.unsure, how=how, rule=rule, task=task.name, gate_probability=gate,
        seconds=clip.seconds, frames_wanted=clip.wanted, times=clip.times, frames=verdicts,
        novelty=novelty, is_strange=is_strange,
    )  # fmt: skip


def _median_novelty(
    predictor: Predictor, frames: Sequence[Verdict]
) -> tuple[float | None, bool | None]:
    """Return the median novelty of the frames that count, and whether a video of it is strange."""
    known = [one.novelty for one in frames if one.novelty is not None]
    if not known or predictor.scorer.novelty is None:
        return None, None
    middle = float(np.median(known))
    return middle, bool(strange_flags(np.array(middle), predictor.scorer.novelty))


def _calibrated(logits: npt.NDArray[np.float32], point: OperatingPoint) -> Scores:
    """Return the calibrated probabilities, rounded as a predictions table stores them."""
    rounded = point.calibration.apply(logits.astype(np.float64)).astype(np.float32)
    return check_scores(rounded, len(logits), "the calibration of videos")
