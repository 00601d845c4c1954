"""The image towers that people adapt, of timm's classes, with two tiny blocks, at random."""

from functools import partial

import torch

from faceproof.models import Detector
from faceproof.models.backbones import timm_backbone
from faceproof.models.heads import LinearHead
from tests.small_networks import join

SIDE = 32
TINY = {"depth": 2, "embed_dim": 16, "num_heads": 2}
# By what they are known as: timm's name and what else makes them tiny.
TOWERS = {
    "vit": ("vit_tiny_patch16_224", {}),
    "clip": ("vit_base_patch16_clip_224", {}),
    "dinov2": ("vit_small_patch14_reg4_dinov2", {"patch_size": 16}),
    "dinov3": ("vit_small_patch16_dinov3", {}),
    "perception_encoder": ("vit_pe_core_base_patch16_224", {}),
}


def tower(name: str, seed: int = 0) -> Detector:
    model, options = TOWERS[name]
    torch.manual_seed(seed)
    backbone = timm_backbone(model, size=SIDE, **TINY, **options)
    return join(backbone, partial(LinearHead, num_outputs=1), size=SIDE).eval()


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of the command line that make such a network."""
    model, options = TOWERS[name]
    settings = (f"+model.backbone.{key}={value}" for key, value in {**TINY, **options}.items())
    return ("model=timm", f"model.name={model}", f"model.input.size={SIDE}", *settings)
