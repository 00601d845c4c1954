"""Scoring: faceproof against the expert's inference loop and against a picture at a time."""

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import baselines
from benchmarks.measuring import Pictures, in_turns, ratio
from benchmarks.training import compose_model, make_net
from faceproof.data.loading import choose_workers
from faceproof.evaluation.scoring import score

BATCH_SIZE = 64


def measure_scoring(
    pictures: Pictures, models: list[str], number: int, rounds: int
) -> list[dict[str, Any]]:
    """Return a row a model: pictures per second of each way, and the ratios."""
    return [_measure(pictures, model, number, rounds) for model in models]


def _measure(pictures: Pictures, model: str, number: int, rounds: int) -> dict[str, Any]:
    net = make_net(compose_model(model)).eval()
    rows = pictures.rows.slice(0, number)
    paths = pictures.paths[:number]
    side = net.input.size
    workers = choose_workers("auto", len(paths), BATCH_SIZE)
    answers: dict[str, Any] = {}

    def timed(name: str, way: Callable[[], Any]) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            answers[name] = torch.as_tensor(way()).float()
            return len(paths) / (time.perf_counter() - began)

        return measure

    ways: dict[str, Callable[[], Any]] = {
        "one by one": lambda: baselines.one_by_one(net, paths, side),
        "expert": lambda: baselines.expert_scoring(net, paths, side, BATCH_SIZE, workers),
        "faceproof": lambda: score(net, rows, pictures.data.task, BATCH_SIZE),
    }
    found = in_turns({name: timed(name, way) for name, way in ways.items()}, rounds)
    apart = (answers["faceproof"] - answers["expert"]).abs().max()
    return {
        "model": model,
        "side": side,
        "pictures": len(paths),
        **{name: max(rates) for name, rates in found.items()},
        "faceproof / one by one": ratio(found, "faceproof", "one by one"),
        "faceproof / expert": ratio(found, "faceproof", "expert"),
        "largest difference in logit": float(apart),
    }
