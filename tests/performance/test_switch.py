"""Each part of the tuning can be switched off, and a misspelt one is refused."""

import pytest
from torch import nn

from faceproof.data.loaders import choose_workers
from faceproof.errors import FaceproofError
from faceproof.performance import PARTS, VARIABLE, is_enabled
from faceproof.performance.cores import by_all_cores
from faceproof.performance.depthwise import quicken_depthwise


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, set(PARTS)), ("", set(PARTS)), ("none", set()), ("memory, cores", {"memory", "cores"})],
)
def test_the_variable_lists_what_is_used(text: str | None, expected: set[str]) -> None:
    environment = {} if text is None else {VARIABLE: text}
    assert {part for part in PARTS if is_enabled(part, environment)} == expected


def test_a_misspelt_part_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(FaceproofError, match=r"names the part core; .*cores,"):
        is_enabled("memory", {VARIABLE: "memory,core"})


def test_without_cores_worker_processes_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "none")
    monkeypatch.setattr("faceproof.data.loaders.num_cores", lambda: 4)
    assert choose_workers("auto", 1000, 10) == 3
    assert by_all_cores(lambda place: place, 5) == list(range(5))


def test_without_depthwise_no_layer_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(8, 8, 5, groups=8)
    monkeypatch.setenv(VARIABLE, "none")
    assert quicken_depthwise(nn.Sequential(layer)) == 0
    assert type(layer) is nn.Conv2d
