"""`faceproof predict` against a loop of `model(image)` and the expert's inference loop."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import baselines
from benchmarks.measuring import apart, in_turns, medians, ratio, read_images

BATCH_SIZE = 64
WAYS = ("one by one", "expert", "predict", "predict, onnx")


def rate(way: str, detector: str, data: str, number: int) -> float:
    """Return the images per second of one way, loading the detector left out."""
    from faceproof.artifact.artifact import read_card, read_network
    from faceproof.inference.predictor import load
    from faceproof.workflows.predict import PredictConfig, predict

    paths = read_images(data).paths[:number]
    if len(paths) < number:
        raise SystemExit(f"data set {data} has {len(paths)} training images, fewer than {number}")
    folder = Path(detector)
    if way == "expert":
        net = read_network(folder, read_card(folder).networks[0])
        workers = baselines.num_workers(number, BATCH_SIZE)
        began = time.perf_counter()
        baselines.expert_scoring(net, paths, net.input.size, BATCH_SIZE, workers)
        return number / (time.perf_counter() - began)
    backend = "onnx" if way.endswith("onnx") else "torch"
    predictor = load(folder, backend=backend)
    if way == "one by one":
        began = time.perf_counter()
        for path in paths:
            predictor(path)
        return number / (time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "images.txt"
        listed.write_text("".join(f"{path}\n" for path in paths))
        began = time.perf_counter()
        out = Path(place) / "out.csv"
        predict(PredictConfig((str(listed),), detector=folder, out=out), predictor)
        return number / (time.perf_counter() - began)


def measure_predicting(data: str, detector: str, number: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row: images per second of each way, and the ratios."""
    from faceproof.artifact.artifact import read_card

    card = read_card(Path(detector))
    ways = [way for way in WAYS if not way.endswith("onnx") or card.networks[0].onnx]
    found = in_turns(
        {
            way: partial(
                apart,
                "benchmarks.predicting:rate",
                way,
                detector,
                data,
                number,
                as_commands=way.startswith("predict"),
            )
            for way in ways
        },
        rounds,
    )
    return [
        {
            "backbone": card.networks[0].backbone.get("model", card.networks[0].backbone["name"]),
            "side": card.networks[0].input.size,
            "images": number,
            **medians(found),
            **{
                f"{way} / {other}": ratio(found, way, other)
                for way in ways[2:]
                for other in ways[:2]
            },
        }
    ]
