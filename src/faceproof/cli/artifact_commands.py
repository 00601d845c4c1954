"""`faceproof export` and `faceproof predict`: thin shells; what is heavy is imported when run."""

import argparse
from pathlib import Path


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands of this room."""
    _add_export(commands)
    _add_predict(commands)


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


def _add_predict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    predictor = commands.add_parser(
        "predict",
        help="say of images and videos what a detector takes them for",
        description="Judge images and videos with a detector artifact. Of a video evenly spaced "
        "frames are judged, and their mean probability is held against the threshold; videos take "
        "pip install 'faceproof[video]'. Without --out up to 50 are shown as a table. A "
        "command that was killed goes on when it is started again. Exit code 0: all were judged; "
        "1: files could not be read (they are rows with a reason); 2: the command cannot be done.",
        epilog="example: faceproof predict photos --detector detector --out verdicts.csv",
    )
    predictor.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="images, videos, folders (all below), patterns, a .csv with a column path or a "
        ".txt with a path a line, or - for paths on standard input",
    )
    predictor.add_argument(
        "--detector", required=True, type=Path, metavar="DIR", help="what faceproof export made"
    )
    predictor.add_argument("--out", type=Path, metavar="FILE", help=".csv, .jsonl or .parquet")
    predictor.add_argument(
        "--overwrite", action="store_true", help="replace FILE, and begin afresh"
    )
    predictor.add_argument(
        "--keep-going", action="store_true", help="exit with 0 even if files could not be read"
    )
    predictor.add_argument(
        "--contact-sheet", type=Path, metavar="PNG", help="draw the least certain images"
    )
    predictor.add_argument(
        "--least-certain",
        type=int,
        default=24,
        metavar="N",
        help="how many of them: those nearest to the threshold (default: 24)",
    )
    predictor.add_argument(
        "--frames", type=int, default=32, metavar="N", help="frames of a video (default: 32)"
    )
    predictor.add_argument(
        "--frames-out",
        type=Path,
        metavar="DIR",
        help="write of each video a timeline, its most suspicious frames, and a CSV of all",
    )
    predictor.add_argument(
        "--find-faces",
        action="store_true",
        help="judge each face in an image by itself; the image is called what its face of the "
        "highest probability is; needs pip install 'faceproof[faces]'",
    )
    predictor.add_argument(
        "--whole-if-none",
        action="store_true",
        help="with --find-faces: judge the whole image where no face is found, instead of "
        "saying no face",
    )
    predictor.add_argument(
        "--batch-size", type=int, metavar="N", help="default: 32 on a CPU, 64 on a GPU"
    )
    predictor.add_argument(
        "--workers", default="auto", help="loading processes, a count or auto (default)"
    )
    predictor.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    predictor.add_argument(
        "--backend",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what computes; auto (default): onnx on a CPU if the artifact has it, else torch",
    )
    predictor.set_defaults(run=_predict)


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


def _predict(arguments: argparse.Namespace) -> int:
    from faceproof.inference.predict import Request, predict
    from faceproof.inference.predictor import load
    from faceproof.performance.memory import reuse_memory

    reuse_memory()
    request = Request(
        out=arguments.out,
        overwrite=arguments.overwrite,
        keep_going=arguments.keep_going,
        contact_sheet=arguments.contact_sheet,
        least_certain=arguments.least_certain,
        batch_size=arguments.batch_size,
        num_frames=arguments.frames,
        frames_out=arguments.frames_out,
        find_faces=arguments.find_faces,
        whole_if_none=arguments.whole_if_none,
        workers=int(arguments.workers) if arguments.workers.isdigit() else arguments.workers,
    )
    predictor = load(arguments.detector, arguments.device, arguments.backend)
    return predict(predictor, arguments.paths, request, predictor.backend)
