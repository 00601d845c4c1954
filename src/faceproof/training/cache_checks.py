"""Says which images cannot be cached before training: those that are changed anew in each epoch."""

from typing import TYPE_CHECKING

from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.data.loader_config import CacheConfig
from faceproof.settings import SettingError

if TYPE_CHECKING:
    from faceproof.augment.transforms import Augment


def check_cache(
    cache: CacheConfig, augment: "Augment", synthesis: SynthesisConfig, mode: str = "resize"
) -> None:
    """Refuse to cache images that are changed anew in each epoch before they could be cached.

    `mode` is that of the model's input.
    """
    whats = []
    if mode != "resize":
        whats.append((f"model.input.mode={mode}, which crops the decoded image",
                      "take model.input.mode=resize"))  # fmt: skip
    if augment.in_loader:
        whats.append(("augment.web and augment.torchvision, which change the decoded image",
                      "take another augmentation, such as augment=flip"))  # fmt: skip
    if synthesis.share:
        whats.append(("synthesis, which makes pseudo-fakes of the decoded image", "synthesis=none"))
    for what, instead in whats:
        for name, value, off in (("images", cache.images, "none"), ("views", cache.views, None)):
            if value != off:
                raise SettingError(
                    f"cache.{name}",
                    f"= {value} cannot be combined with {what} anew in each epoch, before it is "
                    f"resized; leave it out, or {instead}",
                )
