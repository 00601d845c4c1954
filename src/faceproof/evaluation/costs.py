"""What the networks of runs cost, measured once for equal ones, on this machine."""

import sys
from collections.abc import Callable, Mapping, Sequence

from faceproof.evaluation.comparison import Cost
from faceproof.models import cost
from faceproof.models.detector import Detector
from faceproof.models.devices import pick_device

Networks = Mapping[str, Callable[[], Detector]]


def measure_costs(
    runs: Sequence[Sequence[str]], networks: Networks, timing: bool, device: str
) -> tuple[list[Cost], str | None]:
    """Return what scoring an image costs each run, and what it was timed on.

    Args:
        runs: the descriptions of each run's networks: one, or those of an ensemble.
        networks: makes the network of a description.
        timing: whether to time the networks.
        device: where.
    """
    nets = {description: make() for description, make in networks.items()}
    place = pick_device(device)
    if timing:
        print(f"timing {len(nets)} networks on {cost.device_name(place)}", file=sys.stderr)
    times = cost.time_networks(list(nets.values()), place) if timing else []
    spent = dict(zip(nets, times, strict=False))
    found = {
        description: Cost(
            cost.count_parameters(net),
            cost.count_multiply_adds(net),
            spent[description].median if timing else None,
            (spent[description].low, spent[description].high) if timing else None,
        )
        for description, net in nets.items()
    }
    costs = [_together([found[description] for description in one]) for one in runs]
    return costs, cost.device_name(place) if timing else None


def _together(costs: Sequence[Cost]) -> Cost:
    """Return the cost of several networks, one after the other."""
    if len(costs) == 1:
        return costs[0]
    return Cost(
        sum(one.parameters or 0 for one in costs),
        sum(one.multiply_adds or 0 for one in costs),
        _sum([one.milliseconds for one in costs]),
        _sums([one.milliseconds_range for one in costs]),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _sums(ranges: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [one for one in ranges if one is not None]
    if len(known) < len(ranges):
        return None
    return sum(low for low, _ in known), sum(high for _, high in known)
