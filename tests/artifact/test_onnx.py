"""What ONNX Runtime gives is looked at before it counts: the model may be a stranger's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faceproof.artifact.onnx import OnnxNetwork
from faceproof.artifact.onnx_check import NOVELTY, OUTPUT
from faceproof.evaluation.predictions import ScoreError


def network(*outputs):
    """Return a network whose model gives these outputs, whatever it is given."""
    net = object.__new__(OnnxNetwork)
    net.outputs, net.tta = [OUTPUT, NOVELTY][: len(outputs)], "none"
    net.session = SimpleNamespace(run=lambda names, given: list(outputs))
    return net


IMAGES = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
SCORES = np.ones(2, np.float32)


def test_outputs_of_one_number_an_image_are_taken():
    assert network(SCORES)(IMAGES).tolist() == [1, 1]
    assert network(SCORES, 2 * SCORES)(IMAGES).tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 2), (2, 2), (0,)])
def test_outputs_of_another_shape_are_refused(shape):
    odd = np.ones(shape, np.float32)
    with pytest.raises(ScoreError, match=r"logit is of shape .* for 2 images"):
        network(odd)(IMAGES)
    with pytest.raises(ScoreError, match=r"novelty is of shape .* for 2 images"):
        network(SCORES, odd)(IMAGES)
    with pytest.raises(ScoreError):
        network(odd, odd)(IMAGES)
