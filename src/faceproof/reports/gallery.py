"""Draw images beside their attribution maps.

A map is drawn from dark blue (for the negative class) over white to vermillion (for the positive
one), the colours that these classes have in every plot.
Each has its own scale: places mean something, strength does not.
"""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from faceproof.data.image_io import Pixels
from faceproof.explain.explanation_results import Explained, Map
from faceproof.reports.map_plots import SIGNED
from faceproof.reports.plots import INK, MUTED
from faceproof.task import Task

NAMES = {
    "cam": "class activation",
    "occlusion": "occlusion",
    "integrated_gradients": "integrated gradients",
}
STRONGEST = 99.5  # percentile of a map's absolute values that gets the full colour
SMOOTHING = 1 / 60  # of integrated gradients when drawn: deviation as a share of the side
COVER = 0.8  # how much of the image the full colour hides
CELL = 1.9  # inches


def to_pixels(image: Map) -> Pixels:
    """Return (S, S, 3) uint8 of an image (3, S, S) in [0, 1]."""
    return np.asarray((image.transpose(1, 2, 0).clip(0, 1) * 255).round(), np.uint8)


def strength(values: Map, method: str) -> Map:
    """Return a map as it is drawn, (S, S) in [-1, 1]; a map of zeros stays one."""
    if method == "integrated_gradients":
        values = ndimage.gaussian_filter(values, SMOOTHING * len(values))
    strongest = float(np.percentile(np.abs(values), STRONGEST))
    if strongest == 0:
        return np.zeros_like(values)
    return np.asarray((values / strongest).clip(-1, 1))


def map_pixels(values: Map, method: str) -> Pixels:
    """Return a map in colours, (S, S, 3) uint8."""
    return np.asarray(SIGNED((strength(values, method) + 1) / 2, bytes=True)[..., :3], np.uint8)


def overlay_pixels(image: Map, values: Map, method: str) -> Pixels:
    """Return the map laid over the image, (S, S, 3) uint8; where it is weak the image shows.

    The image is grey, because its colours would be taken for those of the map.
    """
    grey = np.repeat(to_pixels(image).mean(2, keepdims=True), 3, axis=2)
    scaled = strength(values, method)
    cover = COVER * np.abs(scaled)[..., None]
    ends = np.where(scaled[..., None] > 0, SIGNED(1.0)[:3], SIGNED(0.0)[:3])
    return np.asarray((grey * (1 - cover) + 255 * ends * cover).round(), np.uint8)


def verdict_words(one: Explained, task: Task) -> str:
    """Say what the detector called an image, with which probability, and what is true."""
    share = one.probability if one.called == task.positive else 1 - one.probability
    words = f"called {one.called} ({share:.1%})"
    if one.label is None:
        return words
    truth = f"{one.label}, {one.generator}" if one.generator else one.label
    return f"{words}, {'rightly' if one.label == one.called else 'wrongly'}: it is {truth}"


def strip(one: Explained, task: Task) -> Figure:
    """Draw an image beside its overlays, with the map alone below each."""
    columns = 1 + len(one.maps)
    figure = Figure(figsize=(CELL * columns, 2 * CELL + 0.75), layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    grid[0, 0].imshow(to_pixels(one.image))
    grid[0, 0].set_title("image", color=INK, fontsize=9)
    for column, (method, values) in enumerate(one.maps.items(), 1):
        grid[0, column].imshow(overlay_pixels(one.image, values, method))
        grid[0, column].set_title(NAMES[method], color=INK, fontsize=9)
        grid[1, column].imshow(map_pixels(values, method))
    colours = f"vermillion: for {task.positive}\nblue: for {task.negative}"
    note = f"{colours}\n\nabove: laid over\nbelow: alone"
    grid[1, 0].text(0, 0.95, note, color=MUTED, fontsize=8, va="top", linespacing=1.5)
    words = f"{Path(one.path).name}\n" + verdict_words(one, task).replace(", ", ",\n", 1)
    figure.suptitle(words, color=INK, fontsize=9, x=0.01, ha="left", parse_math=False)
    return figure


def plot_pixels(figure: Figure, dpi: int = 100) -> Pixels:
    """Return a figure as (H, W, 3) uint8 on white."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    with Image.open(file, formats=["PNG"]) as drawn:
        return np.asarray(drawn.convert("RGB"))
