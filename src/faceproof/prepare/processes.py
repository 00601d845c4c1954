"""Prepares many photographs and videos by several processes, in bounded memory."""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.io.processes import end_with_parent
from faceproof.prepare.detectors import load_detector
from faceproof.prepare.face import FaceDetector
from faceproof.prepare.media import Media, PrepareSettings, Result, prepare_media

AHEAD = 4  # tasks that wait for each process
IMAGES_AT_ONCE = 16  # photographs in a task; a video is one by itself

Task = list[tuple[int, Media]]
_detector: list[FaceDetector] = []  # of a worker process


def prepare_all(
    media: Iterable[tuple[int, Media]], folder: Path, wanted: PrepareSettings, workers: int
) -> Iterator[tuple[int, Result]]:
    """Yield the number of each file and what was made of it, in the order in which they end.

    Args:
        media: numbers, and photographs and videos.
        folder: the prepared folder.
        wanted: what is made of them.
        workers: processes; 0 for this one alone.

    Raises:
        FaceproofError: a process has died.
    """
    tasks = _tasks(media)
    work = partial(_work, folder, wanted)
    if workers == 0:
        _begin(wanted.crop.detector, [])
        for task in tasks:
            yield from work(task)
        return
    # Not forked: the threads of this process would be missing there.
    context = multiprocessing.get_context("spawn")
    begin = (wanted.crop.detector, lookup.allowed(), True)
    with ProcessPoolExecutor(workers, context, _begin, begin) as pool:
        try:
            running = {pool.submit(work, task) for task in islice(tasks, AHEAD * workers)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(work, task) for task in islice(tasks, len(done))}
                yield from _results(done)
        except BrokenProcessPool as error:
            raise FaceproofError(
                "a process that prepares files has died, probably for want of memory; start the "
                "same command again with fewer --workers, and it goes on where it stopped. (From a "
                "script of yours: what it does must stand below `if __name__ == '__main__':`, for "
                "each process imports the script.)"
            ) from error
        except KeyboardInterrupt:  # not after hours, when their videos end
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _results(done: set["Future[list[tuple[int, Result]]]"]) -> Iterator[tuple[int, Result]]:
    for future in done:
        yield from future.result()


def _tasks(media: Iterable[tuple[int, Media]]) -> Iterator[Task]:
    """Yield a task for each video, and one for some photographs each."""
    images: Task = []
    for number, one in media:
        if one.is_video:
            yield [(number, one)]
            continue
        images.append((number, one))
        if len(images) == IMAGES_AT_ONCE:
            yield images
            images = []
    if images:
        yield images


def _begin(detector: str, allowed: list[str], is_worker: bool = False) -> None:
    """Load the detector, for a process that does nothing else."""
    if is_worker:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process stops the others
        end_with_parent()
        torch.set_num_threads(1)  # each process has a core
        lookup.allow(allowed)
    _detector[:] = [load_detector(detector)]


def _work(folder: Path, wanted: PrepareSettings, task: Task) -> list[tuple[int, Result]]:
    detector = _detector[0]
    return [(number, prepare_media(one, folder, wanted, detector)) for number, one in task]
