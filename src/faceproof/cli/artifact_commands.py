"""`faceproof export`: a thin shell; what is heavy is imported when run."""

import argparse
from pathlib import Path


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands of this room."""
    _add_export(commands)


def _add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    exporter = commands.add_parser(
        "export",
        help="make a detector artifact of a run, to hand on",
        description="Make one folder of a run (or of an ensemble of runs): weights as safetensors, "
        "card.json with classes, input, calibration, threshold and measured figures, and "
        "README.md. No pickle, no code. With --gate and --detector instead of RUN: a cascade, "
        "which first asks whether there is a face.",
        epilog="example: faceproof export runs/NAME --to detector",
    )
    exporter.add_argument("source", nargs="?", type=Path, metavar="RUN", help="a run's folder")
    exporter.add_argument(
        "--to", required=True, type=Path, metavar="DIR", help="the artifact's folder"
    )
    exporter.add_argument(
        "--gate", type=Path, metavar="RUN_OR_ARTIFACT", help="of the task face, for a cascade"
    )
    exporter.add_argument(
        "--detector", type=Path, metavar="RUN_OR_ARTIFACT", help="of the task deepfake"
    )
    exporter.add_argument(
        "--onnx",
        action="store_true",
        help="add model.onnx, held against PyTorch on validation images; needs "
        "pip install 'faceproof[onnx]'",
    )
    exporter.add_argument("--overwrite", action="store_true", help="replace an artifact at DIR")
    exporter.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    from faceproof.artifact.export import Options, export_cascade, export_run
    from faceproof.errors import FaceproofError

    options = Options(onnx=arguments.onnx, overwrite=arguments.overwrite)
    parts = (arguments.gate, arguments.detector)
    if arguments.source is not None and parts == (None, None):
        export_run(arguments.source, arguments.to, options)
    elif arguments.source is None and None not in parts:
        export_cascade(*parts, arguments.to, options)
    else:
        raise FaceproofError("name either RUN, or both --gate and --detector for a cascade")
    print(f"detector artifact: {arguments.to}")
    return 0
