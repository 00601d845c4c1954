"""A map that depends on the network changes with its weights; one that does not is flagged."""

import numpy as np
import pytest
import torch
from scipy import stats

from faceproof.explain.attribution import attribute
from faceproof.explain.explanation_results import hardly_changes
from faceproof.explain.randomisation import randomisation_test, shuffle_weights, similarity
from tests.known_networks import patch_images, patch_network, timm_network

IMAGES = torch.from_numpy(patch_images(3))


def cam(net, images):
    return attribute(net, images, "cam")


def edges(net, images):
    return images.mean(1).numpy()


def constant(net, images):
    return np.ones(images.shape[::2] + images.shape[3:], np.float32)


def stages_of(explain, net=None, images=IMAGES):
    net = net or patch_network()
    return randomisation_test(net, images, explain(net, images), explain)


def test_shuffled_weights_change_the_map():
    stages = stages_of(cam)
    assert [stage.shuffled for stage in stages] == ["head", "all weights"]
    assert stages[-1].share == 1
    assert stages[-1].spearman < 0.3
    assert not hardly_changes(stages)


@pytest.mark.parametrize("explain", [edges, constant])
def test_a_map_of_the_image_alone_is_flagged(explain):
    stages = stages_of(explain)
    assert hardly_changes(stages)
    assert stages[-1].spearman == (pytest.approx(1) if explain is edges else None)


def test_the_cascade_takes_every_weight_once_and_leaves_the_network_alone():
    net = timm_network("test_resnet")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    images = torch.rand(2, 3, 64, 64, generator=torch.manual_seed(0))
    stages = stages_of(cam, net, images)
    shares = [stage.share for stage in stages]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [stage.shuffled for stage in stages][::2] == ["head", "all weights"]
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert stages == stages_of(cam, net, images)


def test_shuffling_keeps_the_values_and_moves_them():
    net, other = timm_network("test_resnet"), timm_network("test_resnet")
    names = [name for name, _ in net.named_parameters()]
    shuffle_weights(net, names[:1], seed=0)
    first, second = dict(net.named_parameters()), dict(other.named_parameters())
    assert not torch.equal(first[names[0]], second[names[0]])
    assert torch.equal(first[names[0]].flatten().sort()[0], second[names[0]].flatten().sort()[0])
    assert all(torch.equal(first[name], second[name]) for name in names[1:])


def test_similarity_is_spearmans_and_does_not_mind_the_sign():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    wanted = [
        abs(stats.spearmanr(a.ravel(), b.ravel()).statistic)
        for a, b in zip(one, other, strict=True)
    ]
    assert similarity(one, other) == pytest.approx(wanted)
    assert similarity(one, -one) == pytest.approx(np.ones(3))


def test_a_map_of_which_nothing_is_left_has_changed():
    one = np.random.default_rng(0).normal(size=(3, 6, 6))
    for nothing in (np.zeros_like(one), np.full_like(one, np.nan)):
        assert similarity(one, nothing).tolist() == [0, 0, 0]
        assert np.isnan(similarity(nothing, one)).all()


@pytest.mark.parametrize("left", [0.0, np.nan])
def test_one_map_without_ranks_does_not_hide_what_the_others_say(left):
    """The weights do not matter to these maps, but that some vanish as they are shuffled."""
    net = patch_network()
    before = edges(net, IMAGES)
    after = before.copy()
    after[0] = left
    last = randomisation_test(net, IMAGES, before, lambda *_: after)[-1]
    assert last.spearman == pytest.approx(2 / 3)
    assert last.num_constant == 0
    assert not hardly_changes(randomisation_test(net, IMAGES, before, lambda *_: after * left))
    last = randomisation_test(net, IMAGES, after, lambda *_: before)[-1]
    assert last.spearman == pytest.approx(1)
    assert last.num_constant == 1
