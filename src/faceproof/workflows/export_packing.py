"""What goes into a detector artifact: gathered from a run, an ensemble, or another artifact."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import safetensors.torch

from faceproof.artifact.artifact import read_card, read_file, read_network, read_network_novelty
from faceproof.artifact.card import (
    MAX_SUBGROUPS,
    DetectorEntry,
    EvaluationEntry,
    GapEntry,
    NetworkEntry,
    StoredFile,
    SubgroupEntry,
    TaskEntry,
    TrainingData,
)
from faceproof.audit.seen import read_seen
from faceproof.data.run_tables import read_samples
from faceproof.data.table import counts
from faceproof.errors import FaceproofError
from faceproof.evaluation.novelty import NoveltyPoint, read_novelty_point
from faceproof.evaluation.operating_point import OperatingPoint, read_operating_point
from faceproof.evaluation.predictions import read_predictions
from faceproof.evaluation.scored_runs import AGAIN
from faceproof.evaluation.stored_evaluations import (
    REPORT,
    evaluate_again,
    evaluations_of,
    read_report,
    stale_evaluations,
)
from faceproof.evaluation.video_point import read_video_point
from faceproof.io.parse import parse
from faceproof.io.plain_files import printable
from faceproof.io.run_folder import RunFolder
from faceproof.models.build import read_model
from faceproof.models.novelty import DetectorWithNovelty, save_novelty
from faceproof.models.weights import load_network
from faceproof.prepare.cropping import read_crop
from faceproof.task import get_task
from faceproof.workflows.drift import MAX_REFERENCE, pack_reference
from faceproof.workflows.ensemble import is_ensemble, read_ensemble
from faceproof.workflows.novelty import load_novelty
from faceproof.workflows.recipe import recipe, told

REFERENCE = "reference.json"


@dataclass(frozen=True)
class Package:
    """A detector or ensemble on its way into an artifact: its entry in the card, and its files.

    `run` is None where it is from another artifact.
    """

    entry: DetectorEntry
    files: dict[str, bytes]
    run: RunFolder | None = None


def pack_run(path: Path, onnx: bool) -> Package:
    """Gather what a run's artifact holds, all of it of the same weights."""
    run = RunFolder(path)
    run.require(run.operating_point, run.seen)
    with run.unchanged():
        return _pack_run(run, onnx)


def _pack_run(run: RunFolder, onnx: bool) -> Package:
    record = run.read_record()
    files: dict[str, bytes] = {}
    if not is_ensemble(run):
        network, task = _pack_network(run, "model", onnx, files)
        members, average, name = [network], None, network.name
    else:
        ensemble = read_ensemble(run)
        members, average, tasks = [], ensemble.average, set()
        for number, member in enumerate(ensemble.members):
            network, task = _pack_network(member.run, f"member-{number}", onnx, files)
            own_name, share = member.run.path.name, member.weight
            own = replace(network, name=own_name, weight=share, calibration=member.calibration)
            members.append(own)
            tasks.add(task)
        if len(tasks) != 1:
            raise FaceproofError(f"{run.ensemble} joins detectors of {', '.join(sorted(tasks))}")
        name = str(record.get("model") or run.path.name)
    point, limit = read_operating_point(run), read_novelty_point(run)
    reference = None
    if run.validation.is_file():
        files[REFERENCE] = pack_reference(read_predictions(run.validation), run.validation)
        reference = StoredFile.of(REFERENCE, files[REFERENCE])
    entry = DetectorEntry(
        name=name,
        task=TaskEntry.of(get_task(task)),
        operating_point=point,
        video=read_video_point(run),
        novelty=limit,
        reference=reference,
        trained_on=_training_data(run, record.get("data")),
        evaluations=tuple(_evaluations(run, point, limit)),
        networks=tuple(members),
        average=average,
        crop=read_crop(record.get("crop")),
    )
    return Package(entry, files, run)


def _pack_network(
    run: RunFolder, stem: str, onnx: bool, files: dict[str, bytes]
) -> tuple[NetworkEntry, str]:
    """Put a run's network into `files`; return what the card says of it, and its task's name."""
    run.require(run.config, run.best)
    config, record = run.read_config(), run.read_record()
    if "task" not in config["data"]:
        raise FaceproofError(f"{run.config} is no run's configuration: data.task is missing")
    model, task = read_model(config["model"]), str(config["data"]["task"])
    net = load_network(run)
    novelty = load_novelty(run, net)
    state = {key: value.detach().clone().contiguous() for key, value in net.state_dict().items()}
    stored = {f"{stem}.safetensors": safetensors.torch.save(state)}
    if onnx:
        from faceproof.artifact.onnx import to_onnx

        whole = net if novelty is None else DetectorWithNovelty(net, novelty)
        stored[f"{stem}.onnx"] = to_onnx(whole)
    if novelty is not None:
        stored[f"{stem}-novelty.safetensors"] = save_novelty(novelty)
    files |= stored
    known = {name: StoredFile.of(name, data) for name, data in stored.items()}
    entry = NetworkEntry(
        name=model.name,
        backbone=dict(model.backbone),
        head=dict(model.head),
        input=net.input,
        weights=known[f"{stem}.safetensors"],
        onnx=known.get(f"{stem}.onnx"),
        initial_weights=record.get("weights"),
        trained_with=record.get("versions"),
        recipe=told(recipe(config, record)),
        branch=dict(model.branch) if model.has_branch else None,
        novelty=known.get(f"{stem}-novelty.safetensors"),
    )
    return entry, task


def _training_data(run: RunFolder, name: str | None) -> TrainingData:
    digests = sorted(read_seen(run.seen)["content"].drop_null().to_pylist())
    images: dict[str, dict[str, int]] | None = None
    if run.samples.is_file():
        images = {}
        for (split, label), number in counts(read_samples(run), "split", "label").items():
            if split in ("train", "val"):
                images.setdefault(split, {})[str(label)] = number
    return TrainingData(name, images, hashlib.sha256(b"".join(digests)).hexdigest())


def _evaluations(
    run: RunFolder, point: OperatingPoint, limit: NoveltyPoint | None
) -> Iterator[EvaluationEntry]:
    """Yield what was measured of these weights; refuse evaluations of others.

    What was measured in use is left out where the unsure band or the limit of novelty was another.
    """
    if stale := stale_evaluations(run):
        listed = "; ".join(f"{name}: {why}" for name, why in stale.items())
        raise FaceproofError(
            f"{run.evaluations} holds evaluations that do not belong into the card: {listed}; "
            f"{evaluate_again(run)}, or remove their folders"
        )
    own, same = point.to_json(), ("threshold", "calibration")
    measured = ("share_unsure", "error_answered")
    for name in evaluations_of(run):
        report = read_report(run, name)
        used, intervals = report.get("operating_point") or {}, report.get("intervals") or {}
        try:
            used, intervals, novelty = (
                parse(dict[str, Any], one) for one in (used, intervals, report.get("novelty") or {})
            )
            alike = all(used.get(key) == own[key] for key in (*same, "unsure"))
            alike &= novelty.get("limit") == (None if limit is None else limit.limit)
            entry: EvaluationEntry = parse(
                EvaluationEntry,
                {
                    **{key: report.get(key) for key in ("data", "split", "threshold", "metrics")},
                    "name": printable(name),
                    "num_images": parse(dict[str, Any], report.get("metrics")).get("num_images"),
                    "same_operating_point": all(used.get(key) == own[key] for key in same),
                    "intervals": intervals.get("metrics"),
                    **{key: used.get(key) if alike else None for key in measured},
                    "subgroups": [_subgroups(one) for one in report.get("subgroups") or ()],
                },
            )
            # Counts among the metrics stay whole numbers.
            yield replace(entry, metrics=dict(report["metrics"]))
        except FaceproofError as error:
            file = run.evaluations / name / REPORT
            raise FaceproofError(f"{file} is damaged: {error}; {AGAIN}") from error


def _subgroups(values: Any) -> dict[str, Any]:
    """Return what the card says of the subgroups that a report has: of the worst, and how many."""
    part = parse(dict[str, Any], values, "subgroups")
    rows = parse(tuple[dict[str, Any], ...], part.get("rows"), "subgroups.rows")
    gaps = parse(dict[str, dict[str, Any] | None], part.get("gaps"), "subgroups.gaps")
    return {
        "column": part.get("column"),
        "rows": [
            {one.name: row.get(one.name) for one in fields(SubgroupEntry)}
            for row in rows[:MAX_SUBGROUPS]
        ],
        "num_left": max(0, len(rows) - MAX_SUBGROUPS),
        "gaps": {
            name: gap and {one.name: gap.get(one.name) for one in fields(GapEntry)}
            for name, gap in gaps.items()
        },
    }


def pack_artifact(folder: Path, onnx: bool) -> Package:
    """Gather what an artifact holds, checked."""
    card = read_card(folder)
    if card.gate is not None:
        raise FaceproofError(
            f"{folder} is a cascade, and a cascade is made of detectors and ensembles"
        )
    files: dict[str, bytes] = {}
    if (stored := card.detector.reference) is not None:
        files[stored.file] = read_file(folder, stored, MAX_REFERENCE)
    for network in card.networks:
        read_network_novelty(folder, network, read_network(folder, network))
        if onnx and network.onnx is None:
            raise FaceproofError(
                f"{folder} was exported without ONNX, so it cannot be part of a cascade with it; "
                "name its run, or export that with --onnx first"
            )
        files |= {stored.file: read_file(folder, stored) for stored in network.files}
    return Package(card.detector, files)


def rename_files(package: Package, prefix: str) -> Package:
    """Rename the files of a part of a cascade, so that two parts fit into one folder."""

    def rename(stored: StoredFile) -> StoredFile:
        return replace(stored, file=f"{prefix}-{stored.file}")

    networks = tuple(
        replace(
            one,
            weights=rename(one.weights),
            onnx=one.onnx and rename(one.onnx),
            novelty=one.novelty and rename(one.novelty),
        )
        for one in package.entry.networks
    )
    files = {f"{prefix}-{name}": data for name, data in package.files.items()}
    reference = package.entry.reference and rename(package.entry.reference)
    entry = replace(package.entry, networks=networks, reference=reference)
    return Package(entry, files, package.run)
