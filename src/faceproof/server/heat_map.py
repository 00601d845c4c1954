"""Draws, over an image, what a detector's answer rests on."""

import copy
import threading
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from faceproof.data.image_io import thumbnail
from faceproof.data.model_input import fit_image, to_unit
from faceproof.errors import FaceproofError
from faceproof.explain.explanation_results import Map
from faceproof.explain.loaded_detector import refuse_means
from faceproof.inference.predictor import Predictor
from faceproof.inference.verdicts import TorchNetwork
from faceproof.reports.gallery import overlay_pixels

SIDE = 480  # pixels, the longer side of what is drawn
METHOD = "cam"


class HeatMaps:
    """Draws maps with a copy of a detector's network, one at a time.

    The hooks that catch gradients must not meet the images that other threads judge. Of an ensemble
    it takes the member of the largest weight.

    Attributes:
        problem: why there can be no maps; None if there can.
        about: what the maps are of.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.problem: str | None = None
        self.about = "the detector"
        self._lock = threading.Lock()
        self._layer: str | None = None
        members = predictor.scorer.members
        chosen = max(members, key=lambda member: member.weight)
        if len(members) > 1:
            self.about = f"the network of the largest weight among {len(members)}"
        if not isinstance(chosen.network, TorchNetwork):
            self.problem = "maps take the backend torch"
            return
        try:
            from faceproof.explain import attribution
        except ImportError:
            self.problem = "maps take the package captum: pip install 'faceproof[explain]'"
            return
        self._attribute: Any = attribution.attribute
        self._check: Any = attribution.check_maps
        self._fit = chosen.network.fit
        self._net = copy.deepcopy(chosen.network.net).requires_grad_(True)
        try:
            refuse_means(self._net.input)
            self._layer = attribution.find_layer(self._net)
        except FaceproofError as error:
            self.problem = str(error)

    def draw(self, image: Tensor) -> Image.Image:
        """Return an image, (3, H, W) uint8, under its map; the crop of it, if that is judged.

        Orange places speak for the positive class, blue ones for the other.

        Raises:
            FaceproofError: there can be no maps, or this one is not finite.
        """
        if self.problem is not None:
            raise FaceproofError(self.problem)
        judged = fit_image(image, *self._fit)
        fitted = to_unit(judged[None])
        shown = image if self._fit.crop is None else judged
        with self._lock, torch.inference_mode(False), torch.enable_grad():
            (found,) = self._check(self._attribute(self._net, fitted.clone(), METHOD, self._layer))
        return _overlay(thumbnail(shown.numpy(), SIDE), found)


def _overlay(image: Image.Image, found: Map) -> Image.Image:
    values = Image.fromarray(found).resize(image.size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255)
    return Image.fromarray(overlay_pixels(pixels, np.asarray(values), METHOD))
