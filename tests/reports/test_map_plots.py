"""Grids of maps over frequency."""

import itertools

import numpy as np
import pytest

from faceproof.reports.map_plots import MapPanel, map_grid, shared_limits, shortened
from faceproof.reports.plots import plot_svg


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
