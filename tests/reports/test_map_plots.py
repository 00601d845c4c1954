"""Grids of maps over frequency, and the planes of features."""

import itertools

import numpy as np
import pytest

from faceproof.explain.features import differing_names, place
from faceproof.explain.features_results import FeatureMap
from faceproof.reports.map_plots import (
    MapPanel,
    _numbers,
    draw_features,
    map_grid,
    shared_limits,
    shortened,
)
from faceproof.reports.plots import BLUE, VERMILLION, plot_svg
from tests.explain.test_features import clusters, rows_of
from tests.known_networks import drawn_words


def test_a_long_name_is_cut_so_that_titles_do_not_meet():
    names = ["generator_with_a_long_name", "short"]
    assert [shortened(name) for name in names] == ["generat…ong_name", "short"]
    maps = [MapPanel(f"{shortened(names[0])} (234)", np.eye(9))] * 5
    figure = map_grid(maps, (0.0, 1.0), "dB")
    figure.draw_without_rendering()
    titles = [axes._left_title.get_window_extent() for axes in figure.axes[:5]]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(titles))


def test_limits_are_shared_and_not_stretched_by_odd_cells():
    values = np.random.default_rng(0).normal(0, 1, (50, 50))
    values[0, 0] = 1e6
    low, high = shared_limits([values, values - 1], signed=True)
    assert low == -high
    assert 2 < high < 6
    low, high = shared_limits([values], signed=False)
    assert -4 < low < -2
    assert shared_limits([np.zeros((3, 3))], signed=True) == (-1.0, 1.0)


@pytest.mark.parametrize(("num", "columns"), [(1, 4), (3, 4), (5, 5), (6, 4), (8, 4), (9, 5)])
def test_maps_stand_in_even_rows_with_one_scale(num, columns):
    maps = [MapPanel(f"map {n}", np.full((9, 9), float(n)), [(0.5, 0.0)]) for n in range(num)]
    figure = map_grid(maps, (0.0, 9.0), "power (dB)")
    *places, bar = figure.axes
    assert len(places) == num
    assert places[0].get_subplotspec().get_gridspec().ncols == columns
    assert bar.get_ylabel() == "power (dB)"
    assert {axes.images[0].get_clim() for axes in places} == {(0.0, 9.0)}
    assert places[0].collections[0].get_offsets().tolist() == [[0.5, 0.0]]
    assert sum(bool(axes.get_xlabel()) for axes in places) == min(columns, num)


def test_a_drawing_with_maps_can_stand_in_a_page():
    svg = plot_svg(map_grid([MapPanel("one", np.eye(9))], (-1.0, 1.0), "dB"))
    assert 'xlink:href="data:image/png;base64,' in svg or 'href="data:image/png' in svg


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


def test_a_class_keeps_its_colour_where_the_other_is_missing():
    assert list(_numbers(["fake"], ["real", "fake"])) == [1, 2]
    assert list(_numbers(["real", "fake", "unlabelled"], ["real", "fake"])) == [0, 1, 2, 3]
    assert list(_numbers(["gan", "swap"], ["real", "fake"])) == [0, 1, 2]
