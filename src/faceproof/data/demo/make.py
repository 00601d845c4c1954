"""Makes a data set to try things out: no download, seconds, the same bytes every time.

    <root>/demo.json                            how it was made; written last
    <root>/pictures/<label>/<generator>/*.jpg   all of one size
    <root>/masks/<generator>/*.png              255 where that forgery changed the image of the
                                                same name

Task deepfake: real/camera, and fake/face_swap, upsampled, retouched, recoloured. Task face:
face/camera, and non_face/textures, objects. Every image, of whatever class, ends in the same
camera noise and JPEG, with strengths drawn alike, so that neither file size nor mean colour tells
the classes apart. The bytes depend on the seed and the image's place in the set, not on the number
of processes; another release of numpy or Pillow may change them.
"""

import contextlib
import errno
import logging
import os
import queue
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceproof.data.demo.canvas import SIDE, Array
from faceproof.data.demo.forgeries import FORGERIES
from faceproof.data.demo.portraits import render_portrait
from faceproof.data.demo.scenes import render_object, render_texture
from faceproof.errors import FaceproofError
from faceproof.io.atomic import explain_disk_errors, write_json
from faceproof.io.cache import cache_folder
from faceproof.io.left_behind import holds_nothing
from faceproof.io.plain_files import read_object
from faceproof.io.progress import progress
from faceproof.settings import is_count
from faceproof.task import Task, get_task
from faceproof.words import override

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
FORMAT = 1  # raise it with every change to the images
GENERATORS = {
    "real": ("camera",),
    "fake": tuple(FORGERIES),
    "face": ("camera",),
    "non_face": ("textures", "objects"),
}
# A generator's place in this list is part of the seed, so new ones go to the end.
_KINDS = ("camera", "textures", "objects", *FORGERIES)
_IMAGES_PER_PROCESS = 150  # fewer are drawn sooner than a process starts

_log = logging.getLogger(__name__)


def make_demo(root: Path, task: Task, seed: int = 0, num_per_class: int = 300) -> Path:
    """Write the demo data set of `task` below `root`, and return the folder that it is in.

    Anything but the same set there is refused. Where `root` can only be read, as the data sets of
    a hosted notebook, the set is drawn into the cache.

    Raises:
        FaceproofError: something else is there, or neither place can be written to.
    """
    root = root.resolve()
    settings = _settings(task, seed, num_per_class)
    if _is_there(root, settings):
        return root
    try:
        _draw_into(root, task, settings)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        words = f"{task.name}-{seed}-{num_per_class}"
        instead = cache_folder() / "demo" / words
        _log.info("%s cannot be written to; the demo data set is in %s", root.parent, instead)
        if not _is_there(instead, settings):
            with explain_disk_errors(instead):
                _draw_into(instead, task, settings)
        return instead
    return root


def _draw_into(root: Path, task: Task, settings: dict[str, Any]) -> None:
    """Draw the set beside its place, and rename it."""
    seed, num_per_class = settings["seed"], settings["num_per_class"]
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{root.name}.partial-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=root.parent) as folder:
        _log.info("drawing %d images for the demo data set %s", 2 * num_per_class, root)
        partial = Path(folder) / root.name
        _draw_all(partial, task, seed, num_per_class)
        write_json(partial / "demo.json", settings)
        try:
            if root.is_dir() and holds_nothing(root):  # not every system renames over a folder
                for file in root.iterdir():
                    file.unlink()
                root.rmdir()
            partial.rename(root)
        except OSError:  # another process was faster, or somebody else put something there
            if not _is_there(root, settings):
                raise


def _settings(task: Task, seed: int, num_per_class: int) -> dict[str, Any]:
    counts = Counter(f"{label}/{kind}" for label, kind, _ in _plan(task, num_per_class))
    size = {"num_per_class": num_per_class, "counts": dict(counts)}
    return {"format": FORMAT, "task": task.name, "seed": seed, **size}


def _is_there(root: Path, settings: dict[str, object]) -> bool:
    """Say whether the set with these settings is at `root`; refuse anything else there."""
    manifest = root / "demo.json"
    if not manifest.is_file():
        if root.exists() and not (root.is_dir() and holds_nothing(root)):
            raise FaceproofError(
                f"{root} is there and is no demo data set (it has no demo.json), so nothing was "
                "written; to use the images in it, say "
                f"data=folder {override('data.root', root.as_posix())}; to draw the set, set "
                "data.root to a folder that is empty or does not exist"
            )
        return False
    found = read_object(manifest, "delete the folder to have the set made anew")
    if found != settings:
        have, want = (
            ", ".join(f"{key} {one.get(key)}" for key in settings if key != "counts")
            for one in (found, settings)
        )
        raise FaceproofError(
            f"the demo data set in {root} was made with {have}; the settings say {want}; "
            f"{_to_use(found, settings)}set data.root to another folder, or delete this one to "
            "have it made anew"
        )
    return True


def _to_use(found: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Say by which settings the set that is there is used; nothing of a set of another kind."""
    drawn = ("num_per_class", "seed")
    others = [key for key in settings if key not in (*drawn, "counts")]
    if any(found.get(key) != settings[key] for key in others):
        return ""
    differing = [key for key in drawn if found.get(key) != settings[key]]
    if not differing or not all(is_count(found.get(key)) for key in drawn):
        return ""
    return f"say {' '.join(f'data.{key}={found[key]}' for key in differing)} to use it as it is, "


def _plan(task: Task, num_per_class: int) -> list[tuple[str, str, int]]:
    """List the images as (label, generator, number); a class's generators take turns."""
    return [
        (label, GENERATORS[label][i % len(GENERATORS[label])], i // len(GENERATORS[label]))
        for label in task.classes
        for i in range(num_per_class)
    ]


def _draw_all(folder: Path, task: Task, seed: int, num_per_class: int) -> None:
    """Draw the whole plan, in as many processes as are worth starting.

    They are plain interpreters rather than a multiprocessing pool: forking a process that has
    loaded torch is unsafe, and spawning would import the caller's main module, torch and all,
    once more in each.
    """
    num_shares = _num_processes(2 * num_per_class)
    arguments = [str(folder), task.name, str(seed), str(num_per_class), str(num_shares)]
    if num_shares == 1:
        draw_share([*arguments, "0"])
        return
    program = f"import sys; from {__name__} import draw_share; draw_share(sys.argv[1:])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    drawn: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(share: int) -> None:
        command = [sys.executable, "-c", program, *arguments, str(share)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as one:
            for _ in one.stdout or ():  # a line an image
                drawn.put(None)
        if one.returncode:
            raise subprocess.CalledProcessError(one.returncode, command)

    with ThreadPoolExecutor(num_shares) as pool:
        shares = [pool.submit(run, share) for share in range(num_shares)]
        for _ in progress(_until_done(drawn, shares), "drawing", 2 * num_per_class):
            pass


def _until_done(drawn: "queue.SimpleQueue[None]", shares: Sequence[Future[None]]) -> Iterator[None]:
    """Yield once an image, until all are drawn.

    Raises:
        CalledProcessError: a process has failed.
    """
    while not all(share.done() for share in shares) or not drawn.empty():
        with contextlib.suppress(queue.Empty):
            yield drawn.get(timeout=0.1)
    for share in shares:
        share.result()


def _num_processes(num_images: int) -> int:
    here = hasattr(os, "sched_getaffinity")
    num_cores = len(os.sched_getaffinity(0)) if here else os.cpu_count() or 1
    return max(1, min(num_cores, num_images // _IMAGES_PER_PROCESS))


def draw_share(arguments: list[str]) -> None:
    """Draw every `num_shares`-th image of the plan, from `share` on; `arguments` are text."""
    folder, task, seed, num_per_class, num_shares, share = arguments
    plan = _plan(get_task(task), int(num_per_class))
    for label, kind, number in plan[int(share) :: int(num_shares)]:
        _write(Path(folder), label, kind, number, int(seed))
        if int(num_shares) > 1:
            print(number, flush=True)  # for the bar of the process that waits


def _write(folder: Path, label: str, kind: str, number: int, seed: int) -> None:
    rng = image_rng(seed, kind, number)
    if kind in FORGERIES:
        image, mask = FORGERIES[kind](render_portrait(rng), rng)
        path = folder / "masks" / kind / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    elif kind == "camera":
        image = render_portrait(rng).image
    else:
        image = render_texture(rng) if kind == "textures" else render_object(rng)
    path = folder / "pictures" / label / kind / f"{number:05d}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(image, path, rng)


def image_rng(seed: int, kind: str, number: int) -> np.random.Generator:
    """Return the random numbers of one image, whatever was drawn before it."""
    words = (seed, _KINDS.index(kind), number)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def _save(image: Array, path: Path, rng: np.random.Generator) -> None:
    """Write an image as a camera would: noise that grows with the light, then JPEG."""
    read, shot = rng.uniform(0.002, 0.006), rng.uniform(0.0001, 0.0005)
    grain = rng.standard_normal((3, SIDE, SIDE), dtype=np.float32)
    noisy = image + grain * np.sqrt(read**2 + shot * image)
    pixels = (noisy.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    encoded = Image.fromarray(np.ascontiguousarray(pixels))
    subsampling = "4:4:4" if rng.random() < 0.5 else "4:2:0"
    encoded.save(path, quality=int(rng.integers(75, 96)), subsampling=subsampling)
