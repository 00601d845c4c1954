"""What the server counts, for Prometheus: one set of figures, however many processes serve."""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from faceproof import __version__
from faceproof.data.image_statistics import JUDGED, colours, grey_of, middle, sharpness
from faceproof.server.judging_queue import JudgingQueue

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
PROBABILITIES = tuple(number / 10 for number in range(1, 11))
BYTES = tuple(1000 * 2**power for power in range(2, 17, 2))  # 4 kB to 66 MB
NOVELTIES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)  # 1 is usual
SIDES = tuple(2**power for power in range(6, 14))  # 64 to 8,192 pixels
# What an image is like, and the bounds of its histogram; defined as in a detector's reference.json.
OF_IMAGES = {
    "width": ("Width of the images that were read, in pixels, as stored.", SIDES),
    "height": ("Height of the images that were read, in pixels, as stored.", SIDES),
    "brightness": ("Mean over pixels and channels, from 0 to 255.", tuple(range(25, 251, 25))),
    "contrast": ("Standard deviation over pixels, mean of channels.", tuple(range(10, 101, 10))),
    "sharpness": ("Log variance of the Laplacian of the middle.", tuple(range(1, 11))),
}
SUM: Literal["livesum"] = "livesum"  # prometheus_client's word: over the processes that are alive

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Requests, verdicts and visits of the page, and how many uploads are in work, for Prometheus.

    The registry is this server's own, so that several servers in one process do not share counts.

    Of several processes, each writes its counts to files in a folder, and whoever is asked gives
    the sum. The counts of a process that has died stay in it.

    Args:
        queue: of the uploads.
        name: the detector's.
        fingerprint: of its artifact, by which versions of one name are told apart.
        folder: of the files; None where one process serves. It must be in the environment variable
            PROMETHEUS_MULTIPROC_DIR before prometheus_client is imported.
    """

    def __init__(
        self, queue: JudgingQueue, name: str, fingerprint: str, folder: Path | None = None
    ) -> None:
        self._folder = folder
        self._about = CollectorRegistry()
        about = {"name": name, "fingerprint": fingerprint, "faceproof": __version__}
        Info("faceproof_detector", "The detector that is served.", registry=self._about).info(about)
        own = self._registry = CollectorRegistry()
        words = "Images and videos received, by outcome, and by whether the page has sent them."
        self._requests = Counter("faceproof_requests", words, ["outcome", "client"], registry=own)
        words = "Verdicts given, by kind of file."
        self._verdicts = Counter("faceproof_verdicts", words, ["verdict", "kind"], registry=own)
        words = "Calibrated probabilities of the positive class, by kind of file."
        self._probabilities = Histogram(
            "faceproof_probability", words, ["kind"], registry=own, buckets=PROBABILITIES
        )
        words = "How unlike the training images uploads are, by kind of file; 1 is usual."
        self._novelties = Histogram(
            "faceproof_novelty", words, ["kind"], registry=own, buckets=NOVELTIES
        )
        words = "Bytes of the files that were judged, by kind of file."
        self._bytes = Histogram(
            "faceproof_file_bytes", words, ["kind"], registry=own, buckets=BYTES
        )
        self._of_images = {
            name: Histogram(f"faceproof_image_{name}", words, registry=own, buckets=bounds)
            for name, (words, bounds) in OF_IMAGES.items()
        }
        self.visits = Counter("faceproof_page_visits", "Times the page was sent.", registry=own)
        name, words = "faceproof_request_seconds", "Seconds from a request's arrival to its answer."
        self._seconds = Histogram(name, words, buckets=BUCKETS, registry=own)
        words = "Uploads that arrive, wait or are judged."
        in_work = Gauge("faceproof_in_work", words, registry=own, multiprocess_mode=SUM)
        in_work.set(0)
        queue.watch = in_work.set
        words = "How many of them there may be."
        places = Gauge("faceproof_places", words, registry=own, multiprocess_mode=SUM)
        places.set(queue.limits.places)

    def add(self, outcome: str, client: str, seconds: float) -> None:
        """Count a request that took so many seconds, of the client `page` or `api`."""
        self._requests.labels(outcome, client).inc()
        self._seconds.observe(seconds)

    def add_verdict(
        self,
        verdict: str,
        kind: str,
        probability: float | None = None,
        novelty: float | None = None,
        num_bytes: int | None = None,
    ) -> None:
        """Count a verdict on an image or a video, with what is known of it."""
        self._verdicts.labels(verdict, kind).inc()
        if probability is not None:
            self._probabilities.labels(kind).observe(probability)
        if novelty is not None:
            self._novelties.labels(kind).observe(novelty)
        if num_bytes is not None:
            self._bytes.labels(kind).observe(num_bytes)

    def add_image(self, pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> None:
        """Count what an image is like, (3, H, W), before it is fitted or faces are found in it.

        `size` is its width and height as its file says them, before it is turned upright.
        """
        mean, deviation = colours(pixels)
        found = {
            "width": size[0],
            "height": size[1],
            "brightness": mean.mean(),
            "contrast": deviation.mean(),
            "sharpness": sharpness(grey_of(middle(pixels, JUDGED))),
        }
        for name, value in found.items():
            self._of_images[name].observe(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._about) + generate_latest(self._summed())

    def _summed(self) -> CollectorRegistry:
        """Return this process' counts, or those of all that share a folder."""
        if self._folder is None:
            return self._registry
        for file in self._folder.glob(f"gauge_{SUM}_*.db"):
            if not _is_alive(int(file.stem.rpartition("_")[2])):
                file.unlink(missing_ok=True)  # another process may clear up too
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return registry


def _is_alive(process: int) -> bool:
    """Say whether a process of this user is there; not on Windows, where asking would end it."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # the number may be another user's by now
        return False
    return True
