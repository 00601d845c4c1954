"""`faceproof predict`: judge many images and videos with a detector artifact."""

import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from faceproof import __version__, lookup
from faceproof.errors import FaceproofError
from faceproof.io.names import is_hub_place

if TYPE_CHECKING:
    from rich.console import Console

    from faceproof.data.kinds import LeftOut
    from faceproof.inference.files import Loading, OnClip
    from faceproof.inference.output import Tally
    from faceproof.inference.predictor import Predictor

# As for training, in data.loader_config; importing that would slow down --help.
MAX_WORKERS = 256
IN_STORE = re.compile("(s3|gs):/(.*)", re.DOTALL)
LEAST_CERTAIN = 24  # images on a contact sheet


@dataclass(frozen=True)
class PredictConfig:
    """Judge images and videos with a detector artifact.

    Of a video, evenly spaced frames are judged, and their mean probability is compared with the
    threshold; videos need pip install 'faceproof[video]'. Without --out, up to 50 files are shown
    as a table. A command that was stopped continues when it is started again.

    Exit code 0: every file was judged; 1: some could not be read, and are rows with a reason; 2:
    the command could not be run.

    With --on a cluster of machines judges them, and --out is a folder of Parquet files; needs pip
    install 'faceproof[ray]'.

    Attributes:
        paths: images, videos, folders (with all below), patterns, a .csv or .parquet file with a
            column path, a .txt file with one path a line, a folder of faceproof shard, or - for
            paths on standard input. All but patterns may lie in an object store: s3://BUCKET/FOLDER,
            gs://BUCKET/FOLDER.
        detector: the artifact's folder, made by faceproof export; or hf://OWNER/NAME of the Hugging
            Face hub, or hf://OWNER/NAME@REVISION.
        out: the file to write, .csv, .jsonl or .parquet; with --on a folder, which may be one of an
            object store, s3://BUCKET/FOLDER.
        overwrite: replace that file, and start from the beginning.
        keep_going: exit with 0 even if files could not be read.
        contact_sheet: a PNG to draw of the images that are least certain.
        least_certain: how many images it shows, those nearest to the threshold (default: 24).
        frames: how many frames of a video are judged.
        frames_out: a folder for a timeline of each video, its most suspicious frames, and a CSV
            of all its frames; videos.csv there says which video each is of.
        find_faces: judge each face in an image by itself; the image is called what its face with
            the highest probability is called (a face unlike the training images decides only where
            no other is called positive); so is a video, whose faces are followed. By default
            if the detector was trained on crops of faceproof prepare. Needs pip install
            'faceproof[faces]'.
        whole_if_none: with --find-faces, judge the whole image where no face is found, instead of
            answering no face.
        batch_size: files at a time; by default 32 on a CPU and 64 on a GPU.
        workers: how many processes read files.
        device: where the network runs, cpu, cuda or auto.
        backend: what runs the network; auto is ONNX Runtime on a CPU if the artifact has an ONNX
            file, else PyTorch.
        allow: a module with code of your own that the artifact may use, or an object store of
            which a list names images, s3://BUCKET; can be repeated.
        on: ray for a cluster that is started on this machine (or that the environment variable
            RAY_ADDRESS names), or ray://HOST:PORT for one that runs; workers are then those of the
            cluster, by default as many as it has room for.
        cpus_per_worker: cores of each worker of the cluster.
        gpus_per_worker: GPUs of each worker of the cluster; 0.5 lets two share one.
        part_size: how many files a worker of the cluster judges before it writes them, a multiple
            of --batch-size (default: 1024, or the next such multiple).
    """

    paths: tuple[str, ...]
    _: KW_ONLY
    detector: Path
    out: Path | None = None
    overwrite: bool = False
    keep_going: bool = False
    contact_sheet: Path | None = None
    least_certain: int | None = None
    frames: int = 32
    frames_out: Path | None = None
    find_faces: bool | None = None
    whole_if_none: bool = False
    batch_size: int | None = None
    workers: int | Literal["auto"] = "auto"
    device: str = "auto"
    backend: Literal["auto", "torch", "onnx"] = "auto"
    allow: tuple[str, ...] = ()
    on: str | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    part_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "least_certain", "frames", "cpus_per_worker", "part_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                option = f"--{name.replace('_', '-')}"
                raise FaceproofError(f"{option} {value} must be a count from 1 on")
        if self.workers != "auto" and not 0 <= self.workers <= MAX_WORKERS:
            allowed = f"auto or a count from 0 to {MAX_WORKERS}"
            raise FaceproofError(f"--workers {self.workers} must be {allowed}")
        if self.contact_sheet is not None and self.contact_sheet.suffix.lower() != ".png":
            raise FaceproofError(f"--contact-sheet {self.contact_sheet} must end in .png")
        if isinstance(self.place, str) and self.on is None:
            raise FaceproofError(
                f"--out {self.place} is in an object store, which takes the folder of --on ray "
                "alone; give --on ray too, or name a file on a disk"
            )
        if self.overwrite and self.out is None:
            raise FaceproofError("--overwrite replaces the file of --out; give both")
        if self.least_certain is not None and self.contact_sheet is None:
            raise FaceproofError("--least-certain is of the --contact-sheet; give both")
        self._check_cluster()

    @property
    def place(self) -> Path | str | None:
        """Where the output is: `out`, or the URL of which that, as a path, has lost a slash."""
        url = IN_STORE.fullmatch("" if self.out is None else self.out.as_posix())
        return f"{url[1]}://{url[2]}" if url else self.out

    def _check_cluster(self) -> None:
        """Refuse what only one machine can do, or only a cluster."""
        if self.on is None:
            if (self.cpus_per_worker, self.gpus_per_worker, self.part_size) != (1, 0.0, None):
                given = "--cpus-per-worker, --gpus-per-worker and --part-size"
                raise FaceproofError(f"{given} are of a cluster; give --on too")
            return
        if self.on != "ray" and not (self.on.startswith("ray://") and self.on != "ray://"):
            raise FaceproofError(f"--on {self.on} must be ray, or ray://HOST:PORT")
        if is_hub_place(self.detector):  # would be fetched to this machine alone
            raise FaceproofError(
                f"--detector {self.detector.as_posix().replace('hf:/', 'hf://', 1)} is on the hub, "
                "and all machines of the cluster must see one copy: faceproof pull it --to a "
                "folder that they share, and give --detector that folder"
            )
        if self.out is None:
            raise FaceproofError("--on needs --out, the folder for the Parquet files")
        for name in ("contact_sheet", "frames_out"):
            if getattr(self, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise FaceproofError(f"{option} is drawn on one machine; leave out --on")
        gpus = self.gpus_per_worker
        if not (0 <= gpus < math.inf) or (gpus > 1 and not gpus.is_integer()):
            raise FaceproofError(
                f"--gpus-per-worker {gpus:g} must be a share up to 1, or a whole number"
            )
        if self.device not in ("auto", "cuda" if gpus else "cpu"):
            raise FaceproofError(
                f"--device {self.device} is not what a worker with --gpus-per-worker {gpus:g} has"
            )
        if self.backend == "onnx" and gpus:
            raise FaceproofError("--backend onnx runs on CPUs; leave out --gpus-per-worker")
        if self.workers == 0:
            raise FaceproofError("--workers 0 is of one machine; a cluster has at least 1")


def predict(config: PredictConfig, predictor: "Predictor | None" = None) -> "Tally":
    """Judge all files that the paths stand for, show or write the verdicts, and count them.

    `predictor` is the detector if it is loaded already; a cluster's workers load their own.

    Raises:
        FaceproofError: the artifact cannot be loaded, no path names a file, the output exists
            already, or there are more files than the terminal should show.
    """
    if config.on is not None:
        return _predict_on_ray(config)
    from faceproof.data.kinds import LeftOut
    from faceproof.data.loaders import explain_dead_workers
    from faceproof.inference.contact_sheet import write_contact_sheet
    from faceproof.inference.faces import face_options
    from faceproof.inference.files import WORKERS_OPTION, Loading, predict_files
    from faceproof.inference.inputs import list_images
    from faceproof.inference.output import Tally, make_console, show_verdicts, write_verdicts
    from faceproof.inference.output_parts import Results
    from faceproof.inference.predictor import load
    from faceproof.performance.memory import reuse_memory

    reuse_memory()
    lookup.allow(config.allow)
    predictor = predictor or load(config.detector, config.device, config.backend)
    faces = face_options(predictor, config.find_faces, config.whole_if_none)
    left_out = LeftOut()
    paths = list_images(config.paths, left_out, stores_and_shards=True)
    first = next(paths, None)
    if first is None:
        beside = f"; {left_out}" if left_out else ""
        raise FaceproofError(f"there are no images in {', '.join(config.paths)}{beside}")
    paths = chain([first], paths)

    loading = Loading(config.batch_size, config.workers, config.frames, faces)
    on_clip = _frame_writer(config.frames_out)
    judge = partial(predict_files, predictor, loading=loading, on_clip=on_clip)
    tally = Tally((config.least_certain or LEAST_CERTAIN) if config.contact_sheet else 0)
    console = make_console()
    with explain_dead_workers(WORKERS_OPTION):  # which may be noticed anywhere in this process
        if config.out is None:
            show_verdicts(console, predictor, judge, paths, tally)
        else:
            about = describe(predictor, loading)
            gated, knows_novelty = predictor.gate is not None, predictor.knows_novelty
            results = Results(config.out, about, gated, config.overwrite, knows_novelty)
            write_verdicts(console, judge, paths, tally, results)

    written: dict[str, Path | str | None] = {"verdicts": config.out, "videos": config.frames_out}
    if config.contact_sheet is not None and tally.nearest:
        write_contact_sheet(config.contact_sheet, tally.nearest)
        written["contact sheet"] = config.contact_sheet
    print_summary(console, tally, written, left_out)
    if config.contact_sheet is not None and not tally.nearest:
        console.print("no contact sheet: no image has a probability")
    return tally


def _predict_on_ray(config: PredictConfig) -> "Tally":
    from faceproof.workflows.ray_cluster import require_ray

    require_ray("--on")
    from faceproof.workflows.predict_on_ray import predict_on_ray

    return predict_on_ray(config)


def print_summary(
    console: "Console",
    tally: "Tally",
    written: Mapping[str, Path | str | None],
    left_out: "LeftOut",
) -> None:
    """Print the counts, what was written and where, and what was left out."""
    lines = [str(tally)]
    if written.get("verdicts"):  # a table on the terminal has the reasons already
        lines += tally.unreadable_lines()
    lines += [
        f"{what}: {path}"
        for what, path in written.items()
        if path and (isinstance(path, str) or path.exists())
    ]
    lines += [str(left_out)] if left_out else []
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def describe(predictor: "Predictor", loading: "Loading") -> dict[str, Any]:
    """Return what must be equal when a command continues an output that another one started."""
    return {
        "detector": predictor.fingerprint,
        "backend": predictor.backend,
        "frames": loading.num_frames,
        "faces": None if loading.faces is None else asdict(loading.faces),
        "faceproof": __version__,
    }


def _frame_writer(folder: Path | None) -> "OnClip | None":
    if folder is None:
        return None
    from faceproof.inference.output_parts import printable
    from faceproof.inference.timeline import write_frames

    return lambda path, *judged: write_frames(folder, printable(path), *judged)
