"""What a server counts for Prometheus."""

import pytest

pytest.importorskip("prometheus_client", reason="the server takes faceproof[serve]")

from faceproof.server.judging_queue import JudgingQueue
from faceproof.server.limits import Limits
from faceproof.server.prometheus import Metrics


def test_the_histogram_adds_up():
    queue = JudgingQueue(Limits(concurrency=2, queue=1))
    metrics = Metrics(queue)
    for seconds in (0.001, 0.01, 0.02, 3.0, 100.0):
        metrics.add("answered", seconds)
    with queue.place():
        lines = metrics.text().decode().splitlines()
    assert 'faceproof_request_seconds_bucket{le="0.01"} 2.0' in lines
    assert 'faceproof_request_seconds_bucket{le="0.025"} 3.0' in lines
    assert 'faceproof_request_seconds_bucket{le="5.0"} 4.0' in lines
    assert 'faceproof_request_seconds_bucket{le="+Inf"} 5.0' in lines
    assert "faceproof_request_seconds_count 5.0" in lines
    assert "faceproof_request_seconds_sum 103.031" in lines
    assert 'faceproof_requests_total{outcome="answered"} 5.0' in lines
    assert "faceproof_in_work 1.0" in lines
    assert "faceproof_places 3.0" in lines
    assert not any("_created" in line for line in lines)
    queue.close()
