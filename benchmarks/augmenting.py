"""What pseudo-fakes and changes in the loader add to a training step."""

from functools import partial
from typing import Any

from benchmarks.measuring import apart, in_turns, medians, ratio
from benchmarks.training import compose_model, make_net

JPEG = "augment.web.jpeg=0.5"  # as often as augment=web has it
PLAIN = "plain"
WAYS = {
    PLAIN: ["augment=none"],
    "jpeg": ["augment=none", JPEG],
    "self-blended": ["augment=none", "synthesis=self_blended"],
    "blended": ["augment=none", "synthesis=blended", "synthesis.kinds=[blended]"],
    "self-blended, jpeg": ["augment=none", "synthesis=self_blended", JPEG],
    "both kinds, web": ["augment=web", "synthesis=both"],
}


def measure_augmenting(
    data: str, models: list[str], seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Return a row a model: images per second in each way, and what each adds to a step, in %."""
    rows = []
    for model in models:
        ways = {
            way: partial(
                apart,
                "benchmarks.training:rate",
                "faceproof",
                model,
                data,
                seconds,
                {"words": words},
                as_commands=True,
            )
            for way, words in WAYS.items()
        }
        found = in_turns(ways, rounds)
        added = {
            f"{way}, % more": 100 * (ratio(found, PLAIN, way) - 1) for way in WAYS if way != PLAIN
        }
        side = make_net(compose_model(model)).input.size
        rows.append({"model": model, "side": side, **medians(found), **added})
    return rows
