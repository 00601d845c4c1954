"""Numbers as people read them."""

import pytest

from faceproof.reports.numbers import count, p_value, rate, scaled, signed, span, typed
from faceproof.words import percent


def test_numbers_are_written_alike_everywhere() -> None:
    assert [rate(value) for value in (None, 0, 1e-6, 0.5, 0.99999, 1)] == [
        "undefined",
        "0.000",
        "< 0.001",
        "0.500",
        "> 0.999",
        "1.000",
    ]
    assert (count(1234567), count(None)) == ("1,234,567", "undefined")
    assert [typed(value) for value in ("a", 12345, 0.00012, None)] == [
        "a",
        "12345",
        "0.00012",
        "not recorded",
    ]


def test_an_interval_is_rounded_outwards() -> None:
    assert span((0.9694, 0.9912)) == "0.969 to 0.992"
    assert span((0.99996, 1.0)) == "0.999 to 1.000"
    assert span((0.25, 0.5)) == "0.250 to 0.500"
    assert span(None) == "no interval"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0%"), (1e-6, "under 0.1%"), (0.5, "50.0%"), (0.9999, "over 99.9%"), (1, "100.0%")],
)
def test_a_share_short_of_all_is_never_written_as_all(share: float, text: str) -> None:
    assert percent(share) == text


def test_numbers_in_words() -> None:
    assert [signed(value) for value in (0.0, 0.12345, -0.5, 1e-6, -1e-6)] == [
        "0", "+0.123", "-0.500", "under +0.001", "above -0.001",
    ]  # fmt: skip
    assert [p_value(value) for value in (1e-9, 0.0123, 0.0994, 0.5, 1.0)] == [
        "< 0.0001", "0.012", "0.099", "0.50", "1.00",
    ]  # fmt: skip
    assert [scaled(value) for value in (7, 1234, 4_010_110, 17_563_061_760)] == [
        "7", "1.23 k", "4.01 M", "17.6 G",
    ]  # fmt: skip
