"""An explanation for people: a page, its numbers and its drawings in one folder.

<folder>/
  explanation.html   the page, complete in itself
  explanation.json   what the detector said of each image, and every measure of the maps
  figures/*.png      a strip for each image, and the curves
  events.*           the same strips for TensorBoard, where the images are a gallery
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from faceproof.evaluation.statistics import Interval
from faceproof.explain.explanation import ExplainConfig, MethodTrust, Trust
from faceproof.explain.faithfulness import CurveMetrics
from faceproof.explain.gallery import (
    NAMES,
    Explained,
    log_gallery,
    map_pixels,
    overlay_pixels,
    strip,
    to_pixels,
    verdict_words,
)
from faceproof.explain.randomisation import MAX_SIMILARITY
from faceproof.io.atomic import atomic_folder
from faceproof.io.folders import refuse_foreign_folder
from faceproof.io.run_folder import write_text
from faceproof.reports.html import image_url, render
from faceproof.reports.image_grid import Pixels
from faceproof.reports.map_plots import dress
from faceproof.reports.plots import GREY, HUES, MARKERS, WIDTH, plot_svg, save_png
from faceproof.task import Task

Side = Literal["above", "below", "unclear"]  # of zero, by the interval

FILES = ("explanation.json", "explanation.html", "figures/*.png", "events.out.tfevents.*")
MAX_STEM = 40  # letters of an image's name in that of its drawing
SHOWN_SIDE = 224  # pixels; smaller images are enlarged
REMOVED_AS = {
    "blur": "its blurred self (a Gaussian of an eighth of the side)",
    "mean": "the image's mean colour",
}
COLUMNS = (
    *("method", "deletion area (random)", "gain", "insertion area (random)", "gain"),
    *("beats random", "rank correlation, all weights shuffled", "of magnitudes"),
    *("forgeries", "pointing hits (other masks)", "gain", "mass inside (other masks)", "gain"),
    *("mask's share", "deletion area (random; mask's own)", "gain"),
)
NUM_CURVE_COLUMNS, NUM_SHUFFLED_COLUMNS = 6, 2


@dataclass(frozen=True)
class Explanation:
    """What a page tells.

    Attributes:
        name: the run or the artifact.
        task: names the classes.
        threshold: an image is called positive from this probability on.
        config: how it was explained.
        layer: the feature map of `cam`; None where `cam` was not asked for.
        images: those explained, section by section.
        trust: what the measures say of the maps; None if they were not asked for.
        source: where the images come from, in words.
        effort_asked: whether the effort was asked for, and not chosen by the network.
    """

    name: str
    task: Task
    threshold: float
    config: ExplainConfig
    layer: str | None
    images: Sequence[Explained]
    trust: Trust | None
    source: str
    effort_asked: bool = False


def write_explanation(folder: Path, found: Explanation, step: int = 0) -> Path:
    """Write page, numbers, drawings and gallery; an earlier explanation is replaced whole.

    Args:
        folder: where they go.
        found: what they tell.
        step: of the gallery, the epoch whose weights are explained.

    Returns:
        The page.

    Raises:
        FaceproofError: the folder holds something else, or the disk is full or cannot be written
            to; an earlier explanation still stands.
    """
    refuse_foreign_folder(folder, FILES)
    with atomic_folder(folder) as partial:
        _write(partial, found, step)
    return folder / "explanation.html"


def _write(folder: Path, found: Explanation, step: int) -> None:
    """Write all that an explanation consists of to a new folder."""
    from torch.utils.tensorboard import SummaryWriter

    (folder / "figures").mkdir()
    names = [
        f"{number:02d}_{Path(one.path).stem[:MAX_STEM]}.png"
        for number, one in enumerate(found.images)
    ]
    for name, one in zip(names, found.images, strict=True):
        save_png(strip(one, found.task), folder / "figures" / name)
    drawings = {} if found.trust is None else draw_trust(found.trust)
    for name, figure in drawings.items():
        save_png(figure, folder / "figures" / f"{name}.png")
    numbers = json.dumps(to_json(found, names), indent=2, allow_nan=False, ensure_ascii=False)
    write_text(folder / "explanation.json", numbers + "\n")
    write_text(folder / "explanation.html", explanation_page(found, drawings))
    with SummaryWriter(folder) as writer:
        log_gallery(writer, found.images, found.task, step)


def to_json(found: Explanation, names: Sequence[str]) -> dict[str, Any]:
    """Return everything but the pixels as plain values; `names` are those of the strips."""
    return {
        "explained": found.name,
        "task": found.task.name,
        "classes": list(found.task.classes),
        "threshold": found.threshold,
        "methods": list(found.config.methods),
        "layer": found.layer,
        "removal": found.config.removal,
        "toward": found.config.toward,
        "seed": found.config.seed,
        "effort": found.config.effort.to_json(),
        "source": found.source,
        "images": [
            {
                "section": one.section,
                "path": one.path,
                "label": one.label,
                "generator": one.generator,
                "logit": one.logit,
                "probability": one.probability,
                "called": one.called,
                "toward": one.toward,
                "figure": f"figures/{name}",
            }
            for one, name in zip(found.images, names, strict=True)
        ],
        "trust": None if found.trust is None else found.trust.to_json(),
    }


def explanation_page(found: Explanation, drawings: dict[str, Figure]) -> str:
    """Return the page."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for one in found.images:
        sections.setdefault(one.section, []).append(_shown(one, found.task))
    trust = found.trust
    return render(
        "explain.html.j2",
        {},
        found=found,
        sections=sections,
        names=NAMES,
        removed_as=REMOVED_AS[found.config.removal],
        tables=[] if trust is None else trust_tables(trust),
        sentences=[] if trust is None else trust_sentences(trust),
        drawings={name: plot_svg(figure) for name, figure in drawings.items()},
        effort=found.config.effort,
        limit=MAX_SIMILARITY,
    )


def _shown(one: Explained, task: Task) -> dict[str, Any]:
    """Return what the template needs of an image."""
    return {
        "name": Path(one.path).name,
        "path": one.path,
        "verdict": verdict_words(one, task),
        "toward": one.toward,
        "image": data_url(to_pixels(one.image)),
        "maps": [
            (
                NAMES[method],
                data_url(overlay_pixels(one.image, values, method)),
                data_url(map_pixels(values, method)),
            )
            for method, values in one.maps.items()
        ],
    }


def data_url(pixels: Pixels) -> str:
    """Return pixels (S, S, 3) as a data URL; a small image is enlarged, unsmoothed."""
    image = Image.fromarray(pixels)
    factor = -(-SHOWN_SIDE // image.width)
    if factor > 1:
        size = image.width * factor, image.height * factor
        image = image.resize(size, Image.Resampling.NEAREST)
    return image_url(image, quality=88)


def trust_tables(trust: Trust) -> list[tuple[Sequence[str], list[list[str]]]]:
    """Return head and rows of the measures as tables, each fit for a page's width.

    Where no forgery's place is known, the table that would speak of it is left out.
    """
    rows = trust_rows(trust)
    cuts = [1, NUM_CURVE_COLUMNS, NUM_CURVE_COLUMNS + NUM_SHUFFLED_COLUMNS]
    if trust.num_found:
        cuts.append(len(COLUMNS))
    return [
        (COLUMNS[:1] + COLUMNS[start:end], [row[:1] + row[start:end] for row in rows])
        for start, end in pairwise(cuts)
    ]


def trust_rows(trust: Trust) -> list[list[str]]:
    """Return the cells of the table of measures, a row a method, in the order of `COLUMNS`."""
    return [[NAMES[method], *_cells(one, trust)] for method, one in trust.methods.items()]


def _cells(one: MethodTrust, trust: Trust) -> list[str]:
    last, places = one.stages[-1], one.planted
    cells = [*_curve_cells(one.deletion), *_curve_cells(one.insertion), _beats(one)]
    cells += [_number(last.spearman), _number(last.magnitude)]
    if places is None:
        return [*cells, *["-"] * (len(COLUMNS) - NUM_CURVE_COLUMNS - NUM_SHUFFLED_COLUMNS)]
    low, high = places.hits_interval
    ceiling = "" if trust.mask_deletion is None else f"; {trust.mask_deletion.area:.3f}"
    return [
        *cells,
        f"{places.num_images}",
        f"{places.hits:.0%}, {low:.0%} to {high:.0%} ({_share(places.hits_elsewhere)})",
        _gain(places.hits_gain, places.hits_gain_interval),
        f"{places.inside:.0%} ({_share(places.inside_elsewhere)})",
        _gain(places.gain, places.gain_interval),
        f"{places.area:.0%}",
        *_curve_cells(places.deletion, ceiling),
    ]


def _curve_cells(figures: CurveMetrics, ceiling: str = "") -> list[str]:
    chance = f"{figures.random_area:.3f} ± {figures.random_spread:.3f}"
    return [f"{figures.area:.3f} ({chance}{ceiling})", _gain(figures.gain, figures.interval)]


def _gain(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:+.3f}" + (f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else "")


def _side(interval: Interval | None) -> Side | None:
    """Say on which side of zero an interval lies; None where there is none."""
    if interval is None:
        return None
    return "above" if interval[0] > 0 else "below" if interval[1] < 0 else "unclear"


def _beats(one: MethodTrust) -> str:
    words = {None: "undefined", "above": "yes", "below": "no, worse", "unclear": "not told"}
    both = words[_side(one.deletion.interval)], words[_side(one.insertion.interval)]
    return both[0] if both[0] == both[1] else f"deletion {both[0]}, insertion {both[1]}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.0%}"


def trust_markdown(trust: Trust, name: str) -> str:
    """Return the measures as a Markdown table, headed by what was explained in each row."""
    rows = [(name, *row) for row in trust_rows(trust)]
    lines = [("detector", *COLUMNS), ["---"] * (1 + len(COLUMNS)), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def trust_sentences(trust: Trust) -> list[str]:
    """Say in a sentence a method what the measures amount to."""
    return [
        f"{NAMES[method].capitalize()}: "
        + "; ".join([_against_random(one, trust), *_flags(one), *_on_forgeries(one)])
        + "."
        for method, one in trust.methods.items()
    ]


def _against_random(one: MethodTrust, trust: Trust) -> str:
    words = {
        "above": "works better than random orders",
        "below": "works worse than random orders",
        "unclear": f"is not told from random orders by {trust.num_images} images",
    }
    removing, inserting = _side(one.deletion.interval), _side(one.insertion.interval)
    if removing is None or inserting is None:
        return "one image is too few to set it against random orders"
    if removing == inserting:
        return f"removing and inserting what it names {words[removing]}"
    return f"removing what it names {words[removing]}, inserting it {words[inserting]}"


def _flags(one: MethodTrust) -> list[str]:
    """Say what speaks against a map when all weights are shuffled."""
    last = one.stages[-1]
    if last.spearman is None:
        return ["DISTRUST IT: it is constant, and names no place"]
    found = []
    if last.num_constant:
        found.append(f"{last.num_constant} of its maps are constant, and name no place")
    if one.hardly_changes:
        found.append("DISTRUST IT: it hardly changes when all weights are shuffled")
    return found


def _on_forgeries(one: MethodTrust) -> list[str]:
    places = one.planted
    side = None if places is None else _side(places.gain_interval)
    if places is None or side is None:
        return []
    if side == "unclear":
        return [
            f"{places.num_images} planted forgeries do not tell whether it lies on them more "
            "than on those of other images"
        ]
    than = "more" if side == "above" else "less"
    return [f"it lies on the planted forgeries {than} than on those of other images"]


def draw_trust(trust: Trust) -> dict[str, Figure]:
    """Draw the curves of each method against chance, and the cascade of shuffled weights.

    A cascade of one stage is in the table, and no drawing.
    """
    drawings = {"curves": _draw_curves(trust)}
    if any(len(one.stages) > 1 for one in trust.methods.values()):
        drawings["randomisation"] = _draw_stages(trust)
    return drawings


def _draw_curves(trust: Trust) -> Figure:
    figure = Figure(figsize=(2 * WIDTH, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shares = np.linspace(0, 1, len(trust.random_deletion))
    for axes, chance, kind in (
        (left, trust.random_deletion, "deletion"),
        (right, trust.random_insertion, "insertion"),
    ):
        axes.plot(shares, chance, color=GREY, linestyle=":", linewidth=1.6, label="random orders")
        for number, (method, one) in enumerate(trust.methods.items()):
            curve = one.deletion_curve if kind == "deletion" else one.insertion_curve
            axes.plot(
                shares, curve, color=HUES[number], marker=MARKERS[number], markersize=4,
                linewidth=1.6, label=NAMES[method],
            )  # fmt: skip
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    mean = "mean probability of the called class"
    dress(left, "Deletion: the sooner it falls, the better", "share of the image removed", mean)
    dress(right, "Insertion: the sooner it rises, the better", "share of the image inserted", "")
    return figure


def _draw_stages(trust: Trust) -> Figure:
    figure = Figure(figsize=(2 * WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (method, one) in enumerate(trust.methods.items()):
        places = range(len(one.stages))
        for values, line, words in (
            ([stage.spearman for stage in one.stages], "-", ""),
            ([stage.magnitude for stage in one.stages], "--", ", magnitude"),
        ):
            heights = [np.nan if value is None else value for value in values]
            axes.plot(
                places, heights, color=HUES[number], marker=MARKERS[number], markersize=4,
                linestyle=line, linewidth=1.5, label=NAMES[method] + words,
            )  # fmt: skip
    stages = next(iter(trust.methods.values())).stages
    axes.axhline(MAX_SIMILARITY, color=GREY, linestyle=":", linewidth=1.2)
    axes.set_xticks(range(len(stages)), [stage.shuffled for stage in stages])
    axes.set_ylim(-0.02, 1.02)
    title = "Rank correlation with the map of the trained network, as its weights are shuffled"
    dress(axes, title, "what was shuffled", "absolute Spearman correlation")
    return figure
