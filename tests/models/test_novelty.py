"""How unlike the training images an image is, against numpy, scipy and scikit-learn."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.models.backbones import timm_backbone
from faceproof.models.comparing import features_to_compare, middle_layer, stages
from faceproof.models.detector import Detector, pool_features
from faceproof.models.heads import LinearHead
from faceproof.models.novelty import (
    MAX_DIRECTIONS,
    DetectorWithNovelty,
    FeatureNetwork,
    Novelty,
    fit_novelty,
    fit_spread,
    max_bytes,
    median_distance,
    read_novelty,
    save_novelty,
)
from tests.small_networks import PLAIN, join, resnet, small

PLACE = Path("novelty.safetensors")


def drawn(number=200, width=12, seed=0):
    """Draw features of two classes with one covariance, and their classes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    mixed = draw.normal(size=(number, width)) @ draw.normal(size=(width, width))
    return (mixed + 3.0 * labels[:, None]).astype(np.float32), labels


def expected(features, labels, images):
    """Return Mahalanobis's distance to the nearest class by scikit-learn and scipy."""
    values = features.astype(np.float64)
    means = {code: values[labels == code].mean(0) for code in set(labels.tolist())}
    centred = values - np.stack([means[code] for code in labels.tolist()])
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(centred).covariance_)
    return [min(mahalanobis(one, mean, inverse) for mean in means.values()) for one in images]


@pytest.mark.parametrize("number", [200, 15])
def test_with_all_directions_it_is_mahalanobis_of_the_shrunk_covariance(number):
    """Also of fewer images than the covariance has entries."""
    features, labels = drawn(number)
    images = np.random.default_rng(1).normal(size=(7, 12)).astype(np.float32) * 20
    found = fit_novelty(features, labels)(torch.from_numpy(images)).numpy()
    assert found == pytest.approx(expected(features, labels, images), rel=1e-4)


def test_of_fewer_images_than_features_too():
    """Then the other directions are a sphere in the shrunk covariance itself."""
    features, labels = drawn(20, width=50)
    images = np.random.default_rng(1).normal(size=(7, 50)).astype(np.float32) * 20
    found = fit_novelty(features, labels)(torch.from_numpy(images)).numpy()
    assert found == pytest.approx(expected(features, labels, images), rel=1e-3)


def test_few_directions_keep_the_trace_of_the_covariance():
    features, _ = drawn(width=12)
    centred = features.astype(np.float64) - features.mean(0)
    spread = fit_spread(centred, num_directions=4)
    whole = LedoitWolf(assume_centered=True).fit(centred).covariance_
    total = spread.variances.sum() + 8 * spread.variance_of_rest
    assert spread.directions.shape == (12, 4)
    assert total == pytest.approx(np.trace(whole))
    assert spread.directions.T @ spread.directions == pytest.approx(np.eye(4), abs=1e-9)
    leading = np.linalg.eigvalsh(whole)[-4:]
    assert np.sort(spread.variances) == pytest.approx(leading)


def test_images_of_one_class_have_one_mean():
    features, labels = drawn()
    one = fit_novelty(features[labels == 1], labels[labels == 1])
    assert one.means.shape == (1, 12)
    assert one(torch.from_numpy(features[:1] + 100)) > one(torch.from_numpy(features[1:2]))


def test_a_channel_that_training_never_lights_counts_when_it_does():
    features, labels = drawn(width=6)
    features[:, 3] = 0
    novelty, lit = fit_novelty(features, labels), torch.from_numpy(features[:5].copy())
    lit[:, 3] = 50
    assert (novelty(lit) > novelty(torch.from_numpy(features[:5])) * 2).all()


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.zeros((20, 4), np.float32), "the same features for all"),
        (np.full((20, 4), np.nan, np.float32), "not finite"),
        (np.ones((3, 4), np.float32), "3 training images are too few"),
    ],
)  # fmt: skip
def test_what_no_distance_can_be_fitted_to_is_refused(features, reason):
    with pytest.raises(FaceproofError, match=reason):
        fit_novelty(features, np.zeros(len(features), np.int64))


def test_the_scale_divides_the_distance():
    features, labels = drawn()
    novelty, images = fit_novelty(features, labels), torch.from_numpy(features[:9])
    distances = novelty(images)
    usual = median_distance(distances.double().numpy())
    assert novelty.scaled(usual)(images) == pytest.approx((distances / usual).numpy())
    assert median_distance(np.zeros(4)) == 1


def test_a_file_gives_the_same_distances():
    features, labels = drawn()
    novelty, images = fit_novelty(features, labels), torch.from_numpy(features)
    data = save_novelty(novelty)
    assert len(data) <= max_bytes(of_width(12))
    assert torch.equal(read_novelty(PLACE, data, of_width(12))(images), novelty(images))


def of_width(number):
    """Return a network whose head is given so many features, and whose backbone names no stage."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, number))
    backbone.num_features = number
    return Detector(backbone, LinearHead, PLAIN)


def changed(change, width=12):
    state = safetensors.torch.load(save_novelty(fit_novelty(*drawn(width=width))))
    change(state)
    return safetensors.torch.save(state)


HOSTILE = {
    "no file": (lambda: b"nothing", "no whole safetensors file"),
    "cut off": (lambda: save_novelty(fit_novelty(*drawn()))[:-9], "no whole safetensors file"),
    "surplus": (lambda: changed(lambda state: state.update(more=torch.ones(1))), "it holds"),
    "missing": (lambda: changed(lambda state: state.pop("means")), "it holds"),
    "no directions": (lambda: changed(lambda state: state.pop("directions")), "it holds"),
    "scalar": (lambda: changed(lambda s: s.update(means=torch.tensor(1.0))), "it holds"),
    "another network": (lambda: changed(lambda state: None, width=5), "12 features"),
    "many classes": (lambda: changed(lambda s: s.update(means=torch.ones(3, 12))), "it holds"),
    "many directions": (
        lambda: changed(
            lambda s: s.update(
                directions=torch.ones(12, MAX_DIRECTIONS + 1),
                inverses=torch.ones(MAX_DIRECTIONS + 1),
            )
        ),
        "it holds",
    ),
    "no number": (lambda: changed(lambda s: s["means"].fill_(torch.nan)), "no finite float32"),
    "half": (lambda: changed(lambda s: s.update(scale=torch.tensor(1.0).half())), "float32"),
    "scale 0": (lambda: changed(lambda s: s.update(scale=torch.tensor(0.0))), "not positive"),
    "negative": (lambda: changed(lambda s: s["inverses"].neg_()), "not positive"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_file_is_refused(name):
    make, reason = HOSTILE[name]
    with pytest.raises(FaceproofError, match=reason):
        read_novelty(PLACE, make(), of_width(12))


def test_a_detector_with_novelty_gives_the_logits_of_the_detector():
    net, images = small(0), torch.rand(12, 3, 16, 16)
    with torch.no_grad():
        features = FeatureNetwork(net)(images)
        novelty = fit_novelty(features.numpy(), np.arange(12) % 2)
        logits, novelties = DetectorWithNovelty(net, novelty)(images)
        assert torch.equal(logits, net(images))
        assert torch.equal(novelties, novelty(features))
    assert features.shape == (12, net.num_features)


def test_a_detector_with_novelty_compares_images_by_a_layer_in_the_middle():
    net, images = resnet(0), torch.rand(12, 3, 64, 64)
    layer = middle_layer(net)
    with torch.no_grad():
        features = FeatureNetwork(net, layer)(images)
        fitted = fit_novelty(features.numpy(), np.arange(12) % 2, layer=layer)
        novelty = read_novelty(PLACE, save_novelty(fitted.scaled(2.0)), net)
        logits, novelties = DetectorWithNovelty(net, novelty)(images)
        assert torch.equal(logits, net(images))
        assert torch.equal(novelties, novelty(features))
        assert torch.equal(novelties, fitted(features) / 2)
    assert layer == novelty.layer == "layer3"
    assert features.shape == (12, stages(net.backbone)["layer3"])


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("test_efficientnet", "blocks.3", 32),
        ("test_vit", "blocks.3", 160),
        ("densenet121", "features.denseblock3", 32),
        ("swin_tiny_patch4_window7_224", "layers.2", 224),
        ("hrnet_w18_small", None, 32),  # its stage gives several maps
        ("twins_svt_small", None, 224),  # names what it does not have
        ("mvitv2_tiny", None, 224),
        ("coat_lite_tiny", None, 224),  # names lists of blocks
        ("coat_tiny", None, 224),  # three stages of one name
        ("volo_d1_224", None, 224),  # channels are last, and it does not say so
    ],
)
def test_the_layer_in_the_middle_of_timms_backbones(name, layer, size):
    net = join(timm_backbone(name), LinearHead, size=size)
    assert middle_layer(net) == layer
    width = net.num_features if layer is None else stages(net.backbone)[layer]
    with torch.no_grad():
        assert features_to_compare(net, torch.rand(2, 3, size, size), layer)[1].shape == (2, width)


def test_threads_that_share_a_network_see_their_own_images():
    net, images = resnet(0), torch.rand(6, 3, 64, 64)
    both = threading.Barrier(2, timeout=60)

    def meet(*_):
        both.wait()  # each thread is inside of the network while the other is

    net.backbone.layer1.register_forward_hook(meet)

    def compared(image):
        with torch.inference_mode():
            return features_to_compare(net, image[None], "layer3")[1]

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(compared, images))
    assert torch.allclose(torch.cat(found), features_alone(images), atol=1e-5)


def features_alone(images):
    with torch.no_grad():
        return features_to_compare(resnet(0), images, "layer3")[1]


def test_a_small_backbone_has_no_layer_in_the_middle():
    assert middle_layer(small(0)) is None


@pytest.mark.parametrize("name", [b"layer9", b"\xff", b""])
def test_a_layer_that_the_network_does_not_have_is_refused(name):
    state = safetensors.torch.load(save_novelty(fit_novelty(*drawn())))
    state["layer"] = torch.tensor(list(name), dtype=torch.uint8)
    with pytest.raises(FaceproofError, match=r"this network does not have; it has .*layer3"):
        read_novelty(PLACE, safetensors.torch.save(state), resnet(0))
    state["layer"] = torch.tensor(float("nan"))
    with pytest.raises(FaceproofError, match="it has none that is named"):
        read_novelty(PLACE, safetensors.torch.save(state), of_width(12))


def test_features_of_places_are_averaged():
    net = resnet(0)
    maps = torch.rand(2, net.num_features, 3, 3)
    assert torch.allclose(pool_features(net, maps), maps.mean((2, 3)))
    tokens = torch.rand(2, 5, 7)
    assert torch.equal(pool_features(net, tokens), tokens.mean(1))
    with pytest.raises(FaceproofError, match="has the shape"):
        pool_features(net, torch.rand(2))


def test_it_is_part_of_no_gradient():
    assert not list(fit_novelty(*drawn()).parameters())
    assert isinstance(fit_novelty(*drawn()), Novelty)
