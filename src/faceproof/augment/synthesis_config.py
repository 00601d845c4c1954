"""Which pseudo-fakes there are, and the settings of those that a training makes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceproof.augment.reconstruction import reconstruct
from faceproof.augment.self_blending import Oval, self_blend, target_of
from faceproof.data.image_io import Pixels
from faceproof.settings import SHARE, Rule, SettingError, check, one_of


class Kind(NamedTuple):
    """What makes pseudo-fakes of real images, and the images that stand beside them."""

    fake: Callable[[Pixels, np.random.Generator, Oval], Pixels]
    beside: Callable[[Pixels, np.random.Generator], Pixels]  # by the same draws
    is_fine: bool = False  # a resize loses what it leaves, so that it is made after that
    is_of_oval: bool = False  # outside of the face's oval the two are equal


KINDS = {  # by the name of the generator
    "self_blended": Kind(self_blend, target_of, is_of_oval=True),
    "reconstructed": Kind(
        lambda image, draws, _: reconstruct(image, draws), lambda image, _: image, is_fine=True
    ),
}
FACES = ("auto", "stored", "found", "portrait")
NAMED = Rule(
    lambda value: (
        isinstance(value, tuple)
        and all(isinstance(kind, str) and kind in KINDS for kind in value)
        and len(set(value)) == len(value)
    ),
    f"a list of some of {', '.join(KINDS)}",
)


@dataclass(frozen=True)
class SynthesisConfig:
    """Which pseudo-fakes a training makes of its real images, and how many.

    Attributes:
        share: of the images of an epoch, those that are a pseudo-fake or the image that it was made
            from, which come side by side; the others are those that `loader.sampler` draws. 0 for
            none; with 1 a training sees real images and pseudo-fakes of them alone.
        kinds: some of `self_blended` and `reconstructed`, in equal numbers.
        faces: where a face is, for `self_blended`: `stored` with the crops of `faceproof prepare`,
            `found` by the face detector of that command before training, or where it is in a
            `portrait`; `auto` takes what is stored, and a portrait's place where nothing is.
    """

    share: float = 0.0
    kinds: tuple[str, ...] = ()
    faces: str = "auto"

    def __post_init__(self) -> None:
        check(self, share=SHARE, kinds=NAMED, faces=one_of(*FACES))
        if self.share and not self.kinds:
            raise SettingError("kinds", f"= [] makes nothing for synthesis.share = {self.share}; "
                               f"name some of {', '.join(KINDS)}")  # fmt: skip
        if self.faces != "auto" and self.share and "self_blended" not in self.kinds:
            raise SettingError(
                "faces",
                f"= {self.faces} changes nothing without the kind self_blended; leave it out",
            )
