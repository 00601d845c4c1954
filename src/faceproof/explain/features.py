"""Compute the backbone's features of images, which the head of the network sees."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from faceproof.errors import FaceproofError
from faceproof.explain.feature_map import Features
from faceproof.explain.loaded_detector import BATCH, Subject, has_channels_last, read_images
from faceproof.models.detector import Detector

THUMBNAIL = 48  # pixels a side, in TensorBoard's projector


@torch.inference_mode()
def backbone_features(net: Detector, images: Tensor) -> Features:
    """Return the features of images, averaged over places where the backbone keeps places.

    Args:
        net: the network; it is put into eval mode.
        images: (B, 3, S, S) in [0, 1].

    Returns:
        (B, C).

    Raises:
        FaceproofError: the backbone's output has no such shape.
    """
    net.eval()
    values = net.features(images.to(net.input_mean.device)).float()
    if values.ndim == 4:
        values = values.mean((1, 2) if has_channels_last(net) else (2, 3))
    elif values.ndim == 3:
        values = values.mean(1)
    if values.ndim != 2:
        raise FaceproofError(
            f"the backbone's output has the shape {tuple(values.shape)}; features are (B, C), "
            "(B, N, C) or (B, C, h, w)"
        )
    return np.asarray(values.cpu().numpy(), np.float32)


def sample_features(subject: Subject, rows: pa.Table) -> tuple[Features, Tensor]:
    """Return the features (N, C) of the images of a table, and thumbnails (N, 3, s, s).

    Raises:
        FaceproofError: an image cannot be read.
    """
    features, thumbnails = [], []
    for start in range(0, rows.num_rows, BATCH):
        paths = rows["path"].slice(start, BATCH).to_pylist()
        images = torch.from_numpy(read_images(paths, subject.net.input))
        features.append(backbone_features(subject.net, images))
        size = [THUMBNAIL, THUMBNAIL]
        thumbnails.append(nn.functional.interpolate(images, size, mode="area"))
    return np.concatenate(features), torch.cat(thumbnails)
