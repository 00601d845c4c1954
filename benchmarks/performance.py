"""What each part of faceproof.performance gains: training and loading with it on and off."""

from functools import partial
from typing import Any

from benchmarks.measuring import apart, images_per_second, in_turns, medians, ratio, read_images
from faceproof.performance import PARTS, VARIABLE

# A part's model, or "loading" where it serves worker processes beside a GPU.
SHOWN_BY = {
    "cores": ("face_cnn", "resnet18"),
    "depthwise": ("effnet_se",),
    "shared_memory": ("loading",),
    "memory": ("face_cnn", "effnet_se", "resnet18"),
    "threads": ("face_cnn", "resnet18"),
}
SIDE = 256  # pixels, of the images that a worker process passes on


def loading_rate(data: str, seconds: float) -> float:
    """Return the images per second of one worker process."""
    from faceproof.data.datasets import ImageDataset
    from faceproof.data.loaders import make_loader
    from faceproof.data.samplers import EpochSampler

    images = read_images(data)
    dataset = ImageDataset(images.rows, images.data.task, SIDE, "bilinear")
    loader = make_loader(dataset, 32, 1, EpochSampler(len(dataset), 0))
    return images_per_second((len(b.label) for _ in iter(int, 1) for b in loader), seconds)


def measure_performance(
    data: str, models: list[str], seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Return a row a part and model: images per second on and off, in turns."""
    rows = []
    for part in PARTS:
        others = ",".join(one for one in PARTS if one != part)
        for model in SHOWN_BY[part]:
            if model not in (*models, "loading"):
                continue
            call: tuple[Any, ...] = ("benchmarks.performance:loading_rate", data, seconds)
            if model != "loading":
                call = ("benchmarks.training:rate", "faceproof", model, data, seconds, {})
            ways = {
                word: partial(apart, *call, as_commands=True, settings={VARIABLE: parts})
                for word, parts in (("on", ",".join(PARTS)), ("off", others))
            }
            found = in_turns(ways, rounds)
            gain = {"on / off": ratio(found, "on", "off")}
            rows.append({"part": part, "model": model, **medians(found), **gain})
    return rows
