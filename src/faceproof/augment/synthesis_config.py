"""Which pseudo-fakes there are, and the settings of those that a training makes."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from faceproof.settings import PLACE, SHARE, Rule, SettingError, check, one_of, optional


class Kind(NamedTuple):
    """What is to be known of a kind of pseudo-fakes, beside how they are made."""

    of_oval: bool = (
        False  # outside of the face's oval a pseudo-fake is equal to the image beside it
    )
    fine: bool = False  # a resize loses what it leaves, so that it is made after that


SELF_BLENDED, BLENDED, RECONSTRUCTED = "self_blended", "blended", "reconstructed"
KINDS = {  # by the name of the generator
    SELF_BLENDED: Kind(of_oval=True),
    BLENDED: Kind(of_oval=True),
    RECONSTRUCTED: Kind(fine=True),
}
OF_OVALS = tuple(name for name, kind in KINDS.items() if kind.of_oval)
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
        kinds: some of `self_blended`, `blended` and `reconstructed`, in equal numbers.
        faces: where a face is, for the first two: `stored` with the crops of `faceproof prepare`,
            `found` by the face detector of that command before training, or where it is in a
            `portrait`; `auto` takes what is stored, and a portrait's place where nothing is.
        autoencoder: a safetensors file of a tiny autoencoder, through which `reconstructed` images
            go instead of an up-sampler; null for the up-samplers. See `augment.autoencoder`.
    """

    share: float = 0.0
    kinds: tuple[str, ...] = ()
    faces: str = "auto"
    autoencoder: str | None = None

    def __post_init__(self) -> None:
        check(self, share=SHARE, kinds=NAMED, faces=one_of(*FACES), autoencoder=optional(PLACE))
        if self.share and not self.kinds:
            raise SettingError("kinds", f"= [] makes nothing for synthesis.share = {self.share}; "
                               f"name some of {', '.join(KINDS)}")  # fmt: skip
        if self.faces != "auto" and self.share and not self.needs_faces:
            raise SettingError(
                "faces",
                f"= {self.faces} changes nothing without the kind {' or '.join(OF_OVALS)}; leave "
                "it out",
            )
        if self.autoencoder is None:
            return
        if not self.share or RECONSTRUCTED not in self.kinds:
            raise SettingError(
                "autoencoder",
                f"= {self.autoencoder} changes nothing without the kind {RECONSTRUCTED}; take "
                "synthesis=reconstructed or synthesis=both, or leave it out",
            )
        if not Path(self.autoencoder).is_file():
            raise SettingError(
                "autoencoder",
                f"= {self.autoencoder} is not there; name a safetensors file with the weights of "
                "a tiny autoencoder, or leave it out for up-samplers",
            )

    @property
    def needs_faces(self) -> bool:
        """Whether some kind is made of faces, whose places must be known."""
        return any(KINDS[kind].of_oval for kind in self.kinds)


def check_input_fits(config: SynthesisConfig, mode: str, resize_to: int | None) -> None:
    """Refuse an autoencoder for images as large as they are, of which one may take gigabytes.

    `mode` and `resize_to` are those of the model's input.

    Raises:
        SettingError: images are neither resized nor brought to a size before they are cropped.
    """
    if config.autoencoder is not None and mode != "resize" and resize_to is None:
        raise SettingError(
            "synthesis.autoencoder",
            f"= {config.autoencoder} would reconstruct whole images before they are cropped "
            f"(model.input.mode={mode}), however large they are; set model.input.resize_to, such "
            "as 256",
        )
