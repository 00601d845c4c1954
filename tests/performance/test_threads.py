"""How long threads spin, which is settled before torch is imported."""

import pytest

from faceproof.performance.threads import SPINS, wait_briefly


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"GOMP_SPINCOUNT": str(SPINS)}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"FACEPROOF_PERFORMANCE": "none"}, {"FACEPROOF_PERFORMANCE": "none"}),
    ],
)
def test_threads_spin_briefly_unless_they_are_told_otherwise(
    given: dict[str, str], wanted: dict[str, str]
) -> None:
    wait_briefly(given)
    assert given == wanted
