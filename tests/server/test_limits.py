"""The limits of a server: which are refused."""

import pytest

from faceproof.errors import FaceproofError
from faceproof.server.limits import Limits


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"max_megabytes": float("inf")},
        {"concurrency": 0},
        {"connections": 0},
        {"queue": -1},
    ],
)
def test_limits_that_let_nothing_through_are_refused(wrong):
    with pytest.raises(FaceproofError, match="must be"):
        Limits(**wrong)
