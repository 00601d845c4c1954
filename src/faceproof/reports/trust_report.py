"""The measures of attribution maps as tables, sentences and plots."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from faceproof.evaluation.statistics import Interval
from faceproof.explain.explanation_results import MAX_SIMILARITY, CurveMetrics, MethodTrust, Trust
from faceproof.reports.gallery import NAMES
from faceproof.reports.plots import GREY, HUES, MARKERS, WIDTH, dress, literal, panels, unit_axes

Side = Literal["above", "below", "unclear"]  # of zero, by the interval

COLUMNS = (
    *("method", "deletion area (random)", "gain", "insertion area (random)", "gain"),
    *("beats random", "rank correlation, all weights shuffled", "of magnitudes"),
    *("forgeries", "pointing hits (other masks)", "gain", "mass inside (other masks)", "gain"),
    *("mask's share", "deletion area (random; mask's own)", "gain"),
)
CUTS = 1, 6, 8, len(COLUMNS)  # where the tables of curves, shuffled weights and forgeries begin


def trust_tables(trust: Trust) -> list[tuple[Sequence[str], list[list[str]]]]:
    """Return header and rows of the measures, as tables that fit the width of a page.

    The table of planted forgeries is left out where no forgery's place is known.
    """
    rows = _rows(trust)
    return [
        (COLUMNS[:1] + COLUMNS[start:end], [row[:1] + row[start:end] for row in rows])
        for start, end in pairwise(CUTS if trust.num_found else CUTS[:-1])
    ]


def _rows(trust: Trust) -> list[list[str]]:
    """Return the cells of the measures, one row per method, in the order of `COLUMNS`."""
    return [[NAMES[method], *_cells(one, trust)] for method, one in trust.methods.items()]


def _cells(one: MethodTrust, trust: Trust) -> list[str]:
    last, places = one.stages[-1], one.planted
    cells = [*_curve_cells(one.deletion), *_curve_cells(one.insertion), _beats(one)]
    cells += [_written(last.spearman, ".2f"), _written(last.magnitude, ".2f")]
    if places is None:
        return [*cells, *["-"] * (CUTS[-1] - CUTS[-2])]
    low, high = places.hits_interval
    elsewhere = _written(places.hits_elsewhere, ".0%")
    inside_elsewhere = _written(places.inside_elsewhere, ".0%")
    ceiling = "" if trust.mask_deletion is None else f"; {trust.mask_deletion.area:.3f}"
    return [
        *cells,
        f"{places.num_images}",
        f"{places.hits:.0%}, {low:.0%} to {high:.0%} ({elsewhere})",
        _gain(places.hits_gain, places.hits_gain_interval),
        f"{places.inside:.0%} ({inside_elsewhere})",
        _gain(places.gain, places.gain_interval),
        f"{places.area:.0%}",
        *_curve_cells(places.deletion, ceiling),
    ]


def _curve_cells(found: CurveMetrics, ceiling: str = "") -> list[str]:
    chance = f"{found.random_area:.3f} ± {found.random_spread:.3f}"
    return [f"{found.area:.3f} ({chance}{ceiling})", _gain(found.gain, found.interval)]


def _gain(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:+.3f}" + (f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else "")


def _side(interval: Interval | None) -> Side | None:
    """Say on which side of zero an interval is; None where there is none."""
    if interval is None:
        return None
    return "above" if interval[0] > 0 else "below" if interval[1] < 0 else "unclear"


def _beats(one: MethodTrust) -> str:
    words = {None: "undefined", "above": "yes", "below": "no, worse", "unclear": "unclear"}
    both = words[_side(one.deletion.interval)], words[_side(one.insertion.interval)]
    return both[0] if both[0] == both[1] else f"deletion {both[0]}, insertion {both[1]}"


def _written(value: float | None, form: str) -> str:
    return "undefined" if value is None else format(value, form)


def trust_markdown(trust: Trust, name: str) -> str:
    """Return the measures as a Markdown table, whose rows begin with the name of the detector."""
    rows = [(name, *row) for row in _rows(trust)]
    lines = [("detector", *COLUMNS), ["---"] * (1 + len(COLUMNS)), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def trust_sentences(trust: Trust) -> list[str]:
    """Say what the measures amount to, one sentence per method."""
    return [
        f"{NAMES[method].capitalize()}: "
        f"{'; '.join([_against_random(one, trust), *_flags(one), *_on_forgeries(one)])}."
        for method, one in trust.methods.items()
    ]


def _against_random(one: MethodTrust, trust: Trust) -> str:
    words = {
        "above": "finds what the answer depends on better than chance",
        "below": "finds what the answer depends on worse than chance",
        "unclear": f"cannot be distinguished from chance with {trust.num_images} images",
    }
    removing, inserting = _side(one.deletion.interval), _side(one.insertion.interval)
    if removing is None or inserting is None:
        return "one image is too few to compare it with chance"
    if removing == inserting:
        return f"{words[removing]} (by deletion and by insertion)"
    return f"by deletion {words[removing]}, by insertion {words[inserting]}"


def _flags(one: MethodTrust) -> list[str]:
    last = one.stages[-1]
    if last.spearman is None:
        return ["do not trust it: it is constant, without a place that stands out"]
    found = []
    if last.num_constant:
        found.append(f"{last.num_constant} of its maps are constant")
    if one.hardly_changes:
        found.append("do not trust it: it hardly changes when all weights are shuffled")
    return found


def _on_forgeries(one: MethodTrust) -> list[str]:
    places = one.planted
    if places is None or (side := _side(places.gain_interval)) is None:
        return []
    if side == "unclear":
        return [f"{places.num_images} planted forgeries are too few to say whether it finds them"]
    if side == "above":
        return ["it lies on the planted forgeries more than on places forged in other images"]
    return ["it lies on the planted forgeries less than on places forged in other images"]


def draw_trust(trust: Trust) -> dict[str, Figure]:
    """Draw the curves of each method beside chance, and the stages of shuffled weights.

    A single stage is in the table alone.
    """
    plots = {"curves": _draw_curves(trust)}
    if any(len(one.stages) > 1 for one in trust.methods.values()):
        plots["randomisation"] = _draw_stages(trust)
    return plots


def _draw_curves(trust: Trust) -> Figure:
    figure = Figure(figsize=(2 * WIDTH, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shares = np.linspace(0, 1, len(trust.random_deletion))
    for axes, kind in ((left, "deletion"), (right, "insertion")):
        chance = getattr(trust, f"random_{kind}")
        axes.plot(shares, chance, color=GREY, linestyle=":", linewidth=1.6, label="random orders")
        for number, (method, one) in enumerate(trust.methods.items()):
            curve = getattr(one, f"{kind}_curve")
            axes.plot(shares, curve, linewidth=1.6, label=NAMES[method], **_style(number))
        unit_axes(axes)
    mean = "mean probability of the called class"
    dress(left, "Deletion: the sooner it falls, the better", "share of the image removed", mean)
    dress(right, "Insertion: the sooner it rises, the better", "share of the image inserted", "")
    return figure


def _style(number: int) -> dict[str, Any]:
    return {"color": HUES[number], "marker": MARKERS[number], "markersize": 4}


def _draw_stages(trust: Trust) -> Figure:
    figure, (axes,) = panels(1, 1, 2 * WIDTH, 3.6)
    for number, (method, one) in enumerate(trust.methods.items()):
        for values, line, words in (
            ([stage.spearman for stage in one.stages], "-", ""),
            ([stage.magnitude for stage in one.stages], "--", ", magnitude"),
        ):
            heights = np.array(values, float)  # None becomes NaN
            style = {"linestyle": line, "linewidth": 1.5, **_style(number)}
            axes.plot(heights, label=NAMES[method] + words, **style)
    stages = next(iter(trust.methods.values())).stages
    axes.axhline(MAX_SIMILARITY, color=GREY, linestyle=":", linewidth=1.2)
    axes.set_xticks(range(len(stages)), [literal(stage.shuffled) for stage in stages])
    axes.set_ylim(-0.02, 1.02)
    title = "Rank correlation with the map of the trained network, as its weights are shuffled"
    dress(axes, title, "shuffled weights", "absolute Spearman correlation")
    return figure
