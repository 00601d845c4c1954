"""The spectra of a data set for people: figures, a page, and all numbers beside it."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceproof.explain.peaks import (
    FALSE_ALARM,
    LOWEST,
    MIN_HEIGHT,
    MIN_IMAGES,
    Map,
    num_cells,
    threshold,
)
from faceproof.explain.spectra import OF_NOISE, Group, Spectra, curve_frequencies
from faceproof.io.atomic import atomic_file
from faceproof.io.run_folder import write_text
from faceproof.reports.html import render
from faceproof.reports.map_plots import (
    INK,
    MUTED,
    WIDTH,
    MapPanel,
    dress,
    map_grid,
    panels,
    shared_limits,
    shortened,
    spelled,
)
from faceproof.reports.plots import Look, plot_svg, save_png

UNIT = "mean power (dB re 1 grey level)"  # that of white noise of so much
MAP_UNIT = "mean log power (dB re 1 grey level)"  # white noise of so much lies below 0 there
NORMAL_95 = 1.96
MAX_CURVES = 12  # differences that can be told apart in one drawing
MAX_INSIDE = 6  # of which the legend leaves the lines room
MAX_NAMED = 20  # images left out that the page names


def write_spectra(spectra: Spectra, folder: Path) -> Path:
    """Write figures, `spectra.json`, `spectra.npz` and `spectra.html`; return the page's path."""
    figures = draw_spectra(spectra)
    for name, figure in figures.items():
        save_png(figure, folder / f"{name}.png")
    with atomic_file(folder / "spectra.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **spectra_arrays(spectra))
    text = json.dumps(spectra_json(spectra), indent=2, allow_nan=False) + "\n"
    write_text(folder / "spectra.json", text)
    write_text(folder / "spectra.html", spectra_page(spectra, figures))
    return folder / "spectra.html"


def draw_spectra(spectra: Spectra) -> dict[str, Figure]:
    """Draw means, differences where there are any, and curves."""
    figures = {"means": draw_means(spectra)}
    if compared(spectra):
        figures["differences"] = draw_differences(spectra)
    return figures | {"curves": draw_curves(spectra)}


def shown(spectra: Spectra) -> list[Group]:
    """Return the groups that are not another one over again, as an only source is."""
    groups: list[Group] = []
    for kind in ("class", "overall", "source", "generator"):
        for group in spectra.of(kind):
            if not any(np.array_equal(group.power, other.power) for other in groups):
                groups.append(group)
    return groups


def compared(spectra: Spectra) -> list[Group]:
    """Return the groups to set against the negative class, the class itself before its parts."""
    return [group for group in shown(spectra) if group.difference is not None]


def draw_means(spectra: Spectra) -> Figure:
    """Draw the mean spectrum of each group, with its peaks ringed."""
    groups = shown(spectra)
    grid = [
        MapPanel(_counted(group), centred(group.power), rings(group.peaks or []))
        for group in groups
    ]
    limits = shared_limits([panel.values for panel in grid], signed=False)
    return _titled(map_grid(grid, limits, MAP_UNIT), spectra, "mean spectra")


def draw_differences(spectra: Spectra) -> Figure:
    """Draw how much more power than the negative class each group has, its peaks ringed."""
    grid = []
    for group in compared(spectra):
        assert group.difference is not None
        marks = rings(group.difference.peaks or [])
        grid.append(MapPanel(_counted(group), centred(group.difference.power), marks))
    limits = shared_limits([panel.values for panel in grid], signed=True)
    unit = f"difference from {spectra.task.negative} (dB)"
    return _titled(
        map_grid(grid, limits, unit), spectra, f"mean spectra less those of {spectra.task.negative}"
    )


def draw_curves(spectra: Spectra) -> Figure:
    """Draw power by frequency: each class with its spread, and each group less the negative one.

    Of many groups the largest are drawn; the class, the first, is among them.
    """
    others = compared(spectra)
    shown_ones = sorted(others, key=lambda group: -group.num)[:MAX_CURVES]
    figure, places = panels(2 if others else 1, 2, 2 * WIDTH, 4.2)
    frequencies = curve_frequencies(spectra.size)
    for number, group in enumerate(spectra.of("class")):
        line = Look(group.name, number).line
        deviation = group.curve_deviation
        _banded(places[0], frequencies, group.curve, deviation, line, _counted(group))
    axis = "spatial frequency (cycles/pixel)"
    dress(places[0], "Power by frequency, ± 1 standard deviation", axis, UNIT)
    if others:
        places[1].axhline(0, color=MUTED, linewidth=1)
    for number, group in enumerate(shown_ones, start=1):
        assert group.difference is not None
        line = Look(group.name, number).line
        reach = NORMAL_95 * group.difference.error
        _banded(places[1], frequencies, group.difference.curve, reach, line, spelled(group.name))
    if others:
        title = f"Less {spectra.task.negative}, with 95% interval of the mean"
        if len(others) > len(shown_ones):
            title += f" ({len(shown_ones)} of {len(others)})"
        dress(places[1], title, axis, "difference (dB)")
        if len(shown_ones) > MAX_INSIDE:
            _legend_outside(figure, places[1])
    for axes in places:
        axes.set_xlim(0, 0.5)
    return _titled(figure, spectra, "averaged over directions")


def _legend_outside(figure: Figure, axes: Axes) -> None:
    """Move a legend of many lines under the figure, where it covers none of them."""
    handles, labels = axes.get_legend_handles_labels()
    if (legend := axes.get_legend()) is not None:
        legend.remove()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, fontsize=9, frameon=False,
        labelcolor=INK,
    )  # fmt: skip


def _counted(group: Group) -> str:
    return f"{spelled(shortened(group.name))} ({group.num:,})"


def _banded(
    axes: Axes,
    frequencies: npt.NDArray[np.float64],
    middle: npt.NDArray[np.float64],
    reach: npt.NDArray[np.float64],
    line: dict[str, Any],
    label: str,
) -> None:
    axes.plot(frequencies, middle, linewidth=1.8, label=label, **line)
    axes.fill_between(
        frequencies, middle - reach, middle + reach, color=line["color"], alpha=0.15, linewidth=0
    )


def _titled(figure: Figure, spectra: Spectra, title: str) -> Figure:
    """Head a figure with what it shows and what it was made of."""
    words = (
        f"{spelled(spectra.data)}: {title} ({spectra.size} x {spectra.size} pixels, Hann window)"
    )
    figure.suptitle(words, color=INK, fontsize=11, x=0.01, ha="left")
    return figure


def centred(power: Map) -> Map:
    """Return (S + 1, S + 1) with frequency 0 in the middle and half a cycle at all four edges."""
    shifted = np.fft.fftshift(power)
    return np.pad(shifted, ((0, 1), (0, 1)), mode="wrap")


def rings(peaks: Sequence[Any]) -> list[tuple[float, float]]:
    """Return every place of a drawing where peaks stand."""
    return [place for peak in peaks for place in peak.images]


def spectra_arrays(spectra: Spectra) -> dict[str, npt.NDArray[np.float32]]:
    """Return the mean spectra as arrays, frequency 0 in the middle, named `mean:KIND:NAME`.

    Beside them `deviation:KIND:NAME`, `difference:KIND:NAME` where there is one, and `frequencies`.
    """
    arrays = {"frequencies": np.fft.fftshift(np.fft.fftfreq(spectra.size)).astype(np.float32)}
    for group in spectra.groups:
        name = f"{group.kind}:{group.name}"
        arrays[f"mean:{name}"] = np.fft.fftshift(group.power).astype(np.float32)
        arrays[f"deviation:{name}"] = np.fft.fftshift(group.deviation).astype(np.float32)
        if group.difference is not None:
            power = np.fft.fftshift(group.difference.power)
            arrays[f"difference:{name}"] = power.astype(np.float32)
    return arrays


def spectra_json(spectra: Spectra) -> dict[str, Any]:
    """Return everything but the maps as plain data; what is undefined is None."""
    return {
        "data": spectra.data,
        "task": spectra.task.name,
        "size": spectra.size,
        "window": "Hann",
        "unit": "dB; 0 dB is white noise of 1 grey level of 255",
        "noise_of_0_db_in_maps": OF_NOISE,
        "seed": spectra.seed,
        "num_images": spectra.num_images,
        "num_drawn": spectra.num_drawn,
        "search": {
            "false_alarm": FALSE_ALARM,
            "num_cells": num_cells(spectra.size),
            "threshold_sigmas": threshold(spectra.size),
            "lowest_frequency": LOWEST,
            "min_images": MIN_IMAGES,
            "min_height_db": MIN_HEIGHT,
        },
        "frequencies": curve_frequencies(spectra.size).tolist(),
        "groups": [_group_json(group) for group in spectra.groups],
        "too_small": [dict(vars(image)) for image in spectra.too_small],
        "unreadable": [dict(vars(image)) for image in spectra.unreadable],
    }


def _group_json(group: Group) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": group.kind,
        "name": group.name,
        "num": group.num,
        "curve": _numbers(group.curve),
        "curve_deviation": _numbers(group.curve_deviation),
        "peaks": _peaks_json(group.peaks),
        "difference": None,
    }
    if (difference := group.difference) is not None:
        found["difference"] = {
            "num_reference": difference.num_reference,
            "curve": _numbers(difference.curve),
            "curve_error": _numbers(difference.error),
            "peaks": _peaks_json(difference.peaks),
            "reference_peaks": _peaks_json(difference.reference_peaks),
        }
    return found


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _peaks_json(peaks: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    return None if peaks is None else [peak.to_json() for peak in peaks]


def verdict(spectra: Spectra) -> str:
    """Say in one line which frequencies stand out, and whether the negative class has them too."""
    task = spectra.task
    groups = compared(spectra)
    if not groups:
        return f"undefined: no images of {task.positive} beside some of {task.negative}"
    if all(group.difference and group.difference.peaks is None for group in groups):
        return f"undefined: fewer than {MIN_IMAGES} images of a class"
    lacking: list[str] = []
    stronger: list[str] = []
    for group in groups:
        if (difference := group.difference) is not None and difference.peaks:
            lacked = any(difference.lacked(peak) for peak in difference.peaks)
            (lacking if lacked else stronger).append(group.name)
    parts = []
    if lacking:
        parts.append(f"frequencies that {task.negative} lacks stand out in {', '.join(lacking)}")
    if stronger:
        parts.append(f"some that {task.negative} has too are stronger in {', '.join(stronger)}")
    return "; ".join(parts) or f"no frequency stands out beside {task.negative}"


def describe(spectra: Spectra) -> list[str]:
    """Return the peaks beside the negative class, a line each."""
    return [
        f"{group.name}: {peak.horizontal:.4f} across, {peak.vertical:.4f} down (cycles/pixel), "
        f"{peak.height:.1f} dB over {spectra.task.negative}"
        f"{'' if difference.lacked(peak) else ', which has it too'}, "
        f"{peak.sigmas:.1f} standard errors"
        for group in compared(spectra)
        if (difference := group.difference) is not None
        for peak in difference.peaks or []
    ]


def spectra_page(spectra: Spectra, figures: dict[str, Figure]) -> str:
    """Return the page of the spectra of a data set."""
    return render(
        "spectra.html.j2",
        {},
        spectra=spectra,
        negative=spectra.task.negative,
        verdict=verdict(spectra),
        drawings={name: plot_svg(figure) for name, figure in figures.items()},
        groups=shown(spectra),
        any_found=any(
            found is None or found
            for group in shown(spectra)
            for found in (group.peaks, group.difference.peaks if group.difference else [])
        ),
        num_cells=num_cells(spectra.size),
        threshold=threshold(spectra.size),
        false_alarm=FALSE_ALARM,
        lowest=LOWEST,
        min_images=MIN_IMAGES,
        min_height=MIN_HEIGHT,
        of_noise=OF_NOISE,
        max_curves=MAX_CURVES,
        num_compared=len(compared(spectra)),
        left_out=[
            *(
                (one.path, f"{one.width} x {one.height} pixels")
                for one in spectra.too_small[:MAX_NAMED]
            ),
            *((one.path, one.reason) for one in spectra.unreadable[:MAX_NAMED]),
        ],
    )
