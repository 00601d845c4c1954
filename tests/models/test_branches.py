"""Input branches: against references written out, and what they leave as it is in a network."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from faceproof.errors import FaceproofError
from faceproof.models import ImageInput, build_network, load_initial_weights, parameter_blocks
from faceproof.models.branches import BRANCHES, CosineSpectrum, HighPass, NeighbouringPixels
from tests.small_networks import save

INPUT = ImageInput(16, (0.4, 0.5, 0.6), (0.1, 0.2, 0.4), "bilinear")
PLAIN = {"size": 16, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}
LINE = np.array([[1, -2, 1]]) / 2
SQUARE = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]) / 4
WIDE = np.array(
    [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2],
     [-1, 2, -2, 2, -1]]
) / 12  # fmt: skip
BRANCHED = [{"name": "srm"}, {"name": "npr"}, {"name": "dct"}, {"name": "dct", "block": 8}]


def network(branch=None, model="test_resnet", **input):
    torch.manual_seed(0)
    settings = {"backbone": {"name": "timm", "model": model}, "input": {**PLAIN, **input}}
    return build_network(settings | ({} if branch is None else {"branch": branch})).eval()


def images(seed=0, size=16):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_high_pass_residuals_are_the_three_filters_over_all_colours():
    given = images()
    found = HighPass(INPUT, truncate=None)(given)
    summed = np.pad(given.sum(1).numpy() * 255, ((0, 0), (2, 2), (2, 2)), mode="edge")
    for row in range(2):
        for channel, kernel in enumerate((SQUARE, WIDE, LINE)):
            full = np.zeros((5, 5))
            top, left = ((5 - side) // 2 for side in kernel.shape)
            full[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
            wanted = scipy.signal.correlate2d(summed[row], full, mode="valid")
            assert found[row, channel].numpy() == pytest.approx(wanted, abs=1e-3)


def test_high_pass_residuals_are_truncated_as_the_rich_model_has_them():
    found = HighPass(INPUT)(images())
    assert found.abs().max() == 2
    whole = HighPass(INPUT, truncate=None)(images())
    assert torch.equal(found, whole.clamp(-2, 2))


@pytest.mark.parametrize("create", [HighPass, NeighbouringPixels])
def test_a_plain_image_has_no_residuals_at_its_border_either(create):
    assert create(INPUT)(torch.full((1, 3, 16, 16), 0.5)).abs().max() < 1e-4


@pytest.mark.parametrize("size", [16, 15])
def test_neighbouring_pixels_are_compared_with_the_first_of_their_square(size):
    given = images(size=size)
    found = NeighbouringPixels(INPUT)(given)
    for y, x in ((0, 0), (0, 1), (5, 4), (7, 9), (size - 1, size - 1)):
        first = given[..., y - y % 2, x - x % 2]
        wanted = (given[..., y, x] - first) / torch.tensor(INPUT.std) * 2 / 3
        torch.testing.assert_close(found[..., y, x], wanted)


def test_neighbouring_pixels_are_the_authors_formula_on_the_normalised_image():
    given = images()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (INPUT.mean, INPUT.std))
    shown = (given - mean) / std
    small = torch.nn.functional.interpolate(shown, scale_factor=0.5, mode="nearest")
    again = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(NeighbouringPixels(INPUT)(given), (shown - again) * 2 / 3)


def test_the_spectrum_is_the_transform_of_the_whole_image():
    given = images()
    found = CosineSpectrum(INPUT)(given)
    wanted = scipy.fft.dctn(given.numpy() * 255 - 128, type=2, norm="ortho", axes=(2, 3))
    assert found.numpy() == pytest.approx(np.log1p(np.abs(wanted)), abs=1e-3)


def test_blocks_are_transformed_in_their_places():
    given = images()
    found = CosineSpectrum(INPUT, block=8)(given)
    block = given[..., 8:, :8].numpy() * 255 - 128
    wanted = scipy.fft.dctn(block, type=2, norm="ortho", axes=(2, 3))
    assert found[..., 8:, :8].numpy() == pytest.approx(np.log1p(np.abs(wanted)), abs=1e-3)
    assert CosineSpectrum(INPUT, block=8).keeps_places
    assert not CosineSpectrum(INPUT).keeps_places


@pytest.mark.parametrize("branch", BRANCHED, ids=str)
def test_a_branch_in_the_image_s_place_changes_no_weight_and_no_name(branch):
    plain, branched = network().state_dict(), network(branch).state_dict()
    assert list(plain) == list(branched)
    assert all(torch.equal(plain[name], branched[name]) for name in plain)


@pytest.mark.parametrize("branch", BRANCHED, ids=str)
def test_the_backbone_sees_the_branch_alone_or_both(branch):
    alone, both = network(branch), network({**branch, "mode": "beside"})
    given = images()
    shown = alone.branch(given)
    assert not torch.allclose(shown, given, atol=0.1)
    with torch.no_grad():
        assert torch.equal(alone.features(given), alone.backbone(shown))
        rgb, other = both.features(given).chunk(2, 1)
        assert torch.equal(rgb, both.backbone(given))
        assert torch.equal(other, both.second_backbone(both.branch(given)))
    assert both.head.logit.linear.in_features == 2 * both.backbone.num_features


@pytest.mark.parametrize("name", BRANCHES)
def test_residuals_are_whole_in_half_precision(name):
    net = network({"name": name})
    given = images()
    whole = net.branch(given)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net.branch(given), whole)
        assert net.branch(given.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("branch", BRANCHED, ids=str)
def test_gradients_pass_through_to_the_pixels(branch):
    given = images().requires_grad_()
    network(branch).branch(given).sum().backward()
    assert given.grad.isfinite().all()
    assert given.grad.abs().max() > 0


def test_the_blocks_of_two_backbones_are_taken_together():
    one, two = network(), network({"name": "srm", "mode": "beside"})
    blocks = parameter_blocks(two)
    assert len(blocks) == len(parameter_blocks(one))
    for block, both in zip(parameter_blocks(one), blocks, strict=True):
        assert both == block + [f"branch.{name}" for name in block]


def test_both_backbones_begin_with_the_weights_of_a_file(tmp_path):
    torch.manual_seed(4)
    state = network().state_dict()
    net = network({"name": "npr", "mode": "beside"})
    first = net.backbone.state_dict()
    assert any(not torch.equal(a, b) for a, b in zip(
        first.values(), net.second_backbone.state_dict().values(), strict=True))  # fmt: skip
    backbone = {k.removeprefix("backbone."): v for k, v in state.items() if "backbone" in k}
    load_initial_weights(net, str(save(backbone, tmp_path / "backbone.safetensors")))
    for loaded in (net.backbone, net.second_backbone):
        assert all(torch.equal(loaded.state_dict()[key], backbone[key]) for key in backbone)


def test_a_file_of_both_backbones_gives_each_its_own_though_the_head_is_another(tmp_path):
    branch = {"name": "npr", "mode": "beside"}
    state = network(branch).state_dict()
    state["head.logit.linear.weight"] = torch.zeros(1, 7)
    net = network(branch)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    said = load_initial_weights(net, str(save(state, tmp_path / "whole.safetensors")))
    assert "head at random" in said
    for name, value in net.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, state[name])


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ({"name": "smr"}, r"model\.branch\.name = 'smr'.*mean srm"),
        ({"name": "srm", "mode": "both"}, r"model\.branch\.mode = 'both' must be one of replace"),
        ({"name": "none", "mode": "beside"}, r"model\.branch\.mode changes nothing without"),
        ({"name": "none", "block": 8}, r"model\.branch\.block changes nothing without"),
        ({"name": "srm", "trunkate": 1}, r"did you mean model\.branch\.truncate"),
        ({"name": "srm", "truncate": -1}, r"model\.branch\.truncate = -1 must be a number"),
        ({"name": "dct", "block": 5}, r"model\.branch\.block = 5 must divide .* which is 16"),
        ({"name": "dct", "block": 0}, r"model\.branch\.block = 0 must be a count"),
        ({"name": "os.system"}, r"model\.branch\.name = 'os\.system' is code"),
        ("srm", r"model\.branch = 'srm' must be settings with a name"),
    ],
)
def test_a_branch_that_cannot_be_is_refused(branch, message):
    with pytest.raises(FaceproofError, match=message):
        network(branch)
