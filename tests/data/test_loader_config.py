"""Settings of loading and caching: what cannot be is refused, and torch is not needed for it."""

import subprocess
import sys
from typing import Any

import pytest

from faceproof.data.loader_config import (
    CacheConfig,
    LoaderConfig,
    choose_batch_size,
    recorded_workers,
)
from faceproof.errors import FaceproofError


@pytest.mark.parametrize("number", [-1, "many", 1.5, None, 257, 10**30])
def test_numbers_of_workers_that_cannot_be(number: Any) -> None:
    with pytest.raises(FaceproofError, match=r"^num_workers = .* must be 'auto' or a count"):
        LoaderConfig(num_workers=number)


@pytest.mark.parametrize("number", [0, -1, 1.5, "8", None, True, 2**16 + 1])
def test_sizes_of_batches_that_cannot_be(number: Any) -> None:
    with pytest.raises(
        FaceproofError, match=r"^batch_size = .* must be 'auto' or a count from 1 on"
    ):
        LoaderConfig(number)


@pytest.mark.parametrize(
    ("wanted", "images", "size"), [("auto", 999, 16), ("auto", 1000, 32), (8, 999, 8), (8, 1000, 8)]
)
def test_few_images_are_trained_on_in_smaller_batches(
    wanted: int | str, images: int, size: int
) -> None:
    assert choose_batch_size(wanted, images) == size


def test_batches_of_pairs_are_of_an_even_size(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_batch_size(8, 100, "loader.sampler=paired") == 8
    assert not caplog.text
    assert choose_batch_size(9, 100, "loader.sampler=paired") == 8
    assert "batch_size=9 is lowered to 8: with loader.sampler=paired a batch" in caplog.text
    with pytest.raises(
        FaceproofError, match=r"batch_size = 1 has no room for a pair \(synthesis\)"
    ):
        choose_batch_size(1, 100, "synthesis")
    assert choose_batch_size(9, 100) == 9
    assert LoaderConfig(2, sampler="paired").sampler == "paired"
    with pytest.raises(FaceproofError, match=r"= 1 has no room for a pair \(sampler=paired"):
        LoaderConfig(1, sampler="paired")
    with pytest.raises(FaceproofError, match="sampler = 'twins' must be one of shuffled, paired"):
        LoaderConfig(sampler="twins")


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": "ram"},
        {"features": "yes"},
        {"views": 0},
        {"max_gb": 0},
        {"features": "none", "max_gb": 5},
    ],
)
def test_caches_that_cannot_be(wrong: dict[str, Any]) -> None:
    *_, name = wrong
    with pytest.raises(FaceproofError, match=f"^{name} = "):
        CacheConfig(**wrong)


def test_torch_is_not_imported() -> None:
    code = "import sys, faceproof.data.loader_config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_resumed_run_starts_no_more_processes_than_this_machine_bears(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in ("auto", 0, 1, None, "x"):
        assert recorded_workers(number) == number
    assert not caplog.messages
    assert recorded_workers(100_000) == "auto"
    assert "started with loader.num_workers=100000" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source_weights": {"a": 2}}, "changes nothing with sampler=shuffled"),
        ({"sampler": "balanced", "source_weights": {"a": 0}}, "weights above 0"),
        ({"sampler": "balanced", "source_weights": 2}, "weights above 0"),
    ],
)
def test_weights_of_sources_without_a_meaning_are_refused(values, message):
    with pytest.raises(FaceproofError, match=message):
        LoaderConfig(**values)
