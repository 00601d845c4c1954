"""From a run, or two, to a detector artifact."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from faceproof import __version__
from faceproof.artifact.artifact import (
    Package,
    is_artifact,
    read_card,
    read_entry,
    read_network,
    refuse_occupied,
    write_artifact,
)
from faceproof.artifact.card import Card, file_entry, networks_of, task_entry
from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.data.table import counts, read_parquet, read_table, select
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import read_predictions
from faceproof.evaluation.scoring import load_best
from faceproof.inference.predictor import Predictor, load, stack_fitted
from faceproof.io.run_folder import RunFolder
from faceproof.models.build import build_network, concrete_description
from faceproof.task import get_task

ENSEMBLE = "ensemble.json"
NUM_CHECKED = 64  # images on which ONNX Runtime must agree with PyTorch


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        onnx: add an ONNX file for each network, held against PyTorch on validation images.
        overwrite: replace an artifact that is there.
        allow: backbones and heads of one's own, see `build_network`.
    """

    onnx: bool = False
    overwrite: bool = False
    allow: Sequence[str] = ()


def export_run(run: Path, to: Path, options: Options | None = None) -> None:
    """Make a detector artifact of a run: of one network, or of an ensemble.

    Args:
        run: the run's folder.
        to: the artifact's folder.
        options: see there.

    Raises:
        FaceproofError: the run is not finished, its network cannot be described, or ONNX Runtime
            does not agree with PyTorch.
    """
    chosen = options or Options()
    refuse_occupied(to, chosen.overwrite)
    _write(to, _pack_run(run, chosen), [run], chosen)


def export_cascade(gate: Path, detector: Path, to: Path, options: Options | None = None) -> None:
    """Make one artifact of a gate that finds faces and a detector that judges them.

    Args:
        gate: a run or artifact of the task `face`.
        detector: a run or artifact of the task `deepfake`.
        to: the artifact's folder.
        options: see `Options`.

    Raises:
        FaceproofError: as `export_run`, or a part answers another task.
    """
    chosen = options or Options()
    refuse_occupied(to, chosen.overwrite)
    parts: Card = {}
    files: dict[str, bytes] = {}
    for name, source in (("gate", gate), ("detector", detector)):
        package = _pack_artifact(source, chosen) if is_artifact(source) else None
        renamed = _prefixed(package or _pack_run(source, chosen), name)
        parts[name] = renamed.card
        files |= renamed.files
    card = {
        "kind": "cascade",
        "name": f"{parts['gate']['name']} and {parts['detector']['name']}",
        "task": task_entry(get_task("deepfake")),
        "parts": parts,
    }
    runs = [source for source in (gate, detector) if not is_artifact(source)]
    _write(to, Package(card, files), runs, chosen)


def _write(to: Path, package: Package, runs: Sequence[Path], options: Options) -> None:
    """Write an artifact, and let it stand only if it can be loaded and ONNX agrees."""
    facts = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "faceproof": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "timm", "safetensors")},
        },
    }

    def check(folder: Path) -> None:
        ours = load(folder, "cpu", allow=options.allow)
        if options.onnx and runs:
            theirs = load(folder, "cpu", "onnx")
            _refuse_other_answers(ours, theirs, list(islice(_images(runs), NUM_CHECKED)))

    write_artifact(to, package, facts, check, options.overwrite)


def _pack_run(path: Path, options: Options) -> Package:
    """Gather what a run's artifact holds."""
    run = RunFolder(path)
    ensemble = path / ENSEMBLE
    run.require(*([ensemble] if ensemble.is_file() else [run.config, run.best]))
    run.require(run.operating_point, run.seen)
    record = run.read_record()
    if not ensemble.is_file():
        network, files, config = _pack_network(run, "model", options)
        own = {"kind": "detector", **network}
        name, task = str(config["model"]["name"]), str(config["data"]["task"])
        weights, trained_with = record.get("weights"), record.get("versions")
    else:
        described = _read_json(ensemble)
        packed, files, tasks, records = [], {}, set(), {}
        for number, member in enumerate(described["members"]):
            inner = RunFolder(_inside(path, str(member["folder"])))
            inner.require(inner.config, inner.best)
            network, data, config = _pack_network(inner, f"member-{number}", options)
            known = {key: member[key] for key in ("name", "weight", "calibration")}
            packed.append({**known, **network})
            files |= data
            tasks.add(str(config["data"]["task"]))
            records[member["name"]] = inner.read_record()
        if len(tasks) != 1:
            raise FaceproofError(f"{ensemble} joins detectors of {', '.join(sorted(tasks))}")
        own = {"kind": "ensemble", "average": described["average"], "parts": packed}
        name, task = str(record.get("model") or path.name), tasks.pop()
        weights = {member: facts.get("weights") for member, facts in records.items()}
        trained_with = {member: facts.get("versions") for member, facts in records.items()}
    point = run.read_operating_point()
    card = {
        **own,
        "name": name,
        "task": task_entry(get_task(task)),
        "operating_point": point,
        "trained_on": _trained_on(run, record),
        "evaluations": list(_evaluations(run, point)),
        "initial_weights": weights,
        "trained_with": trained_with,
    }
    return Package(card, files)


def _inside(folder: Path, name: str) -> Path:
    """Return a folder below another."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise FaceproofError(f"{folder / ENSEMBLE} names a member outside of the run: {name}")
    return folder / name


def _pack_network(
    run: RunFolder, name: str, options: Options
) -> tuple[Card, dict[str, bytes], dict[str, Any]]:
    """Describe a run's network; return its entry of the card, its files, and the configuration."""
    config = run.read_config()
    try:
        description = config["model"]["network"]
        config["model"]["name"], config["data"]["task"]
    except (KeyError, TypeError) as error:
        raise FaceproofError(
            f"{run.config} is no run's configuration: {error} is missing"
        ) from error
    net = load_best(run, build_network(description, options.allow))
    concrete = concrete_description(description, net)
    state = {key: value.detach().clone().contiguous() for key, value in net.state_dict().items()}
    files = {f"{name}.safetensors": safetensors.torch.save(state)}
    if options.onnx:
        from faceproof.artifact.onnx import to_onnx

        files[f"{name}.onnx"] = to_onnx(net)
    entries = [file_entry(file, data) for file, data in files.items()]
    card = {
        "architecture": concrete,
        "input": concrete["input"],
        "weights": entries[0],
        "onnx": entries[1] if options.onnx else None,
    }
    return card, files, config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise FaceproofError(f"{path} is no JSON: {error}; make it again") from error
    return found


def _trained_on(run: RunFolder, record: Mapping[str, Any]) -> Card:
    """Say what a run was trained on and chosen by: name, images by split and class, fingerprint.

    The fingerprint is the SHA-256 of the images' digests in their order, wherever they lie.
    """
    seen = read_parquet(run.seen)
    digests = sorted(digest for digest in seen["content"].to_pylist() if digest is not None)
    images: dict[str, dict[str, int]] | None = None
    if run.samples.is_file():
        images = {}
        for (split, label), number in counts(read_table(run.samples), "split", "label").items():
            if split in ("train", "val"):
                images.setdefault(split, {})[str(label)] = number
    return {
        "name": record.get("data"),
        "images": images,
        "fingerprint": hashlib.sha256(b"".join(digests)).hexdigest(),
    }


def _evaluations(run: RunFolder, point: Card) -> Iterator[Card]:
    """Yield the figures of a run's evaluations, and whether they are of this operating point."""
    for file in sorted(run.evaluations.glob("[!.]*/report.json")):
        report = _read_json(file)
        used = report.get("operating_point") or {}
        yield {
            "name": file.parent.name,
            "data": report["data"],
            "split": report["split"],
            "num_images": report["figures"]["num_images"],
            "threshold": report["threshold"],
            "same_operating_point": all(
                used.get(key) == point[key] for key in ("threshold", "calibration")
            ),
            "figures": report["figures"],
            "intervals": report["intervals"]["figures"],
        }


def _pack_artifact(folder: Path, options: Options) -> Package:
    """Gather what an artifact holds, checked."""
    card = read_card(folder)
    files = {}
    for entry in networks_of(card):
        read_network(folder, entry, options.allow)
        if options.onnx and entry["onnx"] is None:
            raise FaceproofError(
                f"{folder} was exported without ONNX, so it cannot be part of a cascade with it; "
                "name its run, or export that with --onnx first"
            )
        for named in (entry["weights"], entry["onnx"]):
            if named is not None:
                files[named["file"]] = read_entry(folder, named)
    kept = {key: card[key] for key in card if key not in ("format", "made", "versions")}
    return Package(kept, files)


def _prefixed(package: Package, prefix: str) -> Package:
    """Rename the files of a part of a cascade, so that two parts fit into one folder."""
    card = json.loads(json.dumps(package.card))
    for entry in networks_of(card):
        for named in (entry["weights"], entry["onnx"]):
            if named is not None:
                named["file"] = f"{prefix}-{named['file']}"
    return Package(card, {f"{prefix}-{name}": data for name, data in package.files.items()})


def _images(runs: Sequence[Path]) -> Iterator[Any]:
    """Yield the validation images of runs that can be read, (3, H, W) uint8."""
    for path in runs:
        run = RunFolder(path)
        if run.samples.is_file():
            rows = select(read_table(run.samples), "val")
        else:
            run.require(run.validation)
            rows = read_predictions(run.validation)
        # Spread over the table, which stands class by class.
        step = max(1, rows.num_rows * len(runs) // NUM_CHECKED)
        for name in rows["path"].take(list(range(0, rows.num_rows, step))).to_pylist():
            try:
                yield torch.from_numpy(read_image(name))
            except UnreadableImageError:
                continue


def _refuse_other_answers(ours: Predictor, theirs: Predictor, images: Sequence[Any]) -> None:
    """Refuse ONNX models that disagree with PyTorch in a logit or a verdict.

    Raises:
        FaceproofError: they do, or there are no images to tell.
    """
    from faceproof.artifact.onnx import refuse_disagreement

    if not images:
        raise FaceproofError(
            "the ONNX model cannot be held against PyTorch: none of the run's validation images "
            "can be read; put them back, or export without --onnx"
        )
    fitted = stack_fitted([ours.fit(image) for image in images])
    pairs = zip(ours.networks(), theirs.networks(), networks_of(ours.card), strict=True)
    for torchs, runtimes, entry in pairs:
        batch = fitted[torchs.fit]
        refuse_disagreement(str(entry["onnx"]["file"]), runtimes(batch), torchs(batch))
    answers = zip(ours.judge(fitted), theirs.judge(fitted), strict=True)
    differing = sum((a.verdict, a.called) != (b.verdict, b.called) for a, b in answers)
    if differing:
        raise FaceproofError(
            f"ONNX Runtime and PyTorch call {differing} of {len(images)} images differently; "
            "nothing was written. Export without --onnx"
        )
