"""Judges a video by its frames.

Each frame that was read is judged as an image; the mean of their calibrated probabilities is
compared with the threshold and the unsure band, as the probability of an image is. In a cascade,
only frames with a face count; without any, the verdict is `no face`. The detector was calibrated
on images, so the mean is not a calibrated probability of a video.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from faceproof.evaluation.predictions import is_positive
from faceproof.evaluation.reliability import unsure_flags
from faceproof.inference.predictor import Predictor, judge_batches
from faceproof.inference.verdicts import NO_FACE, UNSURE, Verdict
from faceproof.inference.video import Clip
from faceproof.task import get_task

RULE = "mean of the frames' calibrated probabilities against the detector's threshold"
LOW, HIGH = 0.1, 0.9  # quantiles of the spread


@dataclass(frozen=True)
class VideoVerdict:
    """The verdict on a video.

    Attributes:
        verdict: a class, `unsure`, or `no face`; see the rule above.
        called: the class by the threshold alone.
        probability: mean over the frames that count; None if none does.
        low: their 10 % quantile.
        high: their 90 % quantile.
        share: of the frames that count, the share that the threshold calls the positive class.
        gate_probability: of a face, mean over all frames, by the gate of a cascade; else None.
        frames_wanted: how many frames were to be read.
        times: of the frames that could be read, in seconds from the start.
        frames: the verdicts on them.
    """

    verdict: str
    called: str
    probability: float | None
    low: float | None
    high: float | None
    share: float | None
    threshold: float
    task: str
    gate_probability: float | None
    seconds: float
    frames_wanted: int
    times: Sequence[float]
    frames: Sequence[Verdict]

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
        return {
            **values,
            "frames_read": len(self.frames),
            "rule": RULE,
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
    probability = low = high = share = None
    threshold = predictor.threshold
    if len(found):
        mean = found.mean(keepdims=True)
        called = predictor.task.classes[int(is_positive(mean, threshold)[0])]
        verdict = UNSURE if unsure_flags(mean, predictor.scorer.point.unsure)[0] else called
        probability, share = float(found.mean()), float(is_positive(found, threshold).mean())
        low, high = map(float, np.quantile(found, (LOW, HIGH)))
    gate = float(np.mean(shares)) if shares else None
    return VideoVerdict(
        verdict, called, probability, low, high, share, threshold, predictor.task.name, gate,
        clip.seconds, clip.wanted, clip.times, verdicts,
    )  # fmt: skip
