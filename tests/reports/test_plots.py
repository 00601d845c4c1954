"""The two ways out of a plot, a page and a file."""

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from faceproof.reports import plots
from faceproof.reports.score_plots import class_bars
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
CELLS = np.array([[5, 1], [1, 3]])


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    x = np.arange(100_000.0)
    thinned, twice = plots.thin(x, 2 * x)
    assert len(thinned) == plots.MAX_POINTS
    assert (thinned[0], thinned[-1]) == (0, 99_999)
    assert np.array_equal(twice, 2 * thinned)
    assert np.array_equal(plots.thin(x[:7])[0], x[:7])


def svg_of(element: str) -> str:
    pattern = r'<img class="plot" alt="[^"]*" src="data:image/svg\+xml;base64,(.*)">'
    found = re.fullmatch(pattern, element)
    assert found
    return base64.b64decode(found[1]).decode()


def test_a_plot_stands_on_a_page_as_an_image_of_its_own_and_is_the_same_twice() -> None:
    element = plots.plot_html(class_bars(CELLS, TASK))
    assert element == plots.plot_html(class_bars(CELLS, TASK))
    assert 'alt="Accuracy of each class"' in element
    root = ElementTree.fromstring(svg_of(element))  # well formed
    assert "75.0% (3 of 4)" in "".join(root.itertext())  # text stays text
    assert root.get("viewBox")


def test_a_title_with_markup_is_escaped() -> None:
    figure, (axes,) = plots.new_figure(2)
    axes.set_title('a"<b>', loc="left")
    assert 'alt="a&quot;&lt;b&gt;"' in plots.plot_html(figure)


def test_drawing_and_saving_leave_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    figure = class_bars(CELLS, TASK)
    plots.plot_html(figure)
    plots.save_png(figure, tmp_path / "classes.png")
    assert dict(matplotlib.rcParams) == before


def test_png_is_the_same_twice_and_on_white(tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        plots.save_png(class_bars(CELLS, TASK), tmp_path / name)
    written = (tmp_path / "first.png").read_bytes()
    assert written == (tmp_path / "second.png").read_bytes()
    with Image.open(io.BytesIO(written)) as image:
        assert image.width > 700
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a$b^$c", "_hidden", "$_$", r"\alpha$"])
def test_names_are_drawn_letter_by_letter(name: str, tmp_path: Path) -> None:
    """Unescaped, a run or a maker of this name would stop the report."""
    figure, _ = plots.two_panels(1)
    plots.legend_below(figure, [plots.Look(name, 0)])
    words = "".join(ElementTree.fromstring(plots.plot_svg(figure)).itertext())
    assert name in words
    plots.save_png(figure, tmp_path / "plot.png")
