"""Images beside their maps: the drawings.

A map is drawn from dark blue (against the class it is turned to) over white to vermillion (for it),
each on its own scale: only the places of a map mean something, not its strength.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from faceproof.reports.image_grid import Pixels
from faceproof.reports.map_plots import INK, MUTED, SIGNED
from faceproof.task import Task

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Map = npt.NDArray[np.float32]

NAMES = {
    "cam": "class activation",
    "occlusion": "occlusion",
    "integrated_gradients": "integrated gradients",
}
STRONGEST = 99.5  # the percentile of a map's size that gets the full colour
SMOOTHING = 1 / 60  # deviation, as a share of the side, of integrated gradients when drawn
COVER = 0.8  # how much of the image the full colour hides
CELL = 1.9  # inches


@dataclass(frozen=True)
class Explained:
    """An image, what the detector said of it, and its maps.

    Attributes:
        path: the file.
        image: (3, S, S) float in [0, 1], as the network got it.
        logit: positive means the positive class.
        probability: of the positive class, calibrated.
        called: the class called at the threshold.
        toward: the class for which positive values of the maps speak.
        maps: (S, S) by method.
        label: the true class, or None.
        generator: what made the fake, or None.
        section: which part of a gallery it belongs to.
    """

    path: str
    image: Map
    logit: float
    probability: float
    called: str
    toward: str
    maps: Mapping[str, Map] = field(default_factory=dict)
    label: str | None = None
    generator: str | None = None
    section: str = "images"


def to_pixels(image: Map) -> Pixels:
    """Return (S, S, 3) uint8 of an image (3, S, S) in [0, 1]."""
    return np.asarray((image.transpose(1, 2, 0).clip(0, 1) * 255).round(), np.uint8)


def strength(values: Map, method: str) -> Map:
    """Return a map as it is drawn, (S, S) in [-1, 1]; all zero where it is constant at zero."""
    if method == "integrated_gradients":
        values = ndimage.gaussian_filter(values, SMOOTHING * len(values))
    strongest = float(np.percentile(np.abs(values), STRONGEST))
    if strongest == 0:
        return np.zeros_like(values)
    scaled: Map = (values / strongest).clip(-1, 1)
    return scaled


def map_pixels(values: Map, method: str) -> Pixels:
    """Return a map in colours, (S, S, 3) uint8."""
    return np.asarray(SIGNED((strength(values, method) + 1) / 2, bytes=True)[..., :3], np.uint8)


def overlay_pixels(image: Map, values: Map, method: str) -> Pixels:
    """Return the map laid over the image in grey, (S, S, 3) uint8; where it is weak, grey stays.

    In grey, because colours of the image would be taken for those of the map.
    """
    grey = np.repeat(to_pixels(image).mean(2, keepdims=True), 3, axis=2)
    scaled = strength(values, method)
    cover = COVER * np.abs(scaled)[..., None]
    ends = np.where(scaled[..., None] > 0, SIGNED(1.0)[:3], SIGNED(0.0)[:3])
    return np.asarray((grey * (1 - cover) + 255 * ends * cover).round(), np.uint8)


def verdict_words(one: Explained, task: Task) -> str:
    """Say what the detector called an image, how probable it found that, and what is true."""
    share = one.probability if one.called == task.positive else 1 - one.probability
    words = f"called {one.called} ({share:.1%})"
    if one.label is None:
        return words
    truth = f"{one.label}, {one.generator}" if one.generator else one.label
    return f"{words}, {'rightly' if one.label == one.called else 'wrongly'}: it is {truth}"


def strip(one: Explained, task: Task) -> Figure:
    """Draw an image beside its overlays, and below each overlay the map alone."""
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
    note = f"vermillion: for {one.toward}\nblue: against it\n\nabove: laid over\nbelow: alone"
    grid[1, 0].text(0, 0.95, note, color=MUTED, fontsize=8, va="top", linespacing=1.5)
    name = Path(one.path).name
    words = verdict_words(one, task).replace(", ", ",\n", 1)
    figure.suptitle(f"{name}\n{words}", color=INK, fontsize=9, x=0.01, ha="left", parse_math=False)
    return figure


def plot_pixels(figure: Figure, dpi: int = 100) -> Pixels:
    """Return a figure as (H, W, 3) uint8 on white."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    with Image.open(file) as drawn:
        return np.asarray(drawn.convert("RGB"))


def log_gallery(
    writer: "SummaryWriter", explained: Sequence[Explained], task: Task, step: int = 0
) -> None:
    """Add each explained image to TensorBoard's images, under its section.

    Args:
        writer: where the event file is.
        explained: the images, in the order in which they are numbered.
        task: names the classes.
        step: the step they belong to.
    """
    counts: dict[str, int] = {}
    for one in explained:
        counts[one.section] = counts.get(one.section, 0) + 1
        tag = f"{one.section.replace(' ', '_')}/{counts[one.section]:02d}"
        writer.add_image(tag, plot_pixels(strip(one, task)), step, dataformats="HWC")
    writer.flush()
