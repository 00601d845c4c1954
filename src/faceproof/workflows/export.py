"""`faceproof export`: from a run, or from a gate and a detector, to a detector artifact."""

import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof import __version__, lookup
from faceproof.errors import FaceproofError

if TYPE_CHECKING:
    from faceproof.workflows.export_packing import Package


@dataclass(frozen=True)
class ExportConfig:
    """Make one folder of a run (or of an ensemble of runs), to hand on.

    It holds weights as safetensors, card.json with classes, input, calibration, threshold and
    measured metrics, and README.md. No pickle, no code. With a gate and a detector instead of a run
    it is a cascade, which first asks whether there is a face.

    Attributes:
        run: a run's folder, or latest for the newest.
        to: the artifact's folder, which is made.
        gate: a run or an artifact of the task face, for a cascade.
        detector: a run or an artifact of the task deepfake, for a cascade.
        onnx: add an ONNX file of each network, compared with PyTorch on validation images; needs
            pip install 'faceproof[onnx]'.
        web: make a folder of static files instead, which judges pictures in the visitor's browser
            and sends nothing anywhere; RUN may be an artifact with ONNX too. Needs pip install
            'faceproof[web]', and npm or --web-runtime.
        triton: make a model repository for NVIDIA's Triton Inference Server instead: each network
            as ONNX with a config.pbtxt that says what it takes and gives, and the card; RUN may be
            an artifact with ONNX too. Needs pip install 'faceproof[onnx]'.
        web_runtime: the archive of the npm package onnxruntime-web, where npm cannot fetch it.
        overwrite: replace an artifact that is there.
        allow: a module with code of your own that the run may use; can be repeated.
    """

    run: Path | None = None
    _: KW_ONLY
    to: Path
    gate: Path | None = None
    detector: Path | None = None
    onnx: bool = False
    web: bool = False
    triton: bool = False
    web_runtime: Path | None = None
    overwrite: bool = False
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        single = self.run is not None and self.gate is None and self.detector is None
        cascade = self.run is None and self.gate is not None and self.detector is not None
        if not single and not cascade:
            raise FaceproofError("name either RUN, or both --gate and --detector for a cascade")
        if self.web_runtime is not None and not self.web:
            raise FaceproofError("--web-runtime is for --web alone; add --web, or leave it out")
        if self.web and self.triton:
            raise FaceproofError(
                "--web and --triton make different folders; run the command once for each"
            )


def export(config: ExportConfig) -> None:
    """Write the artifact that the settings describe; see `export_run` and `export_cascade`."""
    lookup.allow(config.allow)
    if config.web:
        export_web(config)
    elif config.triton:
        export_triton(config)
    elif config.run is not None:
        export_run(config.run, config.to, config.onnx, config.overwrite)
    elif config.gate is not None and config.detector is not None:
        export_cascade(config.gate, config.detector, config.to, config.onnx, config.overwrite)


def export_web(config: ExportConfig) -> None:
    """Write a page that judges pictures in the visitor's browser; see `export_web.write_site`.

    Raises:
        FaceproofError: as `export_run` and `write_site`.
    """
    try:
        import markdown_it  # noqa: F401
    except ImportError as error:
        raise FaceproofError(
            f"--web takes the package {error.name}, which is not installed: "
            "pip install 'faceproof[web]'"
        ) from error
    from faceproof.workflows.export_web import refuse_occupied_site, write_site

    refuse_occupied_site(config.to, config.overwrite)
    with _artifact_with_onnx(config) as artifact:
        write_site(artifact, config.to, config.web_runtime, config.overwrite)


def export_triton(config: ExportConfig) -> None:
    """Write a model repository for Triton; see `export_triton.write_repository`.

    Raises:
        FaceproofError: as `export_run` and `write_repository`.
    """
    from faceproof.workflows.export_triton import refuse_occupied_repository, write_repository

    refuse_occupied_repository(config.to, config.overwrite)
    with _artifact_with_onnx(config) as artifact:
        write_repository(artifact, config.to, config.overwrite)


@contextmanager
def _artifact_with_onnx(config: ExportConfig) -> Iterator[Path]:
    """Yield the folder of an artifact that RUN is, or one made of the run for the time being."""
    from faceproof.artifact.artifact import is_artifact

    if config.run is not None and is_artifact(config.run):
        yield config.run
        return
    with tempfile.TemporaryDirectory(prefix="faceproof-") as place:
        made = Path(place) / config.to.name
        export(replace(config, to=made, onnx=True, web=False, triton=False, web_runtime=None))
        yield made


def export_run(run: Path, to: Path, onnx: bool = False, overwrite: bool = False) -> None:
    """Make a detector artifact of a run: of one network, or of an ensemble; see `ExportConfig`.

    Raises:
        FaceproofError: the run is not finished, its network cannot be built, or ONNX Runtime does
            not agree with PyTorch.
    """
    from faceproof.artifact.artifact import refuse_occupied
    from faceproof.workflows.export_packing import pack_run

    refuse_occupied(to, overwrite)
    _write(to, {"detector": pack_run(run, onnx)}, onnx, overwrite)


def export_cascade(
    gate: Path, detector: Path, to: Path, onnx: bool = False, overwrite: bool = False
) -> None:
    """Make one artifact of a gate that finds faces and a detector; see `ExportConfig`.

    Raises:
        FaceproofError: as `export_run`, or a part answers another task.
    """
    from faceproof.artifact.artifact import is_artifact, refuse_occupied
    from faceproof.workflows.export_packing import pack_artifact, pack_run, rename_files

    refuse_occupied(to, overwrite)
    parts = {}
    for role, source in (("gate", gate), ("detector", detector)):
        pack = pack_artifact if is_artifact(source) else pack_run
        parts[role] = rename_files(pack(source, onnx), role)
    _write(to, parts, onnx, overwrite)


def _write(to: Path, parts: Mapping[str, "Package"], onnx: bool, overwrite: bool) -> None:
    """Write an artifact, which stands only if it can be loaded and ONNX agrees."""
    from faceproof.artifact.artifact import write_artifact
    from faceproof.artifact.card import FORMAT, Card
    from faceproof.inference.predictor import load
    from faceproof.workflows.export_parity import check_parity

    card = Card(
        format=FORMAT,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "faceproof": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "timm", "safetensors")},
        },
        name=" and ".join(package.entry.name for package in parts.values()),
        **{role: package.entry for role, package in parts.items()},
    )
    runs = [package.run for package in parts.values() if package.run is not None]
    files = {name: data for package in parts.values() for name, data in package.files.items()}

    def check(folder: Path) -> None:
        load(folder, "cpu")
        if onnx and runs:
            check_parity(folder, runs)

    write_artifact(to, card, files, check, overwrite)
