"""Images in rows, each with a caption."""

import numpy as np

from faceproof.reports.image_grid import Tile, image_grid, panels


def test_places_stay_empty_so_that_type_is_of_one_size():
    figure, places = panels(2, 6, 10, 2)
    assert len(places) == 2
    assert tuple(figure.get_size_inches()) == (10, 2)
    assert len(panels(7, 3, 10, 2)[1]) == 7
    assert panels(7, 3, 10, 2)[0].get_size_inches()[1] == 6


def test_an_image_grid_shows_each_image_with_its_caption():
    rng = np.random.default_rng(0)
    tiles = [Tile(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), f"number {n}") for n in range(8)]
    figure = image_grid(tiles, "eight", 6)
    assert [axes.get_xlabel() for axes in figure.axes] == [tile.caption for tile in tiles]
    assert np.array_equal(figure.axes[3].images[0].get_array(), tiles[3].pixels)
    assert figure.get_suptitle() == "eight"
    assert not any(len(axes.get_xticks()) for axes in figure.axes)
