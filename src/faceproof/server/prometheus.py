"""Counts what a server does, for Prometheus."""

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from faceproof.server.judging_queue import JudgingQueue

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Requests by outcome, how long they took, and how many uploads are in work.

    The registry is this server's own, so that several servers in one process do not share counts.
    """

    def __init__(self, queue: JudgingQueue) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "faceproof_requests",
            "Images and videos received, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "faceproof_request_seconds",
            "Seconds from a request's arrival to its answer.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        in_work = Gauge(
            "faceproof_in_work",
            "Uploads that arrive, wait or are judged.",
            registry=self.registry,
        )
        in_work.set_function(lambda: queue.present)
        places = Gauge("faceproof_places", "How many of them there may be.", registry=self.registry)
        places.set(queue.limits.places)

    def add(self, outcome: str, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(outcome).inc()
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
