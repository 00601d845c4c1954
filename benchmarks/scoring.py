"""Scoring: faceproof against the expert's inference loop and against an image at a time."""

import time
from functools import partial
from typing import Any

from benchmarks import baselines
from benchmarks.measuring import apart, in_turns, medians, ratio, read_images
from benchmarks.training import compose_model, make_net
from faceproof.inference.scoring import Scoring, score

BATCH_SIZE = 64
WAYS = ("one by one", "expert", "faceproof")


def rate(way: str, model: str, data: str, number: int) -> float:
    """Return the images per second of one way to score."""
    net = make_net(compose_model(model)).eval()
    images = read_images(data)
    paths, side = images.paths[:number], net.input.size
    workers = baselines.num_workers(len(paths), BATCH_SIZE)
    ways = {
        "one by one": lambda: baselines.one_by_one(net, paths, side),
        "expert": lambda: baselines.expert_scoring(net, paths, side, BATCH_SIZE, workers),
        "faceproof": lambda: score(
            net, images.rows.slice(0, number), images.data.task, Scoring(BATCH_SIZE)
        ),
    }
    began = time.perf_counter()
    ways[way]()
    return len(paths) / (time.perf_counter() - began)


def measure_scoring(data: str, models: list[str], number: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row a model: images per second of each way, and the ratios."""
    rows = []
    for model in models:
        ways = {
            way: partial(
                apart,
                "benchmarks.scoring:rate",
                way,
                model,
                data,
                number,
                as_commands=way == "faceproof",
            )
            for way in WAYS
        }
        found = in_turns(ways, rounds)
        rows.append(
            {
                "model": model,
                "side": make_net(compose_model(model)).input.size,
                "images": number,
                **medians(found),
                "faceproof / one by one": ratio(found, "faceproof", "one by one"),
                "faceproof / expert": ratio(found, "faceproof", "expert"),
            }
        )
    return rows
