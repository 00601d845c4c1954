"""`faceproof predict --on ray`: the parts of a list of files are judged by a cluster of machines.

SOURCE --list--> listing, in parts --Ray Data--> a worker for each share of the cluster
--> Parquet parts in a folder, and their counts --> the same summary as of one machine
"""

import math
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from faceproof import lookup
from faceproof.data.kinds import LeftOut
from faceproof.errors import FaceproofError
from faceproof.inference.faces import check_faces, face_options
from faceproof.inference.files import Loading
from faceproof.inference.inputs import STDIN, list_images
from faceproof.inference.output import Tally, make_console, unseen, with_progress
from faceproof.inference.output_parts import Seen
from faceproof.inference.part_folder import PartFolder, PartOutput
from faceproof.inference.part_scorer import Job, PartCount
from faceproof.inference.predictor import Predictor, load
from faceproof.workflows.predict import PredictConfig, describe, print_summary
from faceproof.workflows.ray_parts import connected, count_parts, find_room

PART_SIZE = 1024  # files, or the next whole number of batches


def predict_on_ray(config: PredictConfig) -> Tally:
    """Judge all files that the paths stand for on a cluster, and count the verdicts.

    Raises:
        FaceproofError: no cluster answers, or it has no room for a worker; or as `predict` does.
    """
    assert config.on is not None  # as the settings have checked
    assert config.out is not None
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
    output = PartOutput(config.out.absolute(), about, paths, part_size, config.overwrite)
    try:
        job = _job(config, predictor, loading, output.folder)
        with connected(config.on):
            pool = find_room(config.workers, config.cpus_per_worker, config.gpus_per_worker)
            parts = count_parts(job, output.num_parts, pool, config.on)
            shown = with_progress(console, parts, lambda part: part.files, output.num_files)
            tally, earlier = _count(shown, output.num_parts)
        output.finish({"verdicts": dict(tally.verdicts), "unreadable": tally.unreadable})
    finally:
        output.close()
    if earlier:
        console.print(f"{earlier:,} images were judged before, and hold", highlight=False)
    print_summary(console, tally, {"verdicts": config.out}, left_out)
    return tally


def _device(config: PredictConfig) -> str:
    return "cuda" if config.gpus_per_worker else "cpu"


def _part_size(config: PredictConfig, batch_size: int) -> int:
    """Return how many files are a part: a whole number of batches."""
    if config.part_size is None:
        return batch_size * math.ceil(PART_SIZE / batch_size)
    if config.part_size % batch_size:
        raise FaceproofError(
            f"--part-size {config.part_size} must be a multiple of --batch-size {batch_size}, so "
            "that images are scored in the same batches as on one machine"
        )
    return config.part_size


def _listed(config: PredictConfig, left_out: LeftOut) -> Iterator[str]:
    paths = list_images(config.paths, left_out)
    first = next(paths, None)
    if first is None:
        beside = f"; {left_out}" if left_out else ""
        raise FaceproofError(f"there are no images in {', '.join(config.paths)}{beside}")
    return chain([first], paths)


def _job(config: PredictConfig, predictor: Predictor, loading: Loading, folder: PartFolder) -> Job:
    words = [word for word in config.paths if word not in STDIN]
    are_absolute = len(words) == len(config.paths) and all(map(os.path.isabs, words))
    return Job(
        folder=folder,
        detector=config.detector.absolute(),
        fingerprint=predictor.fingerprint,
        backend=predictor.backend,
        device=_device(config),
        loading=loading,
        cores=config.cpus_per_worker,
        allow=config.allow,
        # Code of the user's own is found from there too.
        working_folder=None if are_absolute and not config.allow else str(Path.cwd()),
        sources=tuple(word for word in words if Path(word).exists()),
    )


def _count(parts: Iterable[PartCount], num_parts: int) -> tuple[Tally, int]:
    """Return the verdicts of all parts, and how many files earlier commands had judged."""
    tally, earlier = Tally(), 0
    done: set[int] = set()
    for part in parts:
        if part.number in done:  # told again by a process that was started again
            continue
        done.add(part.number)
        tally.verdicts.update(part.verdicts)
        tally.unreadable += part.unreadable
        tally.name(part.named)
        earlier += part.files if part.was_there else 0
    if missing := num_parts - len(done):
        raise FaceproofError(
            f"the cluster ended without an answer for {missing:,} of {num_parts:,} parts; start "
            "the same command again, and it judges these"
        )
    return tally, earlier
