"""Backbone features, the planes, and TensorBoard's projector."""

import errno
import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.explain.features import (
    NUM_DIRECTIONS,
    backbone_features,
    features_plot,
    neighbour_agreement,
    place,
    words_of,
    write_features,
)
from faceproof.io.atomic import CannotWriteError
from faceproof.models.backbones import timm_backbone
from faceproof.models.detector import Detector
from faceproof.models.heads import SqueezeExciteHead
from faceproof.reports.plots import BLUE, VERMILLION
from tests.known_networks import PLAIN, drawn_words, patch_network, timm_network


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


def test_the_figure_has_a_panel_for_each_plane_and_each_column_that_differs():
    values, words = clusters()
    rows = rows_of(words)
    assert list(words_of(rows)) == ["label", "generator"]  # the source is one
    planes = {"pca": place(values, "pca")}
    figure = features_plot(planes, words_of(rows), "title", first=("real", "fake"))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["PCA, by class", "PCA, by generator"]
    assert figure.axes[0].get_xlabel() == "direction 1"
    real, fake = figure.axes[0].lines
    assert (real.get_color(), fake.get_color()) == (BLUE, VERMILLION)
    assert np.column_stack(real.get_data()) == pytest.approx(planes["pca"][:20])
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["real (20)", "fake (20)"]


def test_many_values_share_the_last_colour():
    values, _ = clusters()
    words = [f"g{n % 10}" for n in range(40)]
    figure = features_plot({"pca": place(values, "pca")}, {"generator": words}, "title")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == 6
    assert labels[-1] == "5 others (20)"
    assert sum(len(line.get_xdata()) for line in figure.axes[0].lines) == 40


@pytest.mark.parametrize("name", ["a$b^$c", "_hidden"])
def test_a_name_is_drawn_as_it_is(name):
    values, _ = clusters()
    words = {"generator": [name] * 20 + ["other"] * 20}
    figure = features_plot({"pca": place(values, "pca")}, words, f"of {name}$")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == 2
    assert name in drawn_words(figure)


def test_the_axes_of_pca_say_how_much_of_the_variance_they_have(tmp_path):
    values, words = clusters()
    thumbnails = torch.rand(40, 3, 8, 8)
    found = write_features(tmp_path / "x", "title", values, rows_of(words), thumbnails, (), seed=0)
    exact = PCA().fit(values.astype(np.float64)).explained_variance_ratio_[:2]
    assert found["pca_shares_of_variance"] == pytest.approx(exact, rel=1e-3)
    planes = {"pca": place(values, "pca"), "tsne": place(values, "tsne")}
    figure = features_plot(planes, {}, "title", shares=[0.556, 0.2])
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [
        ("direction 1 (56% of the variance)", "direction 2 (20% of the variance)"),
        ("", ""),
    ]


def test_what_cannot_be_placed_is_refused():
    values, _ = clusters()
    with pytest.raises(FaceproofError, match="3 images make no map"):
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


def test_everything_is_written_projector_included(tmp_path):
    values, words = clusters()
    out = tmp_path / "features"
    found = write_features(
        out, "title", values, rows_of(words), torch.rand(40, 3, 8, 8), ("real", "fake"), seed=0
    )
    assert json.loads((out / "features.json").read_text()) == found
    assert found["nearest"]["class"]["share"] == 1
    assert (out / "features.png").stat().st_size > 10_000
    files = next(out.glob("0*/features"))
    metadata = (files / "metadata.tsv").read_text().splitlines()
    assert metadata[0] == "class\tsource\tgenerator\tfile"
    assert metadata[1] == "real\tdemo\tnone\t0 .jpg"
    assert len(metadata) == 41
    tensors = np.loadtxt(files / "tensors.tsv")
    assert tensors.shape == (40, 39)  # as many directions as 40 images have
    assert (files / "sprite.png").is_file()
    assert "metadata.tsv" in (out / "projector_config.pbtxt").read_text()


def test_features_are_replaced_whole_and_nothing_else(tmp_path):
    values, words = clusters()
    given = ("title", values, rows_of(words), torch.rand(40, 3, 8, 8), ("real", "fake"))
    out = tmp_path / "features"
    write_features(out, *given, seed=0)
    write_features(out, *given, seed=1)
    assert json.loads((out / "features.json").read_text())["seed"] == 1
    assert len(list(out.glob("events.*"))) == 1
    (out / "thesis.txt").touch()
    with pytest.raises(FaceproofError, match=r"has not written there: thesis\.txt; move that away"):
        write_features(out, *given, seed=0)
    assert (out / "thesis.txt").is_file()


def test_features_that_find_no_room_leave_the_earlier_ones(tmp_path, monkeypatch):
    values, words = clusters()
    given = ("title", values, rows_of(words), torch.rand(40, 3, 8, 8), ("real", "fake"))
    out = tmp_path / "features"
    write_features(out, *given, seed=0)
    there = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}

    def fail(*given, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(CannotWriteError, match="could not be written: the disk is full") as told:
        write_features(out, *given, seed=1)
    assert "partial" not in str(told.value)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == there
    assert list(tmp_path.iterdir()) == [out]
