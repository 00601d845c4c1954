"""`faceproof export --triton`: a model repository for NVIDIA's Triton Inference Server.

    README.md            what the models take and give, and how logits become a verdict
    NAME/config.pbtxt    the model's configuration, read off its ONNX file
    NAME/card.json       the artifact's card; Triton takes no notice of it
    NAME/1/model.onnx    the network, version 1

Each network is a model: one of a detector, several of an ensemble, and those of the gate too of a
cascade. Triton computes logits alone: who asks it fits the image before, and makes the verdict
after, by the card.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from faceproof.artifact.artifact import CARD, read_card, read_file
from faceproof.artifact.card import Card, DetectorEntry, NetworkEntry
from faceproof.artifact.onnx import MAX_BYTES
from faceproof.artifact.onnx_check import NOVELTY, OUTPUT, End, check_model, read_ends
from faceproof.data.model_input import MAX_ASPECT
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_folder, restore_folder
from faceproof.io.folders import refuse_foreign_files

MAX_BATCH = 64  # images of one batch; as many as `faceproof predict` scores at a time on a GPU
MAX_DELAY = 2000  # microseconds that a request waits for others
CONFIG, README, MODEL = "config.pbtxt", "README.md", "1/model.onnx"
FILES = (README, f"*/{CONFIG}", f"*/{CARD}", f"*/{MODEL}")
MARK = "# Written by faceproof export --triton."
KINDS = {"FLOAT": "TYPE_FP32"}  # ONNX's kinds of numbers that `check_model` lets through: Triton's
MEANINGS = {
    OUTPUT: "the raw score of each image before calibration, larger for {positive}",
    NOVELTY: "how unlike the training images each image is, 1 for a usual one of validation",
}


def write_repository(artifact: Path, to: Path, overwrite: bool = False) -> None:
    """Write the model repository of a detector artifact that was exported with ONNX.

    Args:
        artifact: its folder.
        to: the repository's folder, which is made.
        overwrite: replace a repository that is there.

    Raises:
        FaceproofError: the artifact has no ONNX, or one that is none of ours; `to` holds something
            else.
    """
    refuse_occupied_repository(to, overwrite)
    card = read_card(artifact)
    content: dict[str, bytes] = {}
    for name, part, network in _models(card):
        if network.onnx is None:
            raise FaceproofError(
                f"{artifact} was exported without ONNX, which Triton runs; export the run again "
                "by faceproof export RUN --to FOLDER --triton"
            )
        model = read_file(artifact, network.onnx, MAX_BYTES)
        # It also refuses a model whose batch is of a fixed size, which Triton could not fill.
        check_model(
            model, network.input.size, network.novelty is not None, network.input.num_passes
        )
        content[f"{name}/{MODEL}"] = model
        content[f"{name}/{CONFIG}"] = describe(name, part, network, model).encode()
        content[f"{name}/{CARD}"] = json.dumps(card.to_json(), indent=2).encode()
    content[README] = _readme(card).encode()
    with atomic_folder(to) as partial:
        for name, data in content.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(data)


def refuse_occupied_repository(to: Path, overwrite: bool) -> None:
    """Refuse to write where something else than a repository of ours lies, or without `overwrite`.

    A repository that holds models of others too is refused: they would be gone.
    """
    restore_folder(to)
    if not to.exists() and not to.is_symlink():
        return
    if to.is_symlink() or not _is_repository(to):
        raise FaceproofError(
            f"{to} is there and was not written by faceproof export --triton; name a new folder, "
            "and move the models into your repository from there"
        )
    refuse_foreign_files(to, FILES)
    if not overwrite:
        raise FaceproofError(
            f"{to} holds a Triton model repository; name another folder, or replace it by "
            "--overwrite"
        )


def _is_repository(folder: Path) -> bool:
    configs = [one for one in folder.glob(f"*/{CONFIG}") if one.is_file()]
    return bool(configs) and all(
        one.read_text("utf-8", errors="replace").startswith(MARK) for one in configs
    )


def _models(card: Card) -> Iterator[tuple[str, DetectorEntry, NetworkEntry]]:
    """Yield every network, the part of the card that it belongs to, and its name in Triton.

    A name is that of the part, with the role in a cascade, and a number in an ensemble.
    """
    for role, part in card.parts.items():
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", part.name).strip("._-") or role
        stem = plain if card.gate is None else f"{plain}-{role}"
        for number, network in enumerate(part.networks, 1):
            yield stem if part.average is None else f"{stem}-{number}", part, network


def describe(name: str, part: DetectorEntry, network: NetworkEntry, model: bytes) -> str:
    """Return the config.pbtxt of a network, in protobuf's text format.

    Args:
        name: of the model, and so of its folder.
        part: the detector or gate that the network belongs to.
        network: its entry in the card.
        model: its ONNX file, as `check_model` lets it through.
    """
    import onnx

    taken, given = read_ends(onnx.load_model_from_string(model).graph)
    above = f"{MARK} Triton reads this file and {MODEL}; {CARD} is for people and clients."
    lines = [
        above,
        *(f"# {line}" for line in about_input(part, network)),
        *(
            f"# {one}: {MEANINGS[one].format(positive=part.task.classes[1])}."
            for one, _, _ in given
        ),
        f"# Classes, calibration, threshold and unsure band stand in {CARD}.",
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH}",
        "input [",
        ",\n".join(_tensor(one) for one in taken),
        "]",
        "output [",
        ",\n".join(_tensor(one) for one in given),
        "]",
        f"# A request waits up to {MAX_DELAY / 1000:g} ms for others, to be scored in one batch.",
        f"dynamic_batching {{ max_queue_delay_microseconds: {MAX_DELAY} }}",
    ]
    return "\n".join(lines) + "\n"


def _tensor(end: End) -> str:
    """Return an input or output; its first size is the batch, which Triton adds by itself.

    Of one number an image, (B,), Triton's clients see (B, 1): a shape there is never empty.
    """
    name, kind, (_, *sizes) = end
    dims = ", ".join(map(str, sizes)) if sizes else "1"
    reshape = "" if sizes else ", reshape { shape: [ ] }"
    return f'  {{ name: "{name}", data_type: {KINDS[kind]}, dims: [ {dims} ]{reshape} }}'


def about_input(part: DetectorEntry, network: NetworkEntry) -> list[str]:
    """Say in sentences what a client must do to an image before it sends it."""
    input = network.input
    side, how = input.size, f"{input.interpolation} interpolation and antialiasing"
    lines = [
        "Input: RGB in this order, upright, float32 from 0 to 1, channels before rows before "
        "columns; the normalisation is inside the model."
    ]
    if part.crop is not None:
        lines.append(
            "It judges faces: cut out each face first, as `crop` in card.json says and "
            "faceproof.inference.faces does."
        )
    if input.mode == "resize":
        lines.append(f"Resize the whole image to {side} x {side}, whatever its aspect, with {how}.")
    else:
        if input.resize_to is not None:
            lines.append(
                f"Resize the image so that its shorter side is {input.resize_to}, with {how}; cut "
                f"one that is enlarged to {MAX_ASPECT} to 1 before."
            )
        what = "the middle"
        if input.tiles is not None:
            grid = "the middle and the four corners" if input.tiles == 5 else "an even grid"
            what = f"{input.tiles} squares ({grid}), whose outputs are averaged,"
        lines.append(
            f"Cut out {what} of {side} x {side} pixels; continue a smaller image by its mirror."
        )
    if input.tta == "flip":
        lines.append("Send the mirror image too, and average the outputs.")
    return lines


def _readme(card: Card) -> str:
    text = [
        f"# {card.name}, for Triton",
        "A model repository, to be copied to where Triton's models lie, or served from here: "
        "`tritonserver --model-repository=FOLDER`, with this folder's absolute path.",
        "Triton computes logits. Its client fits the image before and makes the verdict after.",
    ]
    for name, part, network in _models(card):
        negative, positive = part.task.classes
        text += [f"## {name}", *about_input(part, network)]
        if part.average is not None:
            text.append(
                f"A network of an ensemble, of the weight {network.weight:.6g}: its logit is "
                f"calibrated by {network.calibration.method} (`networks` in {CARD}), and the "
                f"ensemble averages by {part.average}."
            )
        point = part.operating_point
        text.append(
            f"Calibration: {point.calibration.method}"
            + (
                f", sigmoid(logit / {point.calibration.temperature:.6g}) is the probability of "
                f"{positive}."
                if point.calibration.method != "isotonic"
                else f", linear between the knots in {CARD}, level outside."
            )
            + f" From {point.threshold:.6g} on an image is called {positive}, below {negative}; "
            f"from {point.unsure[0]:.6g} to {point.unsure[1]:.6g} the answer is unsure."
        )
        if part.novelty is not None:
            text.append(
                f"Where the output novelty is above {part.novelty.limit:.6g}, the answer is unsure "
                "whatever the probability: the image is unlike the training images."
            )
    if card.gate is not None:
        text.append("## The cascade")
        text.append("Ask the gate first; only what it calls a face goes to the detector.")
    return "\n\n".join(text) + "\n"
