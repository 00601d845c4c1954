"""Numbers as people read them: rates, intervals, counts, p-values and times, alike everywhere."""

import math
from collections.abc import Sequence

from faceproof.words import percent

DASH = "\N{EN DASH}"
CHANCE = 0.5  # ROC-AUC of guessing


def rate(value: float | None) -> str:
    """Write a rate with three decimals, but never one short of 1 as 1 or one above 0 as 0."""
    if value is None:
        return "undefined"
    if 0 < value < 0.0005:
        return "< 0.001"
    return "> 0.999" if 0.9995 <= value < 1 else f"{value:.3f}"


def span(interval: Sequence[float] | None) -> str:
    """Write an interval with three decimals, rounded outwards so that no end looks too good."""
    if interval is None:
        return "no interval"
    # The small amounts keep what is a round number but for its last bit.
    low, high = math.floor(interval[0] * 1000 + 1e-9), math.ceil(interval[1] * 1000 - 1e-9)
    return f"{low / 1000:.3f} to {high / 1000:.3f}"


def count(value: int | None) -> str:
    """Write a number of things with separators of thousands."""
    return "undefined" if value is None else f"{value:,}"


def typed(value: str | int | float | None) -> str:
    """Write an entry of a record as it would be typed."""
    if value is None:
        return "not recorded"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def part_of(part: int, whole: int, things: str) -> str:
    """Write how many of some things, as counts and as a share."""
    return f"{part:,} of {whole:,} {things} ({percent(part / whole)})"


def signed(value: float) -> str:
    """Write a difference with its sign, and never one that is there as none."""
    if value == 0:
        return "0"
    if abs(value) < 0.0005:
        return "above -0.001" if value < 0 else "under +0.001"
    return f"{value:+.3f}"


def p_value(value: float) -> str:
    """Write a p-value as papers do."""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.0995 else f"{value:.2f}"


def scaled(value: int | None) -> str:
    """Write a large count in thousands, millions or billions."""
    if value is None:
        return DASH
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return str(value)


def milliseconds(value: float | None) -> str:
    """Write a time per image."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def short(value: float) -> str:
    """Write a number with four digits."""
    return f"{value:.4g}"


_FILTERS = (percent, rate, span, count, typed, signed, p_value, scaled, milliseconds, short)
FILTERS = {function.__name__: function for function in _FILTERS}  # of the templates
