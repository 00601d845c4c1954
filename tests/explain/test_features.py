"""The backbone's features, images on a plane by them, and what their neighbours share."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.explain.features import (
    NUM_DIRECTIONS,
    backbone_features,
    differing_names,
    map_features,
    neighbour_agreement,
    place,
)
from faceproof.models.backbones import timm_backbone
from faceproof.models.detector import Detector
from faceproof.models.heads import SqueezeExciteHead
from tests.known_networks import PLAIN, patch_network, timm_network


def clusters(num=40, width=80, apart=20.0):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(num, width)).astype(np.float32)
    values[num // 2 :, 0] += apart
    return values, ["real"] * (num // 2) + ["fake"] * (num // 2)


def rows_of(words):
    return table_from_columns(
        {
            "path": [f"/x/{n} \t.jpg" for n in range(len(words))],
            "label": words,
            "source": ["demo"] * len(words),
            "generator": [None if word == "real" else "gan" for word in words],
        }
    )


def test_features_are_what_the_head_gets_averaged_over_places():
    images = torch.rand(2, 3, 64, 64)
    net = timm_network("test_resnet")
    with torch.no_grad():
        assert backbone_features(net, images) == pytest.approx(
            net.backbone(images).numpy(), abs=1e-6
        )
    unpooled = Detector(timm_backbone("test_efficientnet", pooled=False), SqueezeExciteHead, PLAIN)
    with torch.no_grad():
        wanted = unpooled.eval().backbone(images).mean((2, 3)).numpy()
    assert backbone_features(unpooled, images) == pytest.approx(wanted, abs=1e-6)
    assert backbone_features(patch_network(), torch.rand(2, 3, 28, 28)).shape == (2, 3)


@pytest.mark.parametrize("plane", ["pca", "tsne"])
def test_what_is_apart_in_the_features_is_apart_on_the_plane(plane):
    values, words = clusters()
    points = place(values, plane)
    assert points.shape == (40, 2)
    near = KNeighborsClassifier(1).fit(points[::2], words[::2])
    assert near.score(points[1::2], words[1::2]) == 1
    assert (place(values, plane) == points).all()


def test_the_first_direction_of_pca_is_that_of_the_largest_spread():
    values, _ = clusters(width=NUM_DIRECTIONS)
    centred = values.astype(np.float64) - values.mean(0)
    wanted = np.linalg.svd(centred, full_matrices=False)[2][:2]
    assert np.abs(place(values, "pca")) == pytest.approx(np.abs(centred @ wanted.T), abs=1e-6)


def test_nearest_neighbours_agree_where_classes_are_apart_and_by_chance_where_not():
    values, words = clusters(num=200)
    share, chance = neighbour_agreement(values, words)
    assert share == 1
    assert chance == pytest.approx(99 / 199)
    mixed = np.random.default_rng(1).permutation(words).tolist()
    assert neighbour_agreement(values, mixed)[0] == pytest.approx(chance, abs=0.15)


def test_a_column_that_is_the_same_for_all_is_left_out():
    _, words = clusters()
    assert list(differing_names(rows_of(words))) == ["label", "generator"]


def test_the_shares_are_those_of_the_variance_along_the_directions_of_pca():
    values, words = clusters()
    found = map_features(values, rows_of(words), "title", seed=0)
    exact = PCA().fit(values.astype(np.float64)).explained_variance_ratio_[:2]
    assert found.shares == pytest.approx(exact, rel=1e-3)
    assert found.nearest["class"][0] == 1


def test_what_cannot_be_placed_is_refused():
    values, _ = clusters()
    with pytest.raises(FaceproofError, match="3 images are too few"):
        place(values[:3], "pca")
    assert place(values, "tsne").shape == (40, 2)
    for same in (np.zeros_like(values), np.full_like(values, 7), values[:1].repeat(40, axis=0)):
        nearly = same * (1 + 1e-7 * np.sign(values))
        for plane in ("pca", "tsne"):
            with pytest.raises(FaceproofError, match="gives the same features for all 40 images"):
                place(nearly, plane)
    values[3, 3] = np.nan
    with pytest.raises(FaceproofError, match="not finite"):
        place(values, "tsne")
