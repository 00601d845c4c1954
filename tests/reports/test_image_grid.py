"""Images in rows, each with a caption, and those of mistakes."""

import logging

import numpy as np
from PIL import Image

from faceproof.evaluation.mistakes import find_mistakes
from faceproof.reports.image_grid import (
    SIDE,
    Tile,
    image_grid,
    mistake_images,
    mistakes_plot,
    small_copy,
)
from faceproof.reports.plots import panels
from tests.evaluation.test_mistakes import TASK, predictions


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


def draw(folder, number, size=(320, 200)):
    for place in range(number):
        noise = np.random.default_rng(place).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{place}.jpg", quality=95)


def test_small_copies_are_bounded_and_keep_their_shape(tmp_path):
    draw(tmp_path, 1)
    assert small_copy(f"{tmp_path}/0.jpg").shape == (SIDE * 200 // 320, SIDE, 3)


def test_an_image_that_has_gone_is_named_and_left_out(tmp_path, caplog):
    draw(tmp_path, 5)
    (tmp_path / "1.jpg").unlink()
    (tmp_path / "3.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        found = mistake_images(find_mistakes(predictions(folder=f"{tmp_path}/"), TASK, 0.5))
    assert set(found) == {f"{tmp_path}/2.jpg", f"{tmp_path}/4.jpg"}
    assert "1.jpg cannot be shown among the mistakes: the file is not there" in caplog.text
    assert "3.jpg cannot be shown among the mistakes: no image format" in caplog.text


def test_the_figure_shows_the_images_with_what_was_called(tmp_path):
    draw(tmp_path, 5)
    table = predictions(folder=f"{tmp_path}/")
    told = find_mistakes(table, TASK, 0.5)["fake called real"]
    figure = mistakes_plot(
        "fake called real", told, mistake_images(find_mistakes(table, TASK, 0.5))
    )
    assert figure.get_suptitle() == "fake called real: 2 of 2, the most confident first"
    captions = [axes.get_xlabel() for axes in figure.axes]
    assert captions == ["90.0% real\ngan\n1.jpg", "60.0% real\ngan\n2.jpg"]
    assert figure.axes[0].get_images()[0].get_array().shape == (90, 144, 3)
    assert mistakes_plot("fake called real", told, {}) is None


def test_a_name_is_no_formula(tmp_path):
    draw(tmp_path, 1)
    (tmp_path / "0.jpg").rename(tmp_path / "a$_^_$.jpg")
    path = f"{tmp_path}/a$_^_$.jpg"
    table = predictions(["fake"], [0.1])
    table = table.set_column(table.schema.get_field_index("path"), "path", [[path]])
    told = find_mistakes(table, TASK, 0.5)["fake called real"]
    figure = mistakes_plot(
        "fake called $_^_$", told, mistake_images(find_mistakes(table, TASK, 0.5))
    )
    assert figure.axes[0].get_xlabel().endswith("a$_^_$.jpg")
    figure.savefig(tmp_path / "figure.png")
