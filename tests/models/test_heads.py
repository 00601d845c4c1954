"""Heads: what they compute, and that two outputs are worth one logit."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceproof.models.heads import ConvTailHead, HiddenHead, LinearHead, Logit, SqueezeExciteHead


def random_labels(num: int) -> Tensor:
    return torch.randint(0, 2, (num,), generator=torch.Generator().manual_seed(1))


def test_two_outputs_are_cross_entropy_in_loss_and_gradients() -> None:
    torch.manual_seed(0)
    head = LinearHead(7, num_outputs=2)
    features, labels = torch.randn(16, 7, requires_grad=True), random_labels(16)
    wanted = (head.logit.linear.weight, head.logit.linear.bias, features)

    loss = F.binary_cross_entropy_with_logits(head(features), labels.float())
    gradients = torch.autograd.grad(loss, wanted)
    reference = F.cross_entropy(head.logit.linear(features), labels)
    reference_gradients = torch.autograd.grad(reference, wanted)

    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(gradients, reference_gradients)


def test_two_outputs_give_the_probability_of_the_second_class() -> None:
    torch.manual_seed(0)
    logit, features = Logit(7, 2), torch.randn(16, 7)
    softmax = logit.linear(features).softmax(1)[:, 1]
    torch.testing.assert_close(logit(features).sigmoid(), softmax)


def test_the_difference_is_taken_in_full_precision() -> None:
    logit = Logit(2, 2).bfloat16()
    with torch.no_grad():
        logit.linear.weight.copy_(torch.eye(2))
        logit.linear.bias.zero_()
    # 100 and 1/8 are bfloat16 numbers; their difference is not.
    outputs = logit(torch.tensor([[0.125, 100.0]], dtype=torch.bfloat16))
    assert outputs.dtype == torch.float32
    assert outputs.item() == 99.875


@pytest.mark.parametrize("num_outputs", [0, 3])
def test_a_logit_has_one_or_two_outputs(num_outputs: int) -> None:
    with pytest.raises(ValueError, match=f"1 or 2 outputs, found {num_outputs}"):
        Logit(4, num_outputs)


@pytest.mark.parametrize("num_outputs", [1, 2])
@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (lambda n: LinearHead(8, n), (1, 8)),
        (lambda n: HiddenHead(8, 5, num_outputs=n), (1, 8)),
        (lambda n: SqueezeExciteHead(8, 4, num_outputs=n), (1, 8, 3, 3)),
    ],
    ids=["linear", "hidden", "squeeze_excite"],
)
def test_one_image_gives_one_logit(head, shape: tuple[int, ...], num_outputs: int) -> None:
    assert head(num_outputs)(torch.rand(shape)).shape == (1,)


def test_squeeze_excite_scales_the_map_and_then_pools() -> None:
    torch.manual_seed(0)
    head, features = SqueezeExciteHead(32, reduction=8), torch.randn(4, 32, 5, 6)
    gate = nn.Sequential(head.squeeze, nn.ReLU(), head.excite, nn.Sigmoid())
    scaled = features * gate(F.adaptive_avg_pool2d(features, 1).flatten(1))[:, :, None, None]
    outputs = head.logit.linear(F.adaptive_avg_pool2d(scaled, 1).flatten(1))
    torch.testing.assert_close(head(features), outputs[:, 1] - outputs[:, 0])


def test_squeeze_excite_reduces_as_the_paper_does() -> None:
    head = SqueezeExciteHead(1280)
    assert (head.squeeze.out_features, head.excite.in_features) == (80, 80)


def test_hidden_head_is_linear_relu_linear() -> None:
    torch.manual_seed(0)
    head, features = HiddenHead(6, 4, dropout=0.5).eval(), torch.randn(3, 6)
    plain = nn.Sequential(head.hidden, nn.ReLU(), head.logit.linear)
    torch.testing.assert_close(head(features), plain(features)[:, 0])


def test_dropout_draws_in_training_only() -> None:
    features = torch.ones(1, 64)
    for head in (LinearHead(64, dropout=0.5), HiddenHead(64, 32, dropout=0.5)):
        assert head.train()(features) != head(features)
        assert head.eval()(features) == head(features)


def test_conv_tail_has_system_d_s_layers_in_its_order() -> None:
    torch.manual_seed(0)
    head = ConvTailHead(8, widths=(4, 6), num_hidden=5).eval()
    for norm in (head.norm, head.tail[0][2], head.tail[1][2]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    features = torch.randn(2, 8, 5, 5)

    def normalised(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        return (x - mean) / (var + 1e-3).sqrt()  # Keras's epsilon; scale 1 and shift 0 at first

    x = normalised(features, head.norm)
    for convolution, _, norm, _ in head.tail:
        x = normalised(F.conv2d(x, convolution.weight, convolution.bias, padding=1).relu(), norm)
    reference = head.last.logit.linear(head.last.hidden(x.mean((2, 3))).relu())[:, 0]
    torch.testing.assert_close(head(features), reference)
