"""python -m benchmarks NAME: measure, print a table, and write JSON with --out."""

import argparse
import tempfile
import warnings
from pathlib import Path

from benchmarks.measuring import read_images, show

TITLES = {
    "training": "training, images per second, from files on disk",
    "profile": "where the processor time of a training step goes",
    "cached": "training with decoded images in memory, images per second",
    "precision": "what bfloat16 gains in training, images per second",
    "overhead": "what metrics, logging and the progress bar add to a training step",
    "augment": "what pseudo-fakes and changes in the loader add to a training step",
    "loading": "loading, images per second",
    "shards": "loading from shards against loading from files, images per second",
    "scoring": "scoring, images per second, from files on disk",
    "predict": "faceproof predict, images per second, from files on disk",
    "ray": "faceproof predict on a cluster of this machine against predict alone",
    "serve": "faceproof serve, answers per second",
    "frozen": "epochs of a frozen backbone against one pass over the images",
    "startup": "start-up",
    "scale": "a table of many images",
    "indexing": "looking at many files",
    "listing": "the paths of many images, none of which is opened",
    "looking": "file statistics against decoding alone, files per second",
    "audit": "the audit of many images whose files are known",
    "near": "looking for near-duplicates of what a run has seen",
    "faces": "finding faces",
    "prepare": "preparing videos, frames per second",
    "novelty": "share of images called unlike the training images, at a rate of 0.05",
    "performance": "each part of faceproof.performance on and off, images per second",
}
MODELS = ["effnet_se", "resnet18", "densenet121", "face_cnn"]


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=TITLES)
    parser.add_argument("--data", default="demo", help="a data set of conf/data (default: demo)")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="turns of all contenders")
    parser.add_argument("--images", type=int, default=1000, help="to score")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="to train on")
    parser.add_argument("--compile", action="store_true", help="train faceproof by torch.compile")
    parser.add_argument("--detector", help="an artifact, for predict, ray and serve")
    parser.add_argument("--clients", type=int, default=64, help="of a server")
    parser.add_argument("--epochs", type=int, default=20, help="of a frozen backbone")
    parser.add_argument("--files", type=int, default=100_000, help="to index")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 250_000, 1_000_000])
    parser.add_argument("--detectors", nargs="+", default=["retinaface"], help="of faces")
    parser.add_argument("--min-score", type=float, help="of the face detectors")
    parser.add_argument("--videos", type=int, default=4, help="to prepare, of --seconds each")
    parser.add_argument("--run", type=Path, help="a run folder, for novelty")
    parser.add_argument("--others", nargs="+", default=[], help="data sets, NAME or NAME=ROOT")
    parser.add_argument("--out", type=Path, help="a JSON file")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torchvision)")
    show(TITLES[given.name], _measure(given), given.out)


def _measure(given: argparse.Namespace) -> list[dict[str, object]]:
    """Return the rows of a benchmark; each imports what it needs."""
    if given.name == "startup":
        from benchmarks.startup import measure_startup

        return measure_startup(given.rounds)
    if given.name in ("scale", "audit", "indexing", "listing"):
        with tempfile.TemporaryDirectory() as folder:
            return _measure_many(given, Path(folder))
    if given.name == "looking":
        from benchmarks.indexing import measure_looking

        return [measure_looking(given.data, given.images)]
    if given.name == "near":
        from benchmarks.near import measure_near

        return [measure_near(given.files)]
    if given.name in ("predict", "ray", "serve", "novelty"):
        return _measure_made(given)
    if given.name == "faces":
        from benchmarks.finding import measure_finding

        return measure_finding(given.data, given.detectors, given.images, given.min_score)
    if given.name == "prepare":
        from benchmarks.preparing import measure_preparing

        with tempfile.TemporaryDirectory() as folder:
            return measure_preparing(Path(folder), given.videos, given.seconds, given.rounds)
    if given.name == "performance":
        from benchmarks.performance import measure_performance

        return measure_performance(given.data, given.models, given.seconds, given.rounds)
    if given.name == "augment":
        from benchmarks.augmenting import measure_augmenting

        return measure_augmenting(given.data, given.models, given.seconds, given.rounds)
    if given.name == "profile":
        from benchmarks.profiling import measure_profile

        return measure_profile(given.models)
    if given.name == "shards":
        from benchmarks.shards import measure_shards

        turns = given.seconds, given.rounds
        return [
            {"model": model, **row}
            for model in given.models
            for row in measure_shards(given.data, model, *turns)
        ]
    if given.name == "scoring":
        from benchmarks.scoring import measure_scoring

        return measure_scoring(given.data, given.models, given.images, given.rounds)
    return _measure_training(given)


def _measure_many(given: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """Return the rows of a benchmark of many images that are made up, in a folder."""
    if given.name == "scale":
        from benchmarks.scale import measure_scale

        return measure_scale(folder, given.rows)
    if given.name == "audit":
        from benchmarks.auditing import measure_auditing

        return measure_auditing(folder, given.rows)
    if given.name == "listing":
        from benchmarks.listing import measure_listing

        return measure_listing(folder, given.rows)
    from benchmarks.indexing import measure_indexing

    return [measure_indexing(folder, given.files)]


def _measure_made(given: argparse.Namespace) -> list[dict[str, object]]:
    """Return the rows of a benchmark of what faceproof has trained or exported."""
    if given.name == "novelty":
        from benchmarks.novelty import measure_novelty

        if given.run is None:
            raise SystemExit("novelty needs --run FOLDER: what faceproof train made")
        return measure_novelty(given.run, given.others, given.images)
    if given.detector is None:
        raise SystemExit(f"{given.name} needs --detector DIR: what faceproof export made")
    if given.name == "ray":
        from benchmarks.on_ray import measure_ray

        return measure_ray(given.data, given.detector, given.images, given.rounds)
    if given.name == "serve":
        from benchmarks.serving import measure_serving

        return measure_serving(
            given.data, given.detector, given.clients, given.seconds, given.rounds
        )
    from benchmarks.predicting import measure_predicting

    return measure_predicting(given.data, given.detector, given.images, given.rounds)


def _measure_training(given: argparse.Namespace) -> list[dict[str, object]]:
    """Return the rows of a benchmark of the training loop or its loader."""
    if given.name == "frozen":
        from benchmarks.frozen import measure_frozen

        return measure_frozen(given.data, given.models, given.epochs, given.rounds)
    from benchmarks import training

    if given.name == "precision":
        return training.measure_precision(given.models, given.seconds, given.rounds)
    if given.name == "overhead":
        return training.measure_overhead(given.data, given.models, given.seconds, given.rounds)
    if given.name in ("training", "cached"):
        cache = "memory" if given.name == "cached" else "none"
        how = training.Setting(given.device, given.compile, cache)
        return training.measure_training(given.data, given.models, given.seconds, given.rounds, how)
    images = read_images(given.data)
    return [
        row
        for model in given.models
        for row in training.measure_loading(images, model, given.seconds, given.rounds)
    ]


if __name__ == "__main__":
    main()
