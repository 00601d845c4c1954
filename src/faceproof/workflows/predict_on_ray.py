"""`faceproof predict --on ray`: the parts of a list of files are judged by a cluster of machines.

SOURCE --list--> listing, in parts --Ray Data--> a worker for each share of the cluster
--> Parquet parts in a folder, and their counts --> the same summary as of one machine
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

from faceproof import lookup
from faceproof.data.kinds import LeftOut
from faceproof.errors import FaceproofError
from faceproof.inference.faces import check_faces, face_options
from faceproof.inference.files import Loading
from faceproof.inference.inputs import STDIN, list_images
from faceproof.inference.objects import is_store_url
from faceproof.inference.output import Tally, make_console, unseen, with_progress
from faceproof.inference.output_parts import Seen
from faceproof.inference.part_folder import PartFolder, PartOutput
from faceproof.inference.part_scorer import Job, PartCount, PartScorer
from faceproof.inference.predictor import Predictor, load
from faceproof.inference.worker_setup import WorkerSetup, working_folder
from faceproof.workflows.predict import PredictConfig, describe, print_summary
from faceproof.workflows.ray_cluster import connected, find_room
from faceproof.workflows.ray_parts import results_of_parts, usual_part_size


def predict_on_ray(config: PredictConfig) -> Tally:
    """Judge all files that the paths stand for on a cluster, and count the verdicts.

    Raises:
        FaceproofError: no cluster answers, or it has no room for a worker; or as `predict` does.
    """
    assert config.on is not None  # as the settings have checked
    assert config.place is not None
    lookup.allow(config.allow)
    device = _device(config)
    # The machine that starts the command need not have a GPU.
    predictor = load(config.detector, "cpu", config.backend if device == "cpu" else "torch")
    faces = face_options(predictor, config.find_faces, config.whole_if_none)
    if faces is not None:
        check_faces(predictor, faces)
    loading = Loading(config.batch_size, "auto", config.frames, faces)
    batch_size = loading.size_on(device)
    about = {**describe(predictor, loading), "device": device, "batch_size": batch_size}
    part_size = _part_size(config, batch_size)
    left_out, console = LeftOut(), make_console()
    paths = unseen(_listed(config, left_out), Seen())
    place = config.place if isinstance(config.place, str) else config.place.absolute()
    output = PartOutput(place, about, paths, part_size, config.overwrite)
    try:
        job = _job(config, predictor, loading, output.folder)
        with connected(config.on):
            cpus, gpus = config.cpus_per_worker, config.gpus_per_worker
            pool = find_room(config.workers, cpus, gpus, "--cpus-per-worker")
            results = results_of_parts(partial(_Counting, job), output.num_parts, pool, config.on)
            parts = (PartCount(**json.loads(result)) for _, result in results)
            shown = with_progress(console, parts, lambda part: part.files, output.num_files)
            tally, earlier = _count(shown)
        output.finish({"verdicts": dict(tally.verdicts), "unreadable": tally.unreadable})
    finally:
        output.close()
    if earlier:
        console.print(f"{earlier:,} images were judged before, and hold", highlight=False)
    print_summary(console, tally, {"verdicts": config.place}, left_out)
    return tally


def _device(config: PredictConfig) -> str:
    return "cuda" if config.gpus_per_worker else "cpu"


def _part_size(config: PredictConfig, batch_size: int) -> int:
    """Return how many files are a part: a whole number of batches."""
    if config.part_size is None:
        return usual_part_size(batch_size)
    if config.part_size % batch_size:
        raise FaceproofError(
            f"--part-size {config.part_size} must be a multiple of --batch-size {batch_size}, so "
            "that images are scored in the same batches as on one machine"
        )
    return config.part_size


def _listed(config: PredictConfig, left_out: LeftOut) -> Iterator[str]:
    paths = list_images(config.paths, left_out, stores_and_shards=True)
    first = next(paths, None)
    if first is None:
        beside = f"; {left_out}" if left_out else ""
        raise FaceproofError(f"there are no images in {', '.join(config.paths)}{beside}")
    return chain([first], paths)


def _job(config: PredictConfig, predictor: Predictor, loading: Loading, folder: PartFolder) -> Job:
    words = [word for word in config.paths if word not in STDIN]
    are_absolute = len(words) == len(config.paths) and all(
        is_store_url(word) or Path(word).is_absolute() for word in words
    )
    there = tuple(word for word in words if Path(word).exists())
    working = working_folder(are_absolute, config.allow)
    detector = config.detector.absolute()
    return Job(
        folder=folder,
        detector=detector,
        fingerprint=predictor.fingerprint,
        backend=predictor.backend,
        device=_device(config),
        loading=loading,
        setup=WorkerSetup(config.cpus_per_worker, config.allow, working, (str(detector), *there)),
    )


class _Counting:
    """What a worker does with the number of a part."""

    def __init__(self, job: Job) -> None:
        self.score = PartScorer(job)

    def __call__(self, number: int) -> bytes:
        """Return the counts of a part."""
        return json.dumps(asdict(self.score(number))).encode()

    def paths_of(self, number: int) -> list[str]:
        """Return the paths of a part."""
        return self.score.job.folder.paths(number)


def _count(parts: Iterable[PartCount]) -> tuple[Tally, int]:
    """Return the verdicts of all parts, and how many files earlier commands had judged."""
    tally, earlier = Tally(), 0
    for part in parts:
        tally.verdicts.update(part.verdicts)
        tally.unreadable += part.unreadable
        tally.name(part.named)
        earlier += part.files if part.was_there else 0
    return tally, earlier
