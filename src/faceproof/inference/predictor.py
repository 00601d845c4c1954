"""Loads a detector artifact and judges images with it, exactly as an evaluation scores them."""

import functools
import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from faceproof import lookup
from faceproof.artifact.artifact import read_card, read_file, read_network, read_network_novelty
from faceproof.artifact.card import Card, DetectorEntry, NetworkEntry
from faceproof.artifact.hub import local_folder
from faceproof.data.image_io import (
    UnreadableImageError,
    decode_image,
    from_pillow,
    read_image,
)
from faceproof.data.model_input import Fit, fit_image
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import Scores, is_positive
from faceproof.inference.verdicts import (
    NO_FACE,
    Fitted,
    Member,
    Network,
    Scorer,
    TorchNetwork,
    Verdict,
)
from faceproof.models.devices import pick_device
from faceproof.task import get_task

log = logging.getLogger(__name__)
BACKENDS = ("torch", "onnx", "auto")

ImageLike = (
    str | Path | bytes | bytearray | memoryview | Image.Image | Tensor | npt.NDArray[np.uint8]
)


@dataclass(eq=False, repr=False)
class Predictor:
    """A loaded detector artifact; see `load`.

    Attributes:
        task: of a cascade, that of its detector.
        threshold: an image is called positive from this probability on.
        fingerprint: SHA-256 of the card, which has the SHA-256 of the weights.
        fits: how they want their images, each way once.
        gate: of a cascade, the scorer that says whether there is a face; else None.
        backend: what runs its networks, `torch` or `onnx`.

    Examples:
        >>> import faceproof as fp
        >>> detector = fp.load("detector", device="cpu")
        >>> 0 <= detector.threshold <= 1, detector.backend
        (True, 'torch')
    """

    card: Card
    fingerprint: str
    device: torch.device
    scorer: Scorer
    gate: Scorer | None = None
    backend: str = "torch"

    def __post_init__(self) -> None:
        self.task = self.scorer.task
        self.threshold = self.scorer.point.threshold
        self.fits = tuple(dict.fromkeys(network.fit for network in self.networks()))

    @property
    def knows_novelty(self) -> bool:
        """Whether it calls images unsure that are unlike its training images."""
        return self.scorer.novelty is not None

    def networks(self) -> list[Network]:
        """Return all its networks, in the order of the card."""
        scorers = [scorer for scorer in (self.gate, self.scorer) if scorer is not None]
        return [member.network for scorer in scorers for member in scorer.members]

    def __call__(self, image: ImageLike) -> Verdict:
        """Return the verdict on one image; see `predict_batch`."""
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[ImageLike]) -> list[Verdict]:
        """Return the verdicts on several images, scored in one batch.

        Args:
            images: paths, bytes of image files, Pillow images, or (3, H, W) uint8 RGB.

        Raises:
            FaceproofError: one cannot be read, or is no image; or its score is not finite.
        """
        if not images:
            return []
        if self.card.detector.crop is not None:
            _warn_of_crops(self.card.name)
        return self.judge(stack_fitted([self.fit(to_rgb(image)) for image in images]))

    def fit(self, image: Tensor) -> Fitted:
        """Fit (3, H, W) uint8 for each network: (3, S, S), or (N, 3, S, S) of N tiles."""
        return fit_all(image, self.fits)

    def judge(self, fitted: Fitted) -> list[Verdict]:
        """Return the verdicts on a batch of images that `fit` has fitted."""
        if self.gate is None:
            return self.scorer.judge(*self.scorer.score(fitted))
        logits, _ = self.gate.score(fitted)
        shares = self.gate.probabilities(logits)
        faces = is_positive(shares, self.gate.point.threshold)
        found: list[Verdict] = []
        if faces.any():  # the detector judges faces alone
            chosen = torch.from_numpy(faces)
            of_faces = {fit: images[chosen] for fit, images in fitted.items()}
            found = self.scorer.judge(*self.scorer.score(of_faces))
        rest = iter(found)
        unsure = self.scorer.point.unsure
        no_face = Verdict(
            NO_FACE, NO_FACE, None, None, self.threshold, self.task.name, unsure=unsure
        )
        return [
            replace(next(rest) if face else no_face, gate_probability=float(share))
            for face, share in zip(faces, shares, strict=True)
        ]

    def score_tensors(self, images: Tensor) -> Scores:
        """Return the logits, (B,) float64, of (B, 3, H, W) uint8, without the gate of a cascade."""
        return self.scorer.score({fit: fit_image(images, *fit) for fit in self.fits})[0]


@functools.cache
def _warn_of_crops(name: str) -> None:
    """Warn, once in a process, that a detector of cut-out faces is given images as they are."""
    log.warning(
        "%s was trained on faces that are cut out; what it is given is judged as it is, and should "
        "be such crops: faceproof.inference.faces.judge_faces cuts them out, as `predict` does",
        name,
    )


def judge_batches(predictor: Predictor, fitted: Fitted, batch_size: int) -> list[Verdict]:
    """Return the verdicts on images that `Predictor.fit` has fitted, so many at a time."""
    total = max((len(images) for images in fitted.values()), default=0)
    parts = (slice(start, start + batch_size) for start in range(0, total, batch_size))
    batches = ({fit: images[part] for fit, images in fitted.items()} for part in parts)
    return [verdict for batch in batches for verdict in predictor.judge(batch)]


def fit_all(image: Tensor, fits: Sequence[Fit]) -> Fitted:
    """Fit an image, (3, H, W) uint8, in each way in which networks want it."""
    return {fit: fit_image(image, *fit) for fit in fits}


def stack_fitted(fitted: Sequence[Fitted]) -> Fitted:
    """Make one batch, (B, 3, S, S), of images that `Predictor.fit` has fitted."""

    def stack(images: Iterable[Tensor]) -> Tensor:  # in the format channels_last, as decoders do
        return torch.stack([image.movedim(-3, -1) for image in images]).movedim(-1, -3)

    return {fit: stack(one[fit] for one in fitted) for fit in fitted[0]}


def to_rgb(image: ImageLike) -> Tensor:
    """Return an image as RGB, (3, H, W) uint8.

    Raises:
        FaceproofError: it cannot be read, or is no image.
    """
    if isinstance(image, str | Path):
        try:
            return torch.from_numpy(read_image(image))
        except UnreadableImageError as error:
            raise FaceproofError(f"{image} cannot be read: {error}") from error
    if isinstance(image, bytes | bytearray | memoryview):
        return torch.from_numpy(decode_image(bytes(image)))
    if isinstance(image, Image.Image):
        return torch.from_numpy(from_pillow(image))
    # A copy, because numpy's arrays may be read-only.
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.dtype != torch.uint8:
        found = f"{tuple(pixels.shape)} {pixels.dtype}"
        raise FaceproofError(f"an image's pixels are (3, H, W) uint8 in RGB; found {found}")
    return pixels


def load(
    path: str | Path, device: str = "auto", backend: str = "torch", allow: Sequence[str] = ()
) -> Predictor:
    """Load a detector artifact.

    No network connection and no training code is needed, and nothing in the artifact is executed.

    Args:
        path: the artifact's folder; or its place on the Hugging Face hub, `hf://OWNER/NAME` or
            `hf://OWNER/NAME@REVISION`, from where it is fetched into the cache.
        device: a torch device, or `auto` for a GPU where there is one.
        backend: `torch`, `onnx` for ONNX Runtime (on the CPU) if the artifact was exported so, or
            `auto`; see `choose_backend`.
        allow: modules of the user's own code that it may name; see `faceproof.lookup`.

    Raises:
        FaceproofError: it is no artifact, not whole, or not what its card says; or the hub does not
            give it out.

    Examples:
        >>> import faceproof as fp
        >>> detector = fp.load("detector")
        >>> detector.task.classes
        ('real', 'fake')
    """
    if backend not in BACKENDS:
        raise FaceproofError(f"backend = {backend!r} must be one of {', '.join(BACKENDS)}")
    lookup.allow(allow)
    folder = local_folder(path)
    card = read_card(folder)
    if backend == "auto":
        backend = choose_backend(card, device)
    fingerprint = hashlib.sha256(json.dumps(card.to_json(), sort_keys=True).encode()).hexdigest()
    place = pick_device(device) if backend == "torch" else torch.device("cpu")

    def network(entry: NetworkEntry) -> Network:
        if backend == "torch":
            net = read_network(folder, entry)
            return TorchNetwork(net, place, read_network_novelty(folder, entry, net))
        from faceproof.artifact.onnx import MAX_BYTES, OnnxNetwork

        if entry.onnx is None:
            raise FaceproofError(
                f"{folder} was exported without ONNX; export it by faceproof export --onnx, or "
                "take the backend torch"
            )
        data = read_file(folder, entry.onnx, MAX_BYTES)
        return OnnxNetwork(data, entry.input, entry.novelty is not None)

    def scorer(part: DetectorEntry) -> Scorer:
        members = [Member(network(one), one.weight, one.calibration) for one in part.networks]
        task = get_task(part.task.name)
        return Scorer(task, part.operating_point, members, part.average, part.video, part.novelty)

    gate = None if card.gate is None else scorer(card.gate)
    return Predictor(card, fingerprint, place, scorer(card.detector), gate, backend)


def choose_backend(card: Card, device: str) -> str:
    """Return `onnx` where it is faster and the artifact has it: on a CPU; else `torch`.

    An export with ONNX fails unless both gave the same logits and verdicts on real images.
    """
    exported = all(network.onnx is not None for network in card.networks)
    on_cpu = pick_device(device).type == "cpu"
    return "onnx" if exported and on_cpu and find_spec("onnxruntime") is not None else "torch"
