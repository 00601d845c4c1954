"""Export a network to ONNX, and run it by ONNX Runtime on the CPU."""

import logging
import warnings
from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceproof.artifact.onnx_check import INPUT, NOVELTY, OUTPUT, check_model
from faceproof.data.model_input import average_views, fit_of, to_unit
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import ScoreError
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.novelty import DetectorWithNovelty
from faceproof.performance.cores import share_of_cores

MAX_BYTES = 2**31 - 1  # of a model in one piece: protobuf's own limit
MIN_TORCH = (2, 7)  # 2.6 writes shapes that depend on the image


class OnnxNetwork:
    """A network that ONNX Runtime runs on the CPU; the normalisation is inside.

    The model is checked before ONNX Runtime sees it; see `onnx_check`.

    Raises:
        FaceproofError: ONNX Runtime is not installed, or the model is not one of ours.
    """

    def __init__(self, data: bytes, input: ImageInput, with_novelty: bool = False) -> None:
        self.outputs = [OUTPUT, NOVELTY] if with_novelty else [OUTPUT]
        self.fit, self.tta = fit_of(input), input.tta
        runtime = _import("onnxruntime")
        _import("onnx")
        check_model(data, input.size, with_novelty, input.num_passes)
        try:
            options = runtime.SessionOptions()
            # Threads that spin between two batches take the cores from those that decode.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.intra_op_num_threads = share_of_cores() or 0  # 0: as many as there are cores
            self.session = runtime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no base but this
            raise FaceproofError(f"ONNX Runtime cannot load the model: {error}") from error

    def __call__(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return the logits, (B,), as `average_views` has them; with novelties both, (B, 2).

        The model takes one crop of each image.

        Raises:
            ScoreError: the model gives something else than one number an image.
        """
        return np.asarray(average_views(self._run, images, self.tta).numpy(), np.float32)

    def _run(self, images: Tensor) -> Tensor:
        scaled = to_unit(images).contiguous().numpy()
        found = self.session.run(self.outputs, {INPUT: scaled})
        for name, values in zip(self.outputs, found, strict=True):
            if np.shape(values) != (len(images),):
                raise ScoreError(
                    f"the ONNX model's {name} is of shape {np.shape(values)} for {len(images)} "
                    "images, and it takes one number an image; the model is not one of ours"
                )
        return torch.from_numpy(found[0] if len(found) == 1 else np.stack(found, 1))


def _import(name: str) -> ModuleType:
    """Import what only the extra `onnx` brings."""
    try:
        return __import__(name)
    except ImportError as error:
        raise FaceproofError(
            f"ONNX takes the package {name}, which is not installed: pip install 'faceproof[onnx]'"
        ) from error


def to_onnx(net: Detector | DetectorWithNovelty) -> bytes:
    """Return a network as an ONNX model, checked and in one piece.

    It takes `images`, (B, 3, S, S) float32 in [0, 1], and gives `logit`, (B,), and `novelty`, (B,),
    of a network that knows it.

    Raises:
        FaceproofError: the packages are not installed, PyTorch cannot export this network, or has
            written what would not be loaded again.
    """
    onnx = _import("onnx")
    _import("onnxscript")
    if (release := tuple(map(int, torch.__version__.split(".")[:2]))) < MIN_TORCH:
        found, wanted = (".".join(map(str, one)) for one in (release, MIN_TORCH))
        raise FaceproofError(
            f"exporting to ONNX takes PyTorch {wanted} or newer, and this is {found}: update it, "
            "or export without --onnx"
        )
    batch = torch.export.Dim("batch", max=2**20)  # some releases write the example's else
    with_novelty = isinstance(net, DetectorWithNovelty)
    outputs = [OUTPUT, NOVELTY] if with_novelty else [OUTPUT]
    example = torch.zeros(2, 3, net.input.size, net.input.size)
    try:
        with warnings.catch_warnings():
            # What the exporter warns of is its own code; what it makes is measured afterwards.
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                net.eval().cpu(), (example,), input_names=[INPUT], output_names=outputs,
                dynamic_shapes={INPUT: {0: batch}}, dynamo=True, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise FaceproofError(f"PyTorch cannot export this network to ONNX: {reason}") from error
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    onnx.checker.check_model(data)
    check_model(data, net.input.size, with_novelty, net.input.num_passes)
    return data
