"""The planes of features as plots."""

import numpy as np
import pytest

from faceproof.explain.features import differing_names, place
from faceproof.explain.features_results import FeatureMap
from faceproof.reports.feature_plots import draw_features
from faceproof.reports.plots import BLUE, VERMILLION
from tests.explain.test_features import clusters, rows_of
from tests.known_networks import drawn_words


def feature_map(planes, names, title="title", shares=()):
    return FeatureMap(title, 40, 80, 0, planes, names, shares, {})


def test_the_plot_has_a_panel_for_each_plane_and_each_column_that_differs():
    values, words = clusters()
    planes = {"pca": place(values, "pca")}
    figure = draw_features(feature_map(planes, differing_names(rows_of(words))), ("real", "fake"))
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
    figure = draw_features(feature_map({"pca": place(values, "pca")}, {"generator": words}))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == 6
    assert labels[-1] == "5 others (20)"
    assert sum(len(line.get_xdata()) for line in figure.axes[0].lines) == 40


@pytest.mark.parametrize("name", ["a$b^$c", "_hidden"])
def test_a_name_is_drawn_as_it_is(name):
    values, _ = clusters()
    words = {"generator": [name] * 20 + ["other"] * 20}
    found = feature_map({"pca": place(values, "pca")}, words, title=f"of {name}$")
    figure = draw_features(found)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == 2
    assert name in drawn_words(figure)


def test_the_axes_of_pca_say_how_much_of_the_variance_they_have():
    values, _ = clusters()
    planes = {"pca": place(values, "pca"), "tsne": place(values, "tsne")}
    figure = draw_features(feature_map(planes, {}, shares=[0.556, 0.2]))
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [
        ("direction 1 (56% of the variance)", "direction 2 (20% of the variance)"),
        ("", ""),
    ]
