"""What a server has done, in Prometheus' text format."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import accumulate

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class Metrics:
    """Requests by outcome and how long they took, and gauges that are read when asked for.

    Args:
        gauges: by name, with a description and what gives the value.
    """

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def add(self, outcome: str, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            self._outcomes[outcome] += 1
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._seconds += seconds

    def __str__(self) -> str:
        with self._lock:
            outcomes = sorted(self._outcomes.items())
            counts, seconds = list(accumulate(self._counts)), self._seconds
        name = "faceproof_request_seconds"
        lines = [
            "# HELP faceproof_requests_total Images and videos received, by outcome.",
            "# TYPE faceproof_requests_total counter",
            *(f'faceproof_requests_total{{outcome="{o}"}} {n}' for o, n in outcomes),
            f"# HELP {name} Seconds from a request's arrival to its answer.",
            f"# TYPE {name} histogram",
        ]
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
            lines.append(f'{name}_bucket{{le="{bound}"}} {count}')
        lines += [f"{name}_sum {seconds:.6f}", f"{name}_count {counts[-1]}"]
        for gauge, (description, value) in self._gauges.items():
            lines += [
                f"# HELP {gauge} {description}",
                f"# TYPE {gauge} gauge",
                f"{gauge} {value()}",
            ]
        return "\n".join(lines) + "\n"
