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

from faceproof.evaluation.plots import Look, figure_svg, save_png
from faceproof.explain.figures import (
    INK,
    MUTED,
    WIDTH,
    MapPanel,
    dress,
    map_grid,
    panels,
    shared_limits,
)
from faceproof.explain.peaks import (
    FALSE_ALARM,
    LOWEST,
    MIN_HEIGHT,
    MIN_PICTURES,
    Map,
    num_cells,
    threshold,
)
from faceproof.explain.spectra import Group, Spectra, curve_frequencies
from faceproof.pages import render
from faceproof.run import write_text
from faceproof.whole_files import whole_file

UNIT = "mean power (dB re 1 grey level)"  # that of white noise of so much
NORMAL_95 = 1.96
MAX_NAMED = 20  # pictures left out that the page names


def write_spectra(spectra: Spectra, folder: Path) -> Path:
    """Write figures, `spectra.json`, `spectra.npz` and `spectra.html`; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = draw_spectra(spectra)
    for name, figure in figures.items():
        save_png(figure, folder / f"{name}.png")
    with whole_file(folder / "spectra.npz") as partial, partial.open("wb") as file:
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
        MapPanel(f"{group.name} ({group.num:,})", centred(group.power), rings(group.peaks or []))
        for group in groups
    ]
    limits = shared_limits([panel.values for panel in grid], signed=False)
    return _titled(map_grid(grid, limits, UNIT), spectra, "mean spectra")


def draw_differences(spectra: Spectra) -> Figure:
    """Draw how much more power than the negative class each group has, its peaks ringed."""
    grid = []
    for group in compared(spectra):
        assert group.difference is not None
        marks = rings(group.difference.peaks or [])
        grid.append(
            MapPanel(f"{group.name} ({group.num:,})", centred(group.difference.power), marks)
        )
    limits = shared_limits([panel.values for panel in grid], signed=True)
    unit = f"difference from {spectra.task.negative} (dB)"
    return _titled(
        map_grid(grid, limits, unit), spectra, f"mean spectra less those of {spectra.task.negative}"
    )


def draw_curves(spectra: Spectra) -> Figure:
    """Draw power by frequency: each class with its spread, and each group less the negative one."""
    others = compared(spectra)
    figure, places = panels(2 if others else 1, 2, 2 * WIDTH, 4.2)
    frequencies = curve_frequencies(spectra.size)
    for number, group in enumerate(spectra.of("class")):
        line = Look(group.name, number).line
        label = f"{group.name} ({group.num:,})"
        _banded(places[0], frequencies, group.curve, group.curve_deviation, line, label)
    axis = "spatial frequency (cycles/pixel)"
    dress(places[0], "Power by frequency, ± 1 standard deviation", axis, UNIT)
    if others:
        places[1].axhline(0, color=MUTED, linewidth=1)
    for number, group in enumerate(others, start=1):
        assert group.difference is not None
        line = Look(group.name, number).line
        reach = NORMAL_95 * group.difference.error
        _banded(places[1], frequencies, group.difference.curve, reach, line, group.name)
    if others:
        title = f"Less {spectra.task.negative}, with 95% interval of the mean"
        dress(places[1], title, axis, "difference (dB)")
    for axes in places:
        axes.set_xlim(0, 0.5)
    return _titled(figure, spectra, "averaged over directions")


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
    words = f"{spectra.data}: {title} ({spectra.size} x {spectra.size} pixels, Hann window)"
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
        "seed": spectra.seed,
        "num_pictures": spectra.num_pictures,
        "num_drawn": spectra.num_drawn,
        "search": {
            "false_alarm": FALSE_ALARM,
            "num_cells": num_cells(spectra.size),
            "threshold_sigmas": threshold(spectra.size),
            "lowest_frequency": LOWEST,
            "min_pictures": MIN_PICTURES,
            "min_height_db": MIN_HEIGHT,
        },
        "frequencies": curve_frequencies(spectra.size).tolist(),
        "groups": [_group_json(group) for group in spectra.groups],
        "too_small": [dict(vars(picture)) for picture in spectra.too_small],
        "unreadable": [dict(vars(picture)) for picture in spectra.unreadable],
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
        }
    return found


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _peaks_json(peaks: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    return None if peaks is None else [peak.to_json() for peak in peaks]


def verdict(spectra: Spectra) -> str:
    """Say in one line which frequencies the negative class does not have."""
    task = spectra.task
    groups = compared(spectra)
    if not groups:
        return f"undefined: no pictures of {task.positive} beside some of {task.negative}"
    if all(group.difference and group.difference.peaks is None for group in groups):
        return f"undefined: fewer than {MIN_PICTURES} pictures of a class"
    found = [group.name for group in groups if group.difference and group.difference.peaks]
    if not found:
        return f"no frequency stands out beside {task.negative}"
    return f"frequencies that {task.negative} lacks stand out in {', '.join(found)}"


def describe(spectra: Spectra) -> list[str]:
    """Return the peaks beside the negative class, a line each."""
    return [
        f"{group.name}: {peak.horizontal:.4f} across, {peak.vertical:.4f} down (cycles/pixel), "
        f"{peak.height:.1f} dB over {spectra.task.negative}, {peak.sigmas:.1f} standard errors"
        for group in compared(spectra)
        for peak in (group.difference.peaks or [] if group.difference else [])
    ]


def spectra_page(spectra: Spectra, figures: dict[str, Figure]) -> str:
    """Return the page of the spectra of a data set."""
    return render(
        "spectra.html.j2",
        {},
        spectra=spectra,
        negative=spectra.task.negative,
        verdict=verdict(spectra),
        drawings={name: figure_svg(figure) for name, figure in figures.items()},
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
        min_pictures=MIN_PICTURES,
        min_height=MIN_HEIGHT,
        left_out=[
            *(
                (one.path, f"{one.width} x {one.height} pixels")
                for one in spectra.too_small[:MAX_NAMED]
            ),
            *((one.path, one.reason) for one in spectra.unreadable[:MAX_NAMED]),
        ],
    )
