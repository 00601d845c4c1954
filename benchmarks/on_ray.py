"""`faceproof predict --on ray` against `faceproof predict` on the same cores."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import apart, read_images

PART_SIZE = 256
ALONE, ONE, TWO = WAYS = ("predict", "1 worker", "2 workers")


def rate(way: str, detector: str, images: str) -> tuple[float, float]:
    """Return the images per second of one way, and the seconds of the command.

    Loading and starting are left out: of `predict` the detector is loaded before, and of a cluster
    the time begins when each worker has judged a part.
    """
    from faceproof.inference.predictor import load
    from faceproof.performance.cores import num_cores
    from faceproof.workflows.predict import PredictConfig, predict

    number = sum(1 for _ in Path(images).iterdir())
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, "rows")
        if way == ALONE:
            predictor = load(detector, backend="auto")
            config = PredictConfig(
                (images,), detector=Path(detector), out=out.with_suffix(".parquet")
            )
            began = time.perf_counter()
            predict(config, predictor)
            seconds = time.perf_counter() - began
            return number / seconds, seconds
        workers = 1 if way == ONE else 2
        cluster = {"on": "ray", "workers": workers, "cpus_per_worker": num_cores() // workers}
        began = time.perf_counter()
        predict(
            PredictConfig(
                (images,), detector=Path(detector), out=out, part_size=PART_SIZE, **cluster
            )
        )
        seconds = time.perf_counter() - began
        ends = sorted(part.stat().st_mtime for part in out.glob("part-*"))
        judged = PART_SIZE * (len(ends) - workers)
        return judged / (ends[-1] - ends[workers - 1]), seconds


def measure_ray(data: str, detector: str, number: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row: images per second of each way, and the ratios, measured in turns."""
    from faceproof.artifact.artifact import read_card
    from faceproof.data.image_io import read_image

    number -= number % PART_SIZE
    if number < 4 * PART_SIZE:
        raise SystemExit(f"--images must be {4 * PART_SIZE} or more, for parts of {PART_SIZE}")
    paths = read_images(data).paths
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as place:
        for count in range(number):  # the images again and again
            link = Path(place) / f"{count:07d}{Path(paths[count % len(paths)]).suffix}"
            link.write_bytes(Path(paths[count % len(paths)]).read_bytes())
        for _ in range(rounds):
            for way in WAYS:
                told = apart("benchmarks.on_ray:rate", way, detector, place, as_commands=True)
                found[way].append(tuple(told))
    card = read_card(Path(detector))
    _, height, width = read_image(paths[0]).shape
    row: dict[str, Any] = {
        "backbone": card.networks[0].backbone.get("model", card.networks[0].backbone["name"]),
        "side": card.networks[0].input.size,
        "pixels": f"{width}x{height}",
        "images": number,
    }
    for way in WAYS:
        row[way] = statistics.median(rate for rate, _ in found[way])
    for way in (ONE, TWO):
        pairs = zip(found[way], found[ALONE], strict=True)
        row[f"{way} / {ALONE}"] = statistics.median(a[0] / b[0] for a, b in pairs)
    row["seconds to start, 2 workers"] = statistics.median(
        seconds - number / rate for rate, seconds in found[TWO]
    )
    return [row]
