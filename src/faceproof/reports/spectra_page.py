"""The mean spectra of a data set as lines for the terminal, plots and a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceproof.explain import peaks as search
from faceproof.explain.peaks import Map, Peak
from faceproof.explain.spectra_results import (
    NOISE_IN_MAPS,
    Group,
    Spectra,
    Values,
    curve_frequencies,
)
from faceproof.io.atomic import atomic_file
from faceproof.reports.html import render, write_page
from faceproof.reports.map_plots import (
    MapPanel,
    map_grid,
    move_legend_below,
    shared_limits,
    shortened,
)
from faceproof.reports.plots import INK, MUTED, WIDTH, Look, dress, literal, panels, plot_html

UNIT = "mean power (dB re 1 grey level)"  # that of white noise of one grey level
MAP_UNIT = "mean log power (dB re 1 grey level)"  # such noise is below 0 there
NORMAL_95 = 1.96
MAX_CURVES = 12  # differences that a reader can distinguish in one plot
MAX_INSIDE = 6  # of which the legend leaves the lines room
MAX_NAMED = 20  # images left out that the page names


def write_spectra(spectra: Spectra, folder: Path) -> Path:
    """Write page, numbers, plots and the maps (`spectra.npz`) to a folder; return the page."""
    plots = draw_spectra(spectra)
    with atomic_file(folder / "spectra.npz") as partial, partial.open("wb") as file:
        # numpy 2.0 would store its option allow_pickle as one more array.
        np.savez_compressed(file, **spectra.arrays())  # type: ignore[arg-type]
    return write_page(folder, "spectra", spectra_page(spectra, plots), spectra.to_json(), plots)


def draw_spectra(spectra: Spectra) -> dict[str, Figure]:
    """Draw means, differences where there are any, and curves."""
    plots = {"means": draw_means(spectra)}
    if spectra.compared():
        plots["differences"] = draw_differences(spectra)
    return plots | {"curves": draw_curves(spectra)}


def draw_means(spectra: Spectra) -> Figure:
    """Draw the mean spectrum of each group, with its peaks ringed."""
    grid = [_panel(group, group.power, group.peaks) for group in spectra.distinct()]
    limits = shared_limits([panel.values for panel in grid], signed=False)
    return _titled(map_grid(grid, limits, MAP_UNIT), spectra, "mean spectra")


def draw_differences(spectra: Spectra) -> Figure:
    """Draw how much more power than the negative class each group has, with its peaks ringed."""
    grid = [_panel(group, found.power, found.peaks) for group, found in spectra.compared()]
    limits = shared_limits([panel.values for panel in grid], signed=True)
    negative = spectra.task.negative
    figure = map_grid(grid, limits, f"difference from {negative} (dB)")
    return _titled(figure, spectra, f"mean spectra minus those of {negative}")


def _panel(group: Group, power: Map, peaks: Sequence[Peak] | None) -> MapPanel:
    places = [place for peak in peaks or () for place in peak.images]
    return MapPanel(_counted(group), centred(power), places)


def _counted(group: Group) -> str:
    return f"{literal(shortened(group.name))} ({group.num:,})"


def centred(power: Map) -> Map:
    """Return (S + 1, S + 1) with frequency 0 in the middle and half a cycle at all four edges."""
    return np.pad(np.fft.fftshift(power), ((0, 1), (0, 1)), mode="wrap")


def draw_curves(spectra: Spectra) -> Figure:
    """Draw power by frequency: each class with its spread, and each group minus the negative class.

    Of many groups the largest are drawn; the class, the first, is among them.
    """
    compared = spectra.compared()
    largest = sorted(compared, key=lambda pair: -pair[0].num)[:MAX_CURVES]
    figure, places = panels(2 if compared else 1, 2, 2 * WIDTH, 4.2)
    frequencies = curve_frequencies(spectra.size)
    axis = "spatial frequency (cycles/pixel)"
    classes = spectra.task.classes
    for group in spectra.of("class"):
        curve = frequencies, group.curve, group.curve_deviation
        number = (*classes, group.name).index(group.name)
        _banded(places[0], *curve, Look(_counted(group), number))
    dress(places[0], "Power by frequency, ± 1 standard deviation", axis, UNIT)
    if compared:
        places[1].axhline(0, color=MUTED, linewidth=1)
        for number, (group, found) in enumerate(largest, start=1):
            curve = frequencies, found.curve, NORMAL_95 * found.curve_error
            _banded(places[1], *curve, Look(literal(group.name), number))
        title = f"Minus {spectra.task.negative}, with 95% interval of the mean"
        if len(compared) > len(largest):
            title += f" ({len(largest)} of {len(compared)})"
        dress(places[1], title, axis, "difference (dB)")
        if len(largest) > MAX_INSIDE:
            move_legend_below(figure, places[1], 4)
    for axes in places:
        axes.set_xlim(0, 0.5)
    return _titled(figure, spectra, "averaged over directions")


def _banded(axes: Axes, frequencies: Values, middle: Values, reach: Values, look: Look) -> None:
    axes.plot(frequencies, middle, linewidth=1.8, label=look.name, **look.line)
    low, high = middle - reach, middle + reach
    axes.fill_between(frequencies, low, high, color=look.colour, alpha=0.15, linewidth=0)


def _titled(figure: Figure, spectra: Spectra, title: str) -> Figure:
    size = f"{spectra.size} x {spectra.size} pixels, Hann window"
    words = f"{literal(spectra.data)}: {title} ({size})"
    figure.suptitle(words, color=INK, fontsize=11, x=0.01, ha="left")
    return figure


def verdict(spectra: Spectra) -> str:
    """Say in one line which frequencies stand out, and whether the negative class has them too."""
    task, compared = spectra.task, spectra.compared()
    if not compared:
        return f"undefined: no images of {task.positive} beside some of {task.negative}"
    if all(found.peaks is None for _, found in compared):
        return f"undefined: fewer than {search.MIN_IMAGES} independent images of a class"
    found_in = [(of.name, any(map(one.is_new, one.peaks))) for of, one in compared if one.peaks]
    new = [name for name, is_new in found_in if is_new]
    stronger = [name for name, is_new in found_in if not is_new]
    parts = []
    if new:
        parts.append(f"frequencies that {task.negative} lacks stand out in {', '.join(new)}")
    if stronger:
        parts.append(f"some that {task.negative} has too are stronger in {', '.join(stronger)}")
    return "; ".join(parts) or f"no frequency stands out beside {task.negative}"


def describe(spectra: Spectra) -> list[str]:
    """Return the peaks of the differences from the negative class, a line each."""
    return [
        f"{group.name}: {peak.horizontal:.4f} across, {peak.vertical:.4f} down (cycles/pixel), "
        f"{peak.height:.1f} dB over {spectra.task.negative}"
        f"{'' if found.is_new(peak) else ', which has it too'}, "
        f"{peak.sigmas:.1f} standard errors"
        for group, found in spectra.compared()
        for peak in found.peaks or []
    ]


def spectra_page(spectra: Spectra, plots: dict[str, Figure]) -> str:
    """Return the page of the spectra of a data set."""
    groups, compared = spectra.distinct(), spectra.compared()
    searched = [group.peaks for group in groups] + [found.peaks for _, found in compared]
    small = [(one.path, f"{one.width} x {one.height} pixels") for one in spectra.too_small]
    unreadable = [(one.path, one.reason) for one in spectra.unreadable]
    return render(
        "spectra.html.j2",
        spectra=spectra,
        groups=groups,
        compared=compared,
        verdict=verdict(spectra),
        plots={name: plot_html(figure) for name, figure in plots.items()},
        any_found=any(peaks is None or peaks for peaks in searched),
        search=search,
        noise_in_maps=NOISE_IN_MAPS,
        max_curves=MAX_CURVES,
        left_out=[*small[:MAX_NAMED], *unreadable[:MAX_NAMED]],
    )
